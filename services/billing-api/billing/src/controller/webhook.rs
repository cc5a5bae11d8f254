use super::{
    Error,
    payment::{Resolution, resolve},
    settle::{is_known, refund_surplus, revise, settle},
};
use crate::{
    event::Event,
    payment::{
        DisputeReport, IntentId, Outcome, Payment, PaymentChange, PaymentDetails, PaymentReport,
        RefundReport, Report,
    },
    purchase::{AfterSale, Currency, Purchase, Refunded, Status, Timestamp},
    service::{Payments, PurchaseStore, SettleIf, Settled},
};

/// What [`webhook`] did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The event agrees with what is known, and is handled.
    Handled,
    /// The event is about nothing that a purchase depends on.
    Ignored,
    /// The event contradicts what is known. Nothing was changed. The reason is a noun phrase for the
    /// log and for the queue of such events.
    Contradiction(&'static str),
}

use Verdict::{Contradiction, Handled, Ignored};

/// Handles an event: settles the purchase of a payment that is final, and records refunds and
/// disputes. Before it changes a purchase, it compares the mode, the amount, the currency and the
/// PaymentIntent of the event with what is known.
///
/// Stripe can deliver events late, more than once and out of order. The function need not store
/// which events it has handled: the first final payment settles a purchase, and the order of the
/// reports about refunds and disputes does not matter ([`Purchase::after`]).
///
/// # Errors
/// Fails if a service call fails. Stripe then delivers the event again.
#[tracing::instrument(skip_all)]
pub async fn webhook(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    event: &Event,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let report = event.report();
    if matches!(report, Report::Other) {
        return Ok(Ignored);
    }
    if event.is_live() != payments.is_live() {
        return Ok(Contradiction("event of the other mode"));
    }
    let services = Services {
        payments,
        purchases,
        now,
    };
    match report {
        Report::Payment(report) => match report.change {
            PaymentChange::Succeeded => services.succeeded(report).await,
            PaymentChange::Failed | PaymentChange::Canceled => services.failed(report).await,
        },
        Report::Refund(report) => services.refunded(report, event.created()).await,
        Report::Dispute(report) => services.disputed(report).await,
        Report::Other => Ok(Ignored),
    }
}

const MISSING: &str = "event for a missing purchase";
const WRONG_AMOUNT: &str = "amount differs from the purchase";
const WRONG_CURRENCY: &str = "currency differs from the purchase";
const UNKNOWN_PAYMENT: &str = "payment unknown to Stripe";
const OTHER_PURCHASE: &str = "payment of another purchase";
const OTHER_STATUS: &str = "payment with another status in Stripe";
const SURPLUS_DISPUTED: &str = "dispute of a surplus charge";

struct Services<'a, P, S> {
    payments: &'a P,
    purchases: &'a S,
    now: Timestamp,
}

