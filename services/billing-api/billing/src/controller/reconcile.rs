use std::{ops::AddAssign, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use metrics::Subject;
use serde::Serialize;

use super::{
    ABANDON_AFTER, CHARGE_WINDOW, Error, GIVE_UP_AFTER, RECONCILE_DELAY,
    announce::announce,
    payment::{Progress, advance, charge, find, is_server_error, retrieve},
    settle::settle,
};
use crate::{
    payment::{Decline, Outcome, Payment},
    purchase::{PaymentSource, Purchase, Shard, Status, Timestamp},
    service::{DueKey, Payments, Publisher, PurchaseStore},
};

/// What one call of [`reconcile`] did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReconcileSummary {
    /// The number of checked purchases that are settled now.
    pub settled: usize,
    /// The number of purchases that cannot be settled yet, and are checked again later.
    pub pending: usize,
    /// The number of settled purchases that were announced.
    pub announced: usize,
    /// The number of failed checks, postponements and reads.
    pub errors: usize,
    /// The number of items that are not valid purchases. The next check of them is a day later.
    pub unreadable: usize,
    /// The number of shards with work that was not done before the deadline. The next call does it.
    pub unfinished: usize,
    /// The age of the oldest due purchase that is still PENDING, in seconds. Zero if there is none.
    pub oldest_pending: u64,
}

impl AddAssign for ReconcileSummary {
    fn add_assign(&mut self, other: Self) {
        self.settled += other.settled;
        self.pending += other.pending;
        self.announced += other.announced;
        self.errors += other.errors;
        self.unreadable += other.unreadable;
        self.unfinished += other.unfinished;
        self.oldest_pending = self.oldest_pending.max(other.oldest_pending);
    }
}

/// The maximum number of purchases that one query of the index `unsettled` reads.
const PAGE_SIZE: usize = 25;

/// The number of purchases of a shard that are checked at the same time. Stripe allows 100
/// operations per second in live mode, and 25 in a sandbox: <https://docs.stripe.com/rate-limits>.
const CONCURRENCY: usize = 3;

/// The minimum time before the deadline at which a check may start. A check makes several calls to
/// Stripe.
const CHECK_TIME: Duration = Duration::from_secs(15);

/// The time until an unreadable item is checked again.
const SET_ASIDE: Duration = Duration::from_secs(24 * 60 * 60);

/// Does the work that is due: compares PENDING purchases with their payments in Stripe, and announces
/// settled purchases that still have an outbox. Works on all shards concurrently, and starts no check
/// shortly before `deadline`. `clock` returns the current time.
///
/// Charges a purchase if Stripe lists no payment and the purchase is younger than [`CHARGE_WINDOW`].
/// Cancels a payment that the customer did not complete within this time. Settles a purchase if its
/// payment is final, or if Stripe lists no payment and none can follow: the purchase is older than
/// [`ABANDON_AFTER`], or older than [`GIVE_UP_AFTER`] and Stripe responds with a server error.
/// Postpones every other purchase, so that it does not block later purchases.
///
/// An error does not end the call. It is logged, and counted in the result.
#[tracing::instrument(skip_all)]
pub async fn reconcile(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    publisher: &impl Publisher,
    clock: &(impl Fn() -> Timestamp + Sync),
    deadline: Timestamp,
) -> ReconcileSummary {
    let run = Run {
        payments,
        purchases,
        publisher,
        clock,
        deadline,
        started: clock(),
    };
    let mut summary = ReconcileSummary::default();
    for shard in join_all(Shard::all().map(|shard| run.shard(shard))).await {
        summary += shard;
    }
    summary
}

struct Run<'a, P, S, N, C> {
    payments: &'a P,
    purchases: &'a S,
    publisher: &'a N,
    clock: &'a C,
    deadline: Timestamp,
    started: Timestamp,
}

