use metrics::{CONTRADICTING_EVENTS, Subject};

use super::{
    Error,
    measure::settle_and_count,
    payment::{Resolution, resolve},
    settle::{is_known, refund_surplus, revise, settle},
};
use crate::{
    event::Event,
    payment::{IntentId, Outcome, Payment},
    purchase::{AfterSale, Currency, Purchase, Refunded, Status, Timestamp},
    report::{DisputeReport, PaymentChange, PaymentDetails, PaymentReport, RefundReport, Report},
    service::{Payments, PurchaseStore, SettleIf, Settled},
};

/// What [`webhook`] did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The event agrees with the stored purchase and Stripe's data, and its effect is stored.
    Handled,
    /// The event does not concern a purchase.
    Ignored,
    /// The event contradicts the stored purchase or Stripe's data. Nothing was changed. Contains the
    /// reason, a noun phrase for the log and the dead-letter queue.
    Contradiction(&'static str),
}

use Verdict::{Contradiction, Handled, Ignored};

/// Handles an event: settles the purchase of a payment that is final, and records refunds and
/// disputes. Before it changes a purchase, it compares the mode, the amount, the currency and the
/// PaymentIntent of the event with the stored purchase and Stripe's data.
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
    let services = Services {
        payments,
        purchases,
        now,
    };
    let verdict = match report {
        _ if event.is_live() != payments.is_live() => Contradiction("event of the other mode"),
        Report::Payment(report) => match report.change {
            PaymentChange::Succeeded => services.succeeded(report).await?,
            PaymentChange::Failed | PaymentChange::Canceled => services.failed(report).await?,
        },
        Report::Refund(report) => services.refunded(report, event.created()).await?,
        Report::Dispute(report) => services.disputed(report).await?,
        Report::Unreadable => Contradiction("event with an unreadable object"),
        Report::Other => Ignored,
    };
    if matches!(verdict, Contradiction(_)) {
        CONTRADICTING_EVENTS.add(1);
    }
    Ok(verdict)
}

const MISSING: &str = "event for a missing purchase";
const SURPLUS_NOT_REFUNDED: &str = "failed refund of a surplus charge";
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
    /// Handles a payment that has succeeded. If the purchase has the id of this PaymentIntent, one
    /// conditional write both compares and settles.
    async fn succeeded(&self, report: &PaymentReport) -> Result<Verdict, Error> {
        Subject::Purchase.log(report.purchase.purchase_id);
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
        let settled = settle_and_count(
            self.purchases,
            &report.purchase,
            &outcome,
            condition,
            self.now,
        );
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

    /// Settles `purchase` with the charge `details`, or refunds the charge if the purchase was settled
    /// without it. The purchase does not contain the PaymentIntent `intent` yet. Returns the purchase
    /// after the call, or why the charge contradicts it.
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
        // Another payment of the purchase must not charge the card too.
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
        let settled = settle_and_count(purchases, &key, &outcome, SettleIf::Pending, now);
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
        Subject::Purchase.log(report.purchase.purchase_id);
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
            // The refund of a surplus charge is recorded when it is made. If the bank rejects it later, a
            // person must pay the money back in another way.
            let surplus = purchase.surplus.iter();
            let surplus = surplus.filter(|surplus| surplus.payment_intent_id == report.intent);
            let recorded: u32 = surplus.map(|surplus| surplus.amount).sum();
            return Ok(match details.amount_refunded < recorded {
                true => Contradiction(SURPLUS_NOT_REFUNDED),
                false => Handled,
            });
        }
        // Stripe's current sum is at least as recent as the event.
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

    /// Reads the payment `intent` and its purchase. If the event of the success has not arrived yet,
    /// handles the success first.
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
        Subject::Purchase.log(key.purchase_id);
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

    /// Returns why `details` is not a payment of `purchase`. None if it is one.
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