impl<P: Payments, S: PurchaseStore> Services<'_, P, S> {
    /// Handles a payment that has succeeded. If the payment of the purchase is known, one write both
    /// compares and settles.
    async fn succeeded(&self, report: &PaymentReport) -> Result<Verdict, Error> {
        let Some(currency) = report.currency else {
            return Ok(Contradiction(WRONG_CURRENCY));
        };
        let intent = report.intent.clone();
        let (outcome, condition) = (
            Outcome::Paid { intent },
            SettleIf::Matches {
                amount: report.amount,
                currency,
            },
        );
        let settled = self
            .purchases
            .settle(&report.purchase, &outcome, condition, self.now);
        let purchase = match settled.await? {
            Settled::Done(_) => return Ok(Handled),
            Settled::Unchanged(purchase) => purchase,
            Settled::Missing => return Ok(Contradiction(MISSING)),
        };
        if let Some(contradiction) = compare(report, &purchase) {
            return Ok(contradiction);
        }
        if is_known(&purchase, &report.intent) {
            return Ok(Handled);
        }
        match self.payments.retrieve(&report.intent).await? {
            None => Ok(Contradiction(UNKNOWN_PAYMENT)),
            Some(details) => match self.charged(purchase, &report.intent, &details).await? {
                Ok(_) => Ok(Handled),
                Err(contradiction) => Ok(contradiction),
            },
        }
    }

    /// Settles or refunds the charge `details` of `purchase`, whose PaymentIntent `intent` is not
    /// known yet. Returns the purchase after the call, or why the charge contradicts it.
    async fn charged(
        &self,
        purchase: Purchase,
        intent: &IntentId,
        details: &PaymentDetails,
    ) -> Result<Result<Purchase, Verdict>, Error> {
        let Self {
            payments,
            purchases,
            now,
        } = *self;
        if let Some(contradiction) = self.verify(&purchase, details) {
            return Ok(Err(contradiction));
        }
        if !matches!(details.payment, Payment::Succeeded { .. }) {
            return Ok(Err(Contradiction(OTHER_STATUS)));
        }
        let key = purchase.key;
        // Another payment of the purchase that is still open must not charge the card too.
        if let Status::Pending {
            payment_intent_id: Some(other),
            ..
        } = &purchase.status
            && other != intent
            && let Payment::Succeeded { intent } = payments.cancel(other).await?
        {
            let outcome = Outcome::Paid { intent };
            settle(payments, purchases, &key, &outcome, now).await?;
        }
        let outcome = Outcome::Paid {
            intent: intent.clone(),
        };
        let settled = purchases.settle(&key, &outcome, SettleIf::Pending, now);
        let settled = match settled.await? {
            Settled::Done(purchase) => Some(purchase),
            Settled::Unchanged(purchase) if is_known(&purchase, intent) => Some(purchase),
            Settled::Unchanged(purchase) => {
                refund_surplus(payments, purchases, purchase, intent, now).await?
            }
            Settled::Missing => None,
        };
        Ok(settled.ok_or(Contradiction(MISSING)))
    }

    /// Handles a payment that has failed or was canceled. A failed payment can still charge a card
    /// until it is canceled.
    async fn failed(&self, report: &PaymentReport) -> Result<Verdict, Error> {
        let Self {
            payments,
            purchases,
            now,
        } = *self;
        let Some(purchase) = purchases.get(&report.purchase).await? else {
            return Ok(Contradiction(MISSING));
        };
        if let Some(contradiction) = compare(report, &purchase) {
            return Ok(contradiction);
        }
        let intent = &report.intent;
        if purchase.paid_by() == Some(intent) && report.change == PaymentChange::Canceled {
            return Ok(Contradiction(OTHER_STATUS));
        }
        if is_known(&purchase, intent) || purchase.failed_with(intent) {
            return Ok(Handled);
        }
        let Some(details) = payments.retrieve(intent).await? else {
            return Ok(Contradiction(UNKNOWN_PAYMENT));
        };
        if let Some(contradiction) = self.verify(&purchase, &details) {
            return Ok(contradiction);
        }
        let is_its_payment = match &purchase.status {
            Status::Pending {
                payment_intent_id, ..
            } => payment_intent_id
                .as_ref()
                .is_none_or(|known| known == intent),
            _ => false,
        };
        let is_paid = matches!(details.payment, Payment::Succeeded { .. });
        if (is_its_payment || is_paid)
            && let Resolution::Final(outcome) = resolve(payments, details.payment).await?
        {
            settle(payments, purchases, &purchase.key, &outcome, now).await?;
        }
        Ok(Handled)
    }

    async fn refunded(&self, report: &RefundReport, as_of: Timestamp) -> Result<Verdict, Error> {
        let found = self.paid_by(&report.intent, report.currency).await?;
        let (purchase, details) = match found {
            Ok(found) => found,
            Err(verdict) => return Ok(verdict),
        };
        let reported = report.amount_refunded.unwrap_or_default();
        if reported.max(details.amount_refunded) > purchase.amount.get() {
            return Ok(Contradiction(WRONG_AMOUNT));
        }
        if purchase.paid_by() != Some(&report.intent) {
            // The refund of a surplus charge is recorded when it is made.
            return Ok(Handled);
        }
        // The sum that Stripe returns now is at least as recent as the event.
        let refunded = Refunded {
            amount: details.amount_refunded,
            as_of,
        };
        self.record(purchase, AfterSale::Refund(refunded)).await
    }

    async fn disputed(&self, report: &DisputeReport) -> Result<Verdict, Error> {
        let found = self.paid_by(&report.intent, report.currency).await?;
        let (purchase, _) = match found {
            Ok(found) => found,
            Err(verdict) => return Ok(verdict),
        };
        if report.dispute.amount > purchase.amount.get() {
            return Ok(Contradiction(WRONG_AMOUNT));
        }
        if purchase.paid_by() != Some(&report.intent) {
            return Ok(Contradiction(SURPLUS_DISPUTED));
        }
        let dispute = report.dispute.clone();
        self.record(purchase, AfterSale::Dispute(dispute)).await
    }

    /// Reads the payment `intent` and its purchase. If the report of the success has not arrived
    /// yet, handles the success first.
    async fn paid_by(
        &self,
        intent: &IntentId,
        currency: Option<Currency>,
    ) -> Result<Result<(Purchase, PaymentDetails), Verdict>, Error> {
        let Some(details) = self.payments.retrieve(intent).await? else {
            return Ok(Err(Contradiction(UNKNOWN_PAYMENT)));
        };
        let Some(key) = &details.purchase else {
            return Ok(Err(Ignored));
        };
        let Some(purchase) = self.purchases.get(key).await? else {
            return Ok(Err(Contradiction(MISSING)));
        };
        if currency != Some(purchase.currency) {
            return Ok(Err(Contradiction(WRONG_CURRENCY)));
        }
        if let Some(contradiction) = self.verify(&purchase, &details) {
            return Ok(Err(contradiction));
        }
        if is_known(&purchase, intent) {
            return Ok(Ok((purchase, details)));
        }
        let purchase = self.charged(purchase, intent, &details).await?;
        Ok(purchase.map(|purchase| (purchase, details)))
    }

    async fn record(&self, purchase: Purchase, report: AfterSale) -> Result<Verdict, Error> {
        let change = |purchase: &Purchase| purchase.after(report.clone(), self.now);
        let recorded = revise(self.purchases, purchase, change).await?;
        Ok(recorded.map_or(Contradiction(MISSING), |_| Handled))
    }

    /// Returns why the payment `details` is not one of `purchase`.
    fn verify(&self, purchase: &Purchase, details: &PaymentDetails) -> Option<Verdict> {
        let checks = [
            (
                details.purchase.as_ref() == Some(&purchase.key)
                    && details.is_live == self.payments.is_live(),
                OTHER_PURCHASE,
            ),
            (details.amount == purchase.amount.get(), WRONG_AMOUNT),
            (details.currency == Some(purchase.currency), WRONG_CURRENCY),
        ];
        first_failed(checks)
    }
}

/// Returns why `report` contradicts `purchase`.
fn compare(report: &PaymentReport, purchase: &Purchase) -> Option<Verdict> {
    first_failed([
        (report.amount == purchase.amount.get(), WRONG_AMOUNT),
        (report.currency == Some(purchase.currency), WRONG_CURRENCY),
    ])
}

fn first_failed<const N: usize>(checks: [(bool, &'static str); N]) -> Option<Verdict> {
    let failed = checks.into_iter().find(|(passed, _)| !passed);
    failed.map(|(_, reason)| Contradiction(reason))
}