impl<P, S, N, C> Run<'_, P, S, N, C>
where
    P: Payments,
    S: PurchaseStore,
    N: Publisher,
    C: Fn() -> Timestamp + Sync,
{
    fn has_time(&self) -> bool {
        self.deadline.since((self.clock)()) > CHECK_TIME
    }

    async fn shard(&self, shard: Shard) -> ReconcileSummary {
        let mut summary = ReconcileSummary::default();
        let mut after: Option<DueKey> = None;
        loop {
            if !self.has_time() {
                summary.unfinished = 1;
                return summary;
            }
            let page = self
                .purchases
                .due(shard, self.started, after.as_ref(), PAGE_SIZE);
            let page = match page.await {
                Ok(page) => page,
                Err(error) => {
                    let (shard, error) = (shard.number(), function::chain(&error));
                    tracing::error!(shard, error, "due purchases not read");
                    summary.errors += 1;
                    return summary;
                }
            };
            for item in &page.unreadable {
                summary += self.set_aside(item).await;
            }
            let checks = page.purchases.into_iter().map(|due| self.check(due));
            let mut checks = stream::iter(checks).buffer_unordered(CONCURRENCY);
            while let Some(checked) = checks.next().await {
                summary += checked;
            }
            after = page.next;
            if after.is_none() || summary.unfinished > 0 {
                summary.unfinished = summary.unfinished.min(1);
                return summary;
            }
        }
    }

    async fn set_aside(&self, item: &DueKey) -> ReconcileSummary {
        let due_at = self.started.after(SET_ASIDE);
        let set_aside = self.purchases.set_aside(item, due_at).await;
        if let Err(error) = &set_aside {
            let (purchase_id, error) = (&item.purchase_id, function::chain(error));
            tracing::error!(purchase_id, error, "unreadable purchase not set aside");
        }
        ReconcileSummary {
            unreadable: 1,
            errors: usize::from(set_aside.is_err()),
            ..ReconcileSummary::default()
        }
    }

    /// Does the work that is due for one purchase, and counts it.
    async fn check(&self, due: Purchase) -> ReconcileSummary {
        let mut summary = ReconcileSummary::default();
        if due.is_pending() {
            summary.oldest_pending = self.started.since(due.created_at).as_secs();
        }
        if !self.has_time() {
            summary.unfinished = 1;
            return summary;
        }
        Subject::Purchase.log(due.key.purchase_id);
        let work = async {
            if let Status::Pending { source, .. } = &due.status {
                self.pending(&due, source).await
            } else {
                announce(self.publisher, self.purchases, &due).await?;
                Ok(Work::Announced)
            }
        };
        match work.await {
            Ok(Work::Settled) => {
                summary.settled = 1;
                summary.oldest_pending = 0;
            }
            Ok(Work::Postponed) => summary.pending = 1,
            Ok(Work::Announced) => summary.announced = 1,
            Err(error) => {
                summary.errors = 1;
                let purchase_id = due.key.purchase_id;
                let error = function::chain(&error);
                tracing::error!(%purchase_id, error, "check of a purchase failed");
                if let Err(error) = self.postpone(&due).await {
                    summary.errors += 1;
                    let error = function::chain(&error);
                    tracing::error!(%purchase_id, error, "purchase not postponed");
                }
            }
        }
        summary
    }

    async fn postpone(&self, due: &Purchase) -> Result<(), Error> {
        let due_at = (self.clock)().after(RECONCILE_DELAY);
        // A purchase that was settled and announced in the meantime needs no further work.
        self.purchases.postpone(&due.key, due_at, None).await?;
        Ok(())
    }

    /// Settles or postpones the PENDING purchase `due`.
    async fn pending(&self, due: &Purchase, source: &PaymentSource) -> Result<Work, Error> {
        let Self {
            payments,
            purchases,
            ..
        } = *self;
        let now = (self.clock)();
        let age = now.since(due.created_at);
        let payment = match &due.status {
            Status::Pending {
                payment_intent_id: Some(intent),
                ..
            } => Some(retrieve(payments, intent, due.key.purchase_id).await?),
            _ => find(payments, purchases, due, now).await?,
        };
        let payment = match payment {
            Some(Payment::RequiresAction { intent, .. }) if age >= CHARGE_WINDOW => {
                payments.cancel(&intent).await?
            }
            Some(payment) => payment,
            None if age < CHARGE_WINDOW => {
                // The index is eventually consistent. A canceled order must not be charged.
                let Some(stored) = purchases.get(&due.key).await? else {
                    return Err(Error::NotFound);
                };
                if !stored.is_pending() {
                    return Ok(Work::Settled);
                }
                match charge(payments, purchases, due, source, now).await {
                    Err(error) if age >= GIVE_UP_AFTER && is_server_error(&error) => {
                        match find(payments, purchases, due, now).await? {
                            Some(payment) => payment,
                            None => return self.not_made(due, now).await,
                        }
                    }
                    charged => charged?,
                }
            }
            None if age >= ABANDON_AFTER => return self.not_made(due, now).await,
            None => {
                self.postpone(due).await?;
                return Ok(Work::Postponed);
            }
        };
        match advance(payments, purchases, due, payment, now).await? {
            Progress::Settled(_) => Ok(Work::Settled),
            Progress::InProgress(_) => Ok(Work::Postponed),
        }
    }

    /// Settles `due` as FAILED: Stripe has no payment for it, and no later call creates one.
    async fn not_made(&self, due: &Purchase, now: Timestamp) -> Result<Work, Error> {
        let outcome = Outcome::Failed {
            intent: None,
            decline: Decline::not_made(),
        };
        let settled = settle(self.payments, self.purchases, &due.key, &outcome, now).await?;
        settled.map(|_| Work::Settled).ok_or(Error::NotFound)
    }
}