/// Returns why `report` contradicts `purchase`. None if it does not.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::purchase,
        fixtures::*,
        purchase::{DisputeStatus, Notice, PurchaseId, PurchaseKey},
        service::memory::*,
    };

    fn event(report: Report) -> Event {
        Event::new("evt_1".into(), NOON, false, report)
    }

    fn report(purchase: &Purchase, intent: &IntentId, change: PaymentChange) -> PaymentReport {
        PaymentReport {
            intent: intent.clone(),
            purchase: purchase.key.clone(),
            change,
            amount: purchase.amount.get(),
            currency: Some(purchase.currency),
        }
    }

    fn succeeded(purchase: &Purchase, intent: &IntentId) -> Event {
        let report = report(purchase, intent, PaymentChange::Succeeded);
        event(Report::Payment(report))
    }

    fn refunded_at(intent: &IntentId, amount: u32, seconds: u64) -> Event {
        let report = RefundReport {
            intent: intent.clone(),
            amount_refunded: Some(amount),
            currency: Some(Currency::default()),
        };
        let created = NOON.after(std::time::Duration::from_secs(seconds));
        Event::new("evt_2".into(), created, false, Report::Refund(report))
    }

    fn disputed(intent: &IntentId, status: DisputeStatus, seconds: u64) -> Event {
        let report = DisputeReport {
            intent: intent.clone(),
            dispute: dispute("dp_1", status, seconds),
            currency: Some(Currency::default()),
        };
        event(Report::Dispute(report))
    }

    async fn receive(cloud: &Memory, event: &Event) -> Verdict {
        webhook(cloud, cloud, event, NOON).await.unwrap()
    }

    /// Buys storage for 10 notes. Returns the purchase and its PaymentIntent.
    async fn bought(cloud: &Memory, source: &str) -> (Purchase, IntentId) {
        let (id, order) = (PurchaseId::generate(), order(source));
        let _ = purchase(cloud, cloud, cloud, buyer(), id, order, NOON).await;
        let intents = cloud.intents();
        (only(cloud), intents.last().unwrap().clone())
    }

    /// Delivers `event`, which must change nothing and be reported as a contradiction.
    async fn contradicts(cloud: &Memory, event: &Event) -> &'static str {
        let before = cloud.purchases();
        let verdict = receive(cloud, event).await;
        let Contradiction(reason) = verdict else {
            panic!("{event:?}: {verdict:?}")
        };
        assert_eq!(cloud.purchases(), before, "{event:?}");
        assert_eq!(cloud.calls_of("refund"), 0, "{event:?}");
        reason
    }

    #[tokio::test]
    async fn a_success_of_the_known_payment_settles_with_one_call() {
        let cloud = Memory::default();
        let (pending, intent) = bought(&cloud, "pm_threeDSecure").await;
        cloud.authenticate();
        let calls = cloud.calls();
        assert_eq!(
            receive(&cloud, &succeeded(&pending, &intent)).await,
            Handled
        );
        assert_eq!(cloud.calls() - calls, 1);
        assert_eq!(only(&cloud).status.name(), "PAID");
    }

    #[tokio::test]
    async fn repeated_successes_change_nothing() {
        let cloud = Memory::default();
        let (paid, intent) = bought(&cloud, "tok_visa").await;
        let calls = cloud.calls();
        for _ in 0..3 {
            assert_eq!(receive(&cloud, &succeeded(&paid, &intent)).await, Handled);
        }
        assert_eq!(only(&cloud), paid);
        assert_eq!(cloud.calls() - calls, 3, "one call each");
    }

    #[tokio::test]
    async fn a_success_whose_payment_is_not_known_yet_is_verified_first() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        let intent = cloud.charge_again(&pending).unwrap();
        assert_eq!(
            receive(&cloud, &succeeded(&pending, &intent)).await,
            Handled
        );
        assert_eq!(only(&cloud).paid_by(), Some(&intent));
        assert_eq!(cloud.calls_of("retrieve"), 1);
    }

    #[tokio::test]
    async fn an_event_with_another_mode_amount_currency_or_payment_changes_nothing() {
        for source in ["pm_threeDSecure", "tok_visa", "tok_chargeDeclined"] {
            let cloud = Memory::default();
            let (purchase, intent) = bought(&cloud, source).await;
            cloud.authenticate();
            let report = report(&purchase, &intent, PaymentChange::Succeeded);
            let euro = Currency::try_from("eur").unwrap();
            let with = |report| event(Report::Payment(report));
            let is_live = true;
            let live = Report::Payment(report.clone());
            let other_key = PurchaseKey {
                purchase_id: PurchaseId::generate(),
                ..purchase.key.clone()
            };
            for (event, reason) in [
                (
                    Event::new("evt_1".into(), NOON, is_live, live),
                    "event of the other mode",
                ),
                (
                    with(PaymentReport {
                        amount: 1,
                        ..report.clone()
                    }),
                    WRONG_AMOUNT,
                ),
                (
                    with(PaymentReport {
                        currency: Some(euro),
                        ..report.clone()
                    }),
                    WRONG_CURRENCY,
                ),
                (
                    with(PaymentReport {
                        currency: None,
                        ..report.clone()
                    }),
                    WRONG_CURRENCY,
                ),
                (
                    with(PaymentReport {
                        intent: crate::fixtures::intent(99),
                        ..report.clone()
                    }),
                    UNKNOWN_PAYMENT,
                ),
                (
                    with(PaymentReport {
                        purchase: other_key,
                        ..report.clone()
                    }),
                    MISSING,
                ),
            ] {
                assert_eq!(contradicts(&cloud, &event).await, reason, "{source}");
            }
        }
    }

    #[tokio::test]
    async fn a_success_that_stripe_does_not_confirm_changes_nothing() {
        let cloud = Memory::default();
        let (declined, intent) = bought(&cloud, "tok_chargeDeclined").await;
        let event = succeeded(&declined, &intent);
        assert_eq!(contradicts(&cloud, &event).await, OTHER_STATUS);
        // A payment of another purchase.
        let (other, _) = {
            let other = pending("tok_visa");
            (other.clone(), cloud.charge_again(&other).unwrap())
        };
        let [.., foreign] = &cloud.intents()[..] else {
            panic!("there are two payments")
        };
        let event = succeeded(&declined, foreign);
        assert_eq!(contradicts(&cloud, &event).await, OTHER_PURCHASE);
        assert!(other.is_pending());
    }

    #[tokio::test]
    async fn a_charge_of_a_failed_purchase_is_refunded_and_announced_once() {
        let cloud = Memory::default();
        let (failed, _) = bought(&cloud, "tok_chargeDeclined").await;
        let charged = cloud.charge_again(&failed).unwrap();
        for _ in 0..3 {
            assert_eq!(
                receive(&cloud, &succeeded(&failed, &charged)).await,
                Handled
            );
        }
        assert_eq!(cloud.refunded(&charged), 4_000);
        let purchase = only(&cloud);
        assert_eq!((purchase.surplus.len(), purchase.revision), (1, 1));
    }

    #[tokio::test]
    async fn a_charge_by_another_payment_cancels_the_open_one() {
        let cloud = Memory::default();
        let (pending, first) = bought(&cloud, "pm_threeDSecure").await;
        let second = cloud.charge_again(&pending).unwrap();
        assert_eq!(
            receive(&cloud, &succeeded(&pending, &second)).await,
            Handled
        );
        assert_eq!(only(&cloud).paid_by(), Some(&second));
        assert!(!cloud.can_still_charge());
        assert_eq!(cloud.refunded(&first), 0);
    }

    #[tokio::test]
    async fn a_second_charge_is_refunded_if_the_first_has_succeeded_too() {
        let cloud = Memory::default();
        let (pending, first) = bought(&cloud, "pm_threeDSecure").await;
        cloud.authenticate();
        let second = cloud.charge_again(&pending).unwrap();
        for intent in [&second, &first, &second] {
            assert_eq!(receive(&cloud, &succeeded(&pending, intent)).await, Handled);
        }
        assert_eq!(only(&cloud).paid_by(), Some(&first));
        assert_eq!(
            (cloud.refunded(&first), cloud.refunded(&second)),
            (0, 4_000)
        );
    }

    #[tokio::test]
    async fn a_failed_payment_fails_the_purchase_and_cannot_charge_the_card_later() {
        let cloud = Memory::default();
        let (pending, intent) = bought(&cloud, "pm_threeDSecure").await;
        cloud.fail_authentication();
        for change in [
            PaymentChange::Failed,
            PaymentChange::Canceled,
            PaymentChange::Failed,
        ] {
            let event = event(Report::Payment(report(&pending, &intent, change)));
            assert_eq!(receive(&cloud, &event).await, Handled);
        }
        let code = only(&cloud).decline().unwrap().code.clone();
        assert_eq!(code, "payment_intent_authentication_failure");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn a_late_failure_of_a_payment_that_succeeded_changes_nothing() {
        let cloud = Memory::default();
        let (paid, intent) = bought(&cloud, "tok_visa").await;
        let failed = report(&paid, &intent, PaymentChange::Failed);
        assert_eq!(
            receive(&cloud, &event(Report::Payment(failed))).await,
            Handled
        );
        assert_eq!(only(&cloud), paid);
        let canceled = event(Report::Payment(report(
            &paid,
            &intent,
            PaymentChange::Canceled,
        )));
        assert_eq!(contradicts(&cloud, &canceled).await, OTHER_STATUS);
    }

    #[tokio::test]
    async fn a_partial_refund_revokes_its_share_and_a_full_one_everything() {
        let cloud = Memory::default();
        let (_, intent) = bought(&cloud, "tok_visa").await;
        for (amount, status, granted) in [(1_000, "PAID", 8), (4_000, "REFUNDED", 0)] {
            cloud.set_refunded(&intent, amount);
            for _ in 0..3 {
                let event = refunded_at(&intent, amount, amount.into());
                assert_eq!(receive(&cloud, &event).await, Handled);
            }
            let purchase = only(&cloud);
            assert_eq!(purchase.status.name(), status);
            assert_eq!(purchase.granted(), granted);
        }
        assert_eq!(only(&cloud).revision, 3);
    }

    #[tokio::test]
    async fn a_failed_refund_restores_what_was_bought() {
        let cloud = Memory::default();
        let (_, intent) = bought(&cloud, "tok_visa").await;
        cloud.set_refunded(&intent, 4_000);
        receive(&cloud, &refunded_at(&intent, 4_000, 1)).await;
        cloud.set_refunded(&intent, 0);
        let failed = Event::new(
            "evt_3".into(),
            NOON.after(std::time::Duration::from_secs(2)),
            false,
            Report::Refund(RefundReport {
                intent: intent.clone(),
                amount_refunded: None,
                currency: Some(Currency::default()),
            }),
        );
        for event in [&failed, &refunded_at(&intent, 4_000, 1)] {
            assert_eq!(receive(&cloud, event).await, Handled);
        }
        let purchase = only(&cloud);
        assert_eq!((purchase.status.name(), purchase.granted()), ("PAID", 10));
    }

    #[tokio::test]
    async fn a_refund_that_arrives_before_the_success_settles_the_purchase_first() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        let intent = cloud.charge_again(&pending).unwrap();
        cloud.set_refunded(&intent, 4_000);
        let events = [
            refunded_at(&intent, 4_000, 9),
            succeeded(&pending, &intent),
            refunded_at(&intent, 4_000, 9),
        ];
        for event in &events {
            assert_eq!(receive(&cloud, event).await, Handled);
        }
        let purchase = only(&cloud);
        assert_eq!(purchase.status.name(), "REFUNDED");
        assert_eq!((purchase.granted(), purchase.revision), (0, 2));
    }

    #[tokio::test]
    async fn the_refund_of_a_surplus_charge_does_not_change_the_purchase() {
        let cloud = Memory::default();
        let (paid, _) = bought(&cloud, "tok_visa").await;
        let second = cloud.charge_again(&paid).unwrap();
        receive(&cloud, &succeeded(&paid, &second)).await;
        let recorded = only(&cloud);
        assert_eq!((recorded.status.name(), recorded.granted()), ("PAID", 10));
        let refund = refunded_at(&second, 4_000, 1);
        assert_eq!(receive(&cloud, &refund).await, Handled);
        assert_eq!(only(&cloud), recorded);
    }

    #[tokio::test]
    async fn a_lost_dispute_revokes_what_was_bought_and_a_won_one_keeps_it() {
        for (end, status, granted) in [
            (DisputeStatus::Lost, "DISPUTED", 0),
            (DisputeStatus::Won, "PAID", 10),
        ] {
            let cloud = Memory::default();
            let (_, intent) = bought(&cloud, "tok_visa").await;
            receive(&cloud, &disputed(&intent, DisputeStatus::Open, 1)).await;
            let open = only(&cloud);
            assert_eq!((open.status.name(), open.granted()), ("DISPUTED", 10));
            assert!(matches!(
                open.outbox.as_deref(),
                Some([Notice::Paid, Notice::Disputed { amount: 4_000, .. }])
            ));
            for state in [(end, 2), (DisputeStatus::Open, 1), (DisputeStatus::Open, 3)] {
                let event = disputed(&intent, state.0, state.1);
                assert_eq!(receive(&cloud, &event).await, Handled);
            }
            let closed = only(&cloud);
            assert_eq!((closed.status.name(), closed.granted()), (status, granted));
            assert_eq!(closed.outbox.unwrap().len(), 2, "no further notice");
        }
    }

    #[tokio::test]
    async fn refunds_and_disputes_of_payments_that_do_not_match_change_nothing() {
        let cloud = Memory::default();
        let (paid, intent) = bought(&cloud, "tok_visa").await;
        let unknown = crate::fixtures::intent(99);
        for event in [
            refunded_at(&unknown, 4_000, 1),
            disputed(&unknown, DisputeStatus::Lost, 1),
        ] {
            assert_eq!(contradicts(&cloud, &event).await, UNKNOWN_PAYMENT);
        }
        let too_much = refunded_at(&intent, 4_001, 1);
        assert_eq!(contradicts(&cloud, &too_much).await, WRONG_AMOUNT);
        let orphan = cloud.charge_again(&pending("tok_visa")).unwrap();
        let of_orphan = refunded_at(&orphan, 4_000, 1);
        assert_eq!(contradicts(&cloud, &of_orphan).await, MISSING);
        let foreign = cloud.charge_again(&paid).unwrap();
        cloud.remove_metadata(&foreign);
        let of_foreign = refunded_at(&foreign, 4_000, 1);
        assert_eq!(receive(&cloud, &of_foreign).await, Ignored);
        assert_eq!(only(&cloud), paid);
    }

    #[tokio::test]
    async fn events_of_other_types_are_ignored_without_a_call() {
        let cloud = Memory::default();
        assert_eq!(receive(&cloud, &event(Report::Other)).await, Ignored);
        assert_eq!(cloud.calls(), 0);
    }

    #[tokio::test]
    async fn stripe_delivers_an_event_again_if_a_call_fails() {
        for call in ["settle", "retrieve", "refund", "revise"] {
            let cloud = Memory::default();
            let (failed, _) = bought(&cloud, "tok_chargeDeclined").await;
            let charged = cloud.charge_again(&failed).unwrap();
            let event = succeeded(&failed, &charged);
            cloud.fail(call, Failure::ResponseLost, 0, 1);
            assert!(
                webhook(&cloud, &cloud, &event, NOON).await.is_err(),
                "{call}"
            );
            assert_eq!(receive(&cloud, &event).await, Handled);
            assert_eq!(only(&cloud).surplus.len(), 1, "{call}");
        }
    }
}
