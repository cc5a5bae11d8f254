import { alarm, condition, type MetricAlarm, nameOn, type Subject } from "./alarm.ts";
import { type MetricName, ofAws, ofFunction, ofStage } from "./metrics.ts";
import { thresholds } from "./thresholds.ts";

/** The alarms on money, and on the functions that work on it without a request. */
export function moneyAlarms({ stage, functions }: Subject): { causes: MetricAlarm[]; others: MetricAlarm[] } {
  const of = (name: MetricName, stat?: string) => ofStage(name, stage.name, stat);
  const reconcile = functions.find(({ name }) => name === "billing-reconcile");
  if (!reconcile) throw new Error("No service has the function billing-reconcile");
  const runs = ofFunction("Requests", nameOn(stage, reconcile.name));
  return {
    causes: [
      alarm(
        "stripe-key",
        "stripe-key",
        "Stripe rejects the secret key.",
        thresholds.stripeKey,
        of("StripeKeyRejected"),
      ),
    ],
    others: [
      alarm(
        "rejected-events",
        "rejected-events",
        "The signature of a webhook event is invalid.",
        thresholds.rejectedEvents,
        of("RejectedEvents"),
      ),
      alarm(
        "surplus-charges",
        "surplus-charges",
        "A card was charged for a failed or already paid purchase.",
        thresholds.surplusCharges,
        of("SurplusCharges"),
      ),
      // Only the runs of billing-reconcile report these, so the state stays the same until the next run.
      alarm(
        "pending-purchases",
        "pending-purchases",
        "A purchase has been PENDING for too long.",
        thresholds.pendingPurchases,
        of("OldestPendingAge", "Maximum"),
        { missing: "ignore" },
      ),
      alarm(
        "reconcile-errors",
        "reconcile-errors",
        "billing-reconcile could not check all purchases.",
        thresholds.reconcileErrors,
        [{ errors: of("ReconcileErrors"), unreadable: of("UnreadablePurchases") }, "errors + unreadable"],
        { missing: "ignore" },
      ),
      alarm(
        "reconcile-stopped",
        "reconcile-stopped",
        "billing-reconcile does not run.",
        thresholds.reconcileStopped,
        // Without FILL, CloudWatch would look for data in two more periods: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
        [{ runs }, "FILL(runs, 0)"],
        { below: true, missing: "breaching" },
      ),
      condition(
        "declines",
        "declines",
        "Every card is declined.",
        thresholds.declines,
        { declined: of("PurchasesDeclined"), paid: of("PurchasesPaid") },
        `declined >= ${thresholds.declines.threshold} AND FILL(paid, 0) < 1`,
      ),
      // part: notify {
      alarm(
        "sms",
        "sms",
        "An SMS was not delivered.",
        thresholds.sms,
        // For SMS to phone numbers, the dimension has this value instead of a number.
        ofAws("SNS", "NumberOfNotificationsFailed", { PhoneNumber: "PhoneNumberDirect" }),
      ),
      // part: notify }
    ],
  };
}