/// The work that was done for a purchase.
enum Work {
    Settled,
    Postponed,
    Announced,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;
    use crate::{
        fixtures::*,
        purchase::{PurchaseKey, UserId},
        service::{SettleIf, memory::*},
    };

    /// The time that Lambda gives to an invocation.
    const TIMEOUT: Duration = Duration::from_secs(240);

    async fn run(cloud: &Memory, now: Timestamp) -> ReconcileSummary {
        reconcile(cloud, cloud, cloud, &|| now, now.after(TIMEOUT)).await
    }

    fn settled_purchases(settled: usize) -> ReconcileSummary {
        ReconcileSummary {
            settled,
            ..ReconcileSummary::default()
        }
    }

    fn pending_purchase(age: Duration) -> ReconcileSummary {
        ReconcileSummary {
            pending: 1,
            oldest_pending: age.as_secs(),
            ..ReconcileSummary::default()
        }
    }

    /// Stores `count` PENDING purchases, each of another buyer.
    async fn with_many(cloud: &Memory, count: usize) {
        for number in 0..count {
            let purchase = pending("tok_visa");
            let user_id: UserId = format!("us-east-1:{number}").parse().unwrap();
            cloud.store(Purchase {
                key: PurchaseKey {
                    user_id,
                    ..purchase.key
                },
                ..purchase
            });
        }
    }

    fn at(age: Duration) -> Timestamp {
        NOON.after(age)
    }

    fn decline_of(cloud: &Memory) -> String {
        only(cloud).decline().unwrap().code.clone()
    }

    #[tokio::test]
    async fn a_purchase_is_not_checked_before_it_is_due() {
        let cloud = Memory::default();
        with_pending(&cloud, "tok_visa").await;
        assert_eq!(run(&cloud, NOON).await, ReconcileSummary::default());
        assert_eq!(cloud.calls_of("find_payments"), 0);
    }

    #[tokio::test]
    async fn a_purchase_without_a_payment_is_charged_within_the_charge_window() {
        let cloud = Memory::default();
        with_pending(&cloud, "tok_visa").await;
        assert_eq!(run(&cloud, at(RECONCILE_DELAY)).await, settled_purchases(1));
        assert_eq!(cloud.charges().len(), 1);
        assert_eq!(only(&cloud).status.name(), "PAID");
    }

    #[tokio::test]
    async fn a_purchase_without_a_payment_fails_after_the_abandon_age_and_is_not_charged() {
        let cloud = Memory::default();
        with_pending(&cloud, "tok_visa").await;
        assert_eq!(
            run(&cloud, at(CHARGE_WINDOW)).await,
            pending_purchase(CHARGE_WINDOW)
        );
        assert_eq!(run(&cloud, at(ABANDON_AFTER)).await, settled_purchases(1));
        assert!(cloud.charges().is_empty());
        assert_eq!(decline_of(&cloud), "payment_not_made");
    }

    #[tokio::test]
    async fn a_charge_whose_response_was_lost_is_found_at_any_age() {
        for age in [
            RECONCILE_DELAY,
            CHARGE_WINDOW,
            ABANDON_AFTER,
            ABANDON_AFTER * 24,
        ] {
            let cloud = Memory::default();
            let purchase = with_pending(&cloud, "tok_visa").await;
            cloud.charge_again(&purchase).unwrap();
            assert_eq!(run(&cloud, at(age)).await, settled_purchases(1));
            assert_eq!(only(&cloud).status.name(), "PAID");
            assert_eq!(cloud.calls_of("charge"), 0);
        }
    }

