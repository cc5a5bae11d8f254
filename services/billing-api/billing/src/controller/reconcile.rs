use std::{ops::AddAssign, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};

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
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ReconcileSummary {
    /// The number of checked purchases that are settled now.
    pub settled: usize,
    /// The number of purchases that cannot be settled yet, and are checked again later.
    pub pending: usize,
    /// The number of settled purchases that were announced again.
    pub announced: usize,
    /// The number of errors: of checks, of postponements and of reads.
    pub errors: usize,
    /// The number of items that are not valid purchases. They are set aside for a day.
    pub unreadable: usize,
    /// The number of shards for which the time did not suffice. The next call continues with them.
    pub unfinished: usize,
}

impl AddAssign for ReconcileSummary {
    fn add_assign(&mut self, other: Self) {
        self.settled += other.settled;
        self.pending += other.pending;
        self.announced += other.announced;
        self.errors += other.errors;
        self.unreadable += other.unreadable;
        self.unfinished += other.unfinished;
    }
}

/// The maximum number of purchases that one query of the index `unsettled` reads.
const PAGE_SIZE: usize = 25;

/// The number of purchases of a shard that are checked at the same time. Stripe allows 100
/// operations per second in live mode, and 25 in a sandbox: <https://docs.stripe.com/rate-limits>.
const CONCURRENCY: usize = 3;

/// The time before the deadline from which on no check starts: a check has several calls to Stripe.
const CHECK_TIME: Duration = Duration::from_secs(30);

/// The time for which an unreadable item is set aside.
const SET_ASIDE: Duration = Duration::from_secs(24 * 60 * 60);

/// Does the work that is due: compares PENDING purchases with their payments in Stripe, and announces
/// the settled purchases whose announcement has failed. Works on all shards at the same time, and
/// starts no check shortly before `deadline`. `clock` returns the current time.
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
    let ReconcileSummary {
        settled,
        pending,
        announced,
        errors,
        unreadable,
        unfinished,
    } = summary;
    tracing::info!(
        settled,
        pending,
        announced,
        errors,
        unreadable,
        unfinished,
        "reconciled"
    );
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
        if !self.has_time() {
            summary.unfinished = 1;
            return summary;
        }
        let work = async {
            if let Status::Pending { source, .. } = &due.status {
                self.pending(&due, source).await
            } else {
                announce(self.publisher, self.purchases, &due).await?;
                Ok(Work::Announced)
            }
        };
        match work.await {
            Ok(Work::Settled) => summary.settled = 1,
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
        Ok(self.purchases.postpone(&due.key, due_at, None).await?)
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
                // The index may be outdated. A canceled order must not be charged.
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

    /// Settles `due` as FAILED: no call has made its payment, and no later call will make it.
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
    use super::*;
    use crate::{fixtures::*, service::memory::*};

    async fn run(cloud: &Memory, now: Timestamp) -> ReconcileSummary {
        reconcile(cloud, cloud, now, 100).await.unwrap()
    }

    fn counts(settled: usize, pending: usize, errors: usize) -> ReconcileSummary {
        ReconcileSummary {
            settled,
            pending,
            errors,
        }
    }

    #[tokio::test]
    async fn a_purchase_is_not_checked_before_it_is_due() {
        let cloud = Memory::default();
        cloud.with_pending("tok_visa").await;
        assert_eq!(run(&cloud, NOON).await, counts(0, 0, 0));
        assert_eq!(cloud.calls_of("find_payment"), 0);
    }

    #[tokio::test]
    async fn a_purchase_without_a_payment_is_charged_within_the_charge_window() {
        let cloud = Memory::default();
        cloud.with_pending("tok_visa").await;
        let summary = run(&cloud, NOON.after(RECONCILE_DELAY)).await;
        assert_eq!(summary, counts(1, 0, 0));
        assert_eq!(cloud.charges().len(), 1);
        assert!(matches!(cloud.only_purchase().status, Status::Paid { .. }));
    }

    #[tokio::test]
    async fn a_purchase_without_a_payment_fails_after_the_abandon_age_and_is_not_charged() {
        let cloud = Memory::default();
        cloud.with_pending("tok_visa").await;
        let at = |age| NOON.after(age);
        assert_eq!(run(&cloud, at(CHARGE_WINDOW)).await, counts(0, 1, 0));
        assert_eq!(run(&cloud, at(ABANDON_AFTER)).await, counts(1, 0, 0));
        assert!(cloud.charges().is_empty());
        let Status::Failed { decline, .. } = cloud.only_purchase().status else {
            panic!("the purchase must be settled as FAILED")
        };
        assert_eq!(decline, Decline::not_made());
    }

    #[tokio::test]
    async fn an_unfinished_payment_is_canceled_after_the_charge_window_and_not_before() {
        let cloud = Memory::default();
        cloud.with_pending("pm_threeDSecure").await;
        let at = |age| NOON.after(age);
        assert_eq!(run(&cloud, at(RECONCILE_DELAY)).await, counts(0, 1, 0));
        assert!(cloud.can_still_charge());
        assert_eq!(run(&cloud, at(CHARGE_WINDOW)).await, counts(1, 0, 0));
        assert!(!cloud.can_still_charge());
        assert!(matches!(
            cloud.only_purchase().status,
            Status::Failed { .. }
        ));
    }

    #[tokio::test]
    async fn a_processing_payment_stays_pending_at_any_age() {
        let cloud = Memory::default();
        cloud.with_pending("pm_slow").await;
        for age in [RECONCILE_DELAY, CHARGE_WINDOW, ABANDON_AFTER] {
            assert_eq!(run(&cloud, NOON.after(age)).await, counts(0, 1, 0));
        }
        assert_eq!(cloud.calls_of("charge"), 1);
    }

    #[tokio::test]
    async fn a_purchase_whose_check_fails_does_not_block_the_others() {
        let cloud = Memory::default();
        for _ in 0..100 {
            cloud.with_pending("tok_visa").await;
        }
        // The call with index 1 is the search for the first payment, after the read of a page.
        cloud.fail(Failure::Unsent, 1);
        let due = NOON.after(RECONCILE_DELAY);
        assert_eq!(run(&cloud, due).await, counts(99, 0, 1));
        assert_eq!(run(&cloud, due).await, counts(0, 0, 0), "it is postponed");
        let next = due.after(RECONCILE_DELAY);
        assert_eq!(run(&cloud, next).await, counts(1, 0, 0));
    }

    #[tokio::test]
    async fn reconcile_stops_at_its_limit_and_later_calls_settle_the_remaining_purchases() {
        let cloud = Memory::default();
        for _ in 0..400 {
            cloud.with_pending("tok_visa").await;
        }
        let due = NOON.after(RECONCILE_DELAY);
        let mut settled = 0;
        for _ in 0..400 {
            let before = cloud.calls_of("find_payment");
            settled += reconcile(&cloud, &cloud, due, 30).await.unwrap().settled;
            let checked = cloud.calls_of("find_payment") - before;
            assert!(checked <= 30 * usize::from(Shard::COUNT), "{checked}");
            if settled == 400 {
                return;
            }
        }
        panic!("{settled} of 400");
    }
}