    #[tokio::test]
    async fn every_charge_but_one_of_a_purchase_is_refunded() {
        let cloud = Memory::default();
        let purchase = with_pending(&cloud, "tok_visa").await;
        let [first, second, third] = [(); 3].map(|()| cloud.charge_again(&purchase).unwrap());
        assert_eq!(run(&cloud, at(RECONCILE_DELAY)).await, settled_purchases(1));
        assert_eq!(only(&cloud).paid_by(), Some(&first));
        let refunded = [&first, &second, &third].map(|intent| cloud.refunded(intent));
        assert_eq!(refunded, [0, 4_000, 4_000]);
    }

    #[tokio::test]
    async fn an_unfinished_payment_is_canceled_after_the_charge_window_and_not_before() {
        let cloud = Memory::default();
        with_pending(&cloud, "pm_threeDSecure").await;
        assert_eq!(
            run(&cloud, at(RECONCILE_DELAY)).await,
            pending_purchase(RECONCILE_DELAY)
        );
        assert!(cloud.can_still_charge());
        assert_eq!(run(&cloud, at(CHARGE_WINDOW)).await, settled_purchases(1));
        assert!(!cloud.can_still_charge());
        assert_eq!(decline_of(&cloud), "payment_unfinished");
    }

    #[tokio::test]
    async fn a_processing_payment_stays_pending_at_any_age() {
        let cloud = Memory::default();
        with_pending(&cloud, "pm_slow").await;
        for age in [RECONCILE_DELAY, CHARGE_WINDOW, ABANDON_AFTER] {
            assert_eq!(run(&cloud, at(age)).await, pending_purchase(age));
        }
        assert_eq!(cloud.calls_of("charge"), 1);
    }

    #[tokio::test]
    async fn a_purchase_whose_charge_stripe_cannot_execute_fails_after_15_minutes() {
        let cloud = Memory::default();
        with_pending(&cloud, "tok_error500NoEffect").await;
        let summary = run(&cloud, at(RECONCILE_DELAY)).await;
        assert_eq!((summary.settled, summary.errors), (0, 1));
        assert!(only(&cloud).is_pending());
        assert_eq!(run(&cloud, at(GIVE_UP_AFTER)).await, settled_purchases(1));
        assert_eq!(decline_of(&cloud), "payment_not_made");
    }

    #[tokio::test]
    async fn a_charge_that_stripe_executed_before_a_server_error_is_found() {
        let cloud = Memory::default();
        with_pending(&cloud, "tok_error500").await;
        let summary = run(&cloud, at(RECONCILE_DELAY)).await;
        assert_eq!((summary.settled, summary.errors), (0, 1));
        let next = at(RECONCILE_DELAY * 2);
        assert_eq!(run(&cloud, next).await, settled_purchases(1));
        assert_eq!(only(&cloud).status.name(), "PAID");
        assert_eq!(cloud.charges().len(), 1);
    }

    #[tokio::test]
    async fn an_order_that_was_canceled_after_the_index_was_read_is_not_charged() {
        let cloud = Memory::default();
        let stale = with_pending(&cloud, "tok_visa").await;
        cloud
            .settle(&stale.key, &failed(), SettleIf::Pending, NOON)
            .await
            .unwrap();
        let now = at(RECONCILE_DELAY);
        let clock = || now;
        let run = Run {
            payments: &cloud,
            purchases: &cloud,
            publisher: &cloud,
            clock: &clock,
            deadline: now.after(TIMEOUT),
            started: now,
        };
        run.check(stale).await;
        assert!(cloud.charges().is_empty());
    }

    #[tokio::test]
    async fn an_error_of_stripe_is_counted_and_the_other_purchases_are_checked() {
        let cloud = Memory::default();
        with_many(&cloud, 100).await;
        cloud.fail("find_payments", Failure::Unsent, 0, 1);
        let due = at(RECONCILE_DELAY);
        let summary = run(&cloud, due).await;
        assert_eq!((summary.settled, summary.errors), (99, 1));
        let again = run(&cloud, due).await;
        assert_eq!((again.settled, again.errors), (0, 0), "it is postponed");
        assert_eq!(run(&cloud, due.after(RECONCILE_DELAY)).await.settled, 1);
    }

    #[tokio::test]
    async fn an_error_of_a_postponement_does_not_end_the_run() {
        let cloud = Memory::default();
        for _ in 0..8 {
            cloud.store(pending("pm_slow"));
        }
        cloud.fail("postpone", Failure::Unsent, 0, usize::MAX);
        let summary = run(&cloud, at(RECONCILE_DELAY)).await;
        assert_eq!((summary.pending, summary.errors), (0, 16), "{summary:?}");
        assert_eq!(cloud.calls_of("find_payments"), 8);
    }

    #[tokio::test]
    async fn an_error_of_one_shard_does_not_end_the_work_on_the_others() {
        let cloud = Memory::default();
        with_many(&cloud, 100).await;
        cloud.fail("due", Failure::Unsent, 0, 1);
        let summary = run(&cloud, at(RECONCILE_DELAY)).await;
        assert_eq!(summary.errors, 1);
        assert!(summary.settled > 0, "{summary:?}");
    }

    #[tokio::test]
    async fn unreadable_items_are_set_aside_for_a_day_and_do_not_block_purchases() {
        let cloud = Memory::default();
        let due = at(RECONCILE_DELAY);
        for number in 0..110 {
            let shard = Shard::all().nth(number % 4).unwrap();
            let key = DueKey {
                due_at: NOON.as_millis().to_string(),
                user_id: "us-east-1:ada".into(),
                purchase_id: format!("bad {number}"),
            };
            cloud.store_unreadable(shard, key);
        }
        with_many(&cloud, 40).await;
        let summary = run(&cloud, due).await;
        assert_eq!((summary.settled, summary.unreadable), (40, 110));
        assert_eq!(run(&cloud, due.after(RECONCILE_DELAY)).await.unreadable, 0);
        assert_eq!(run(&cloud, due.after(SET_ASIDE)).await.unreadable, 110);
    }

    #[tokio::test]
    async fn no_check_starts_shortly_before_the_deadline_and_all_shards_get_the_same_time() {
        let cloud = Memory::default();
        with_many(&cloud, 400).await;
        let due = at(RECONCILE_DELAY);
        let deadline = due.after(TIMEOUT);
        // Each reading of the clock takes a second.
        let seconds = AtomicU64::new(0);
        let clock = || due.after(Duration::from_secs(seconds.fetch_add(1, SeqCst)));
        let summary = reconcile(&cloud, &cloud, &cloud, &clock, deadline).await;
        assert_eq!(summary.unfinished, usize::from(Shard::COUNT));
        assert!(summary.settled < 200, "{summary:?}");
        let mut settled = [0; Shard::COUNT as usize];
        for purchase in cloud.purchases() {
            let shard = Shard::of(purchase.key.purchase_id).number();
            settled[usize::from(shard)] += usize::from(!purchase.is_pending());
        }
        let (least, most) = (settled.iter().min(), settled.iter().max());
        assert!(most.unwrap() - least.unwrap() <= CONCURRENCY, "{settled:?}");
    }

    #[tokio::test]
    async fn a_purchase_whose_announcement_was_lost_is_announced() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        cloud
            .settle(&pending.key, &paid(), SettleIf::Pending, NOON)
            .await
            .unwrap();
        let due = at(RECONCILE_DELAY);
        cloud.fail("publish", Failure::Unsent, 0, 1);
        assert_eq!(run(&cloud, due).await.errors, 1);
        let next = due.after(RECONCILE_DELAY);
        assert_eq!(run(&cloud, next).await.announced, 1);
        assert_eq!(cloud.published().len(), 1);
        let later = next.after(RECONCILE_DELAY);
        assert_eq!(run(&cloud, later).await, ReconcileSummary::default());
    }

    #[tokio::test]
    async fn a_purchase_that_does_not_exist_any_more_is_not_counted_as_settled() {
        let cloud = Memory::default();
        let deleted = pending("tok_visa");
        let now = at(RECONCILE_DELAY);
        let clock = || now;
        let run = Run {
            payments: &cloud,
            purchases: &cloud,
            publisher: &cloud,
            clock: &clock,
            deadline: now.after(TIMEOUT),
            started: now,
        };
        let summary = run.check(deleted).await;
        assert_eq!((summary.settled, summary.errors), (0, 1));
        assert!(cloud.charges().is_empty());
    }
}
