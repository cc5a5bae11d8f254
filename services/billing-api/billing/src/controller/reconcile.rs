use super::{Error, LOOK_AFTER, LOST_AFTER, OPEN_FOR, end_of, settle};
use crate::{
    payment::{Decline, End, Payment},
    purchase::{Purchase, Shard, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// What a run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// Purchases that are settled.
    pub settled: usize,
    /// Purchases whose payment goes on.
    pub waiting: usize,
    /// Purchases that could not be looked after this time.
    pub failed: usize,
}

/// Purchases that are read at once.
const PAGE: usize = 25;

/// Looks after the purchases that are PENDING and due: asks Stripe, carries out what never reached
/// it, gives up what nobody finishes, and settles. At most `limit` purchases of each shard.
///
/// One that cannot be settled is put off, so that it holds up nothing behind it.
///
/// # Errors
/// When the purchases cannot be read. What goes wrong with one of them is logged and counted.
#[tracing::instrument(skip_all)]
pub async fn reconcile(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    now: Timestamp,
    limit: usize,
) -> Result<Reconciled, Error> {
    let mut done = Reconciled::default();
    for shard in Shard::all() {
        let mut left = limit;
        let mut last = None;
        while left > 0 {
            let page = purchases
                .due(shard, now, last.as_ref(), left.min(PAGE))
                .await?;
            left = left.saturating_sub(page.items.len());
            for due in &page.items {
                match look_after(payments, purchases, due, now).await {
                    Ok(true) => done.settled += 1,
                    Ok(false) => done.waiting += 1,
                    Err(error) => {
                        done.failed += 1;
                        let purchase_id = due.key.purchase_id;
                        let error = function::chain(&error);
                        tracing::warn!(%purchase_id, error, "a purchase was not looked after");
                        purchases.postpone(&due.key, now.after(LOOK_AFTER)).await?;
                    }
                }
            }
            last = page.items.into_iter().next_back();
            if !page.more || last.is_none() {
                break;
            }
        }
    }
    Ok(done)
}

/// Settles one purchase, or puts it off. Returns whether it is settled.
async fn look_after(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    due: &Purchase,
    now: Timestamp,
) -> Result<bool, Error> {
    let Status::Pending { source, .. } = &due.status else {
        return Ok(true);
    };
    let age = now.since(due.created_at);
    let payment = match payments.status_of(&due.key).await? {
        Some(Payment::RequiresAction { intent, .. }) if age >= OPEN_FOR => {
            Some(Payment::Declined {
                intent: Some(intent),
                decline: Decline::unfinished(),
            })
        }
        None if age < OPEN_FOR => Some(payments.charge(due, source).await?),
        found => found,
    };
    let end = match payment {
        Some(payment) => end_of(payments, payment).await?.ok(),
        // Nobody has sent it, and nobody will.
        None if age >= LOST_AFTER => Some(End::Failed {
            intent: None,
            decline: Decline::not_made(),
        }),
        None => None,
    };
    match end {
        Some(end) => {
            settle(purchases, &due.key, &end, now).await?;
            Ok(true)
        }
        None => {
            purchases.postpone(&due.key, now.after(LOOK_AFTER)).await?;
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    async fn run(cloud: &Memory, now: Timestamp) -> Reconciled {
        reconcile(cloud, cloud, now, 100).await.unwrap()
    }

    fn counts(settled: usize, waiting: usize, failed: usize) -> Reconciled {
        Reconciled {
            settled,
            waiting,
            failed,
        }
    }

    #[tokio::test]
    async fn a_purchase_is_left_alone_until_it_is_due() {
        let cloud = Memory::default();
        cloud.ordered("tok_visa").await;
        assert_eq!(run(&cloud, NOON).await, counts(0, 0, 0));
        assert_eq!(cloud.calls_of("status_of"), 0);
    }

    #[tokio::test]
    async fn an_order_that_never_reached_stripe_is_carried_out_while_it_is_open() {
        let cloud = Memory::default();
        cloud.ordered("tok_visa").await;
        let done = run(&cloud, NOON.after(LOOK_AFTER)).await;
        assert_eq!(done, counts(1, 0, 0));
        assert_eq!(cloud.charges().len(), 1);
        assert!(matches!(cloud.only().status, Status::Paid { .. }));
    }

    #[tokio::test]
    async fn an_order_that_never_reached_stripe_has_failed_once_that_is_sure_and_is_not_charged() {
        let cloud = Memory::default();
        cloud.ordered("tok_visa").await;
        assert_eq!(run(&cloud, NOON.after(OPEN_FOR)).await, counts(0, 1, 0));
        assert_eq!(run(&cloud, NOON.after(LOST_AFTER)).await, counts(1, 0, 0));
        assert!(cloud.charges().is_empty());
        let Status::Failed { decline, .. } = cloud.only().status else {
            panic!("it is settled")
        };
        assert_eq!(decline, Decline::not_made());
    }

    #[tokio::test]
    async fn a_payment_that_nobody_finishes_is_cancelled_after_its_time_and_not_before() {
        let cloud = Memory::default();
        cloud.ordered("pm_threeDSecure").await;
        assert_eq!(run(&cloud, NOON.after(LOOK_AFTER)).await, counts(0, 1, 0));
        assert!(cloud.can_still_charge());
        assert_eq!(run(&cloud, NOON.after(OPEN_FOR)).await, counts(1, 0, 0));
        assert!(!cloud.can_still_charge());
        assert!(matches!(cloud.only().status, Status::Failed { .. }));
    }

    #[tokio::test]
    async fn a_payment_that_the_bank_has_not_decided_is_waited_for() {
        let cloud = Memory::default();
        cloud.ordered("pm_slow").await;
        for later in [LOOK_AFTER, OPEN_FOR, LOST_AFTER] {
            assert_eq!(run(&cloud, NOON.after(later)).await, counts(0, 1, 0));
        }
        assert_eq!(cloud.calls_of("charge"), 1);
    }

    #[tokio::test]
    async fn a_purchase_that_cannot_be_looked_after_holds_up_no_other() {
        let cloud = Memory::default();
        for _ in 0..100 {
            cloud.ordered("tok_visa").await;
        }
        // The first call reads a page, the second asks Stripe.
        cloud.fail(Failure::Unsent, 1);
        let due = NOON.after(LOOK_AFTER);
        assert_eq!(run(&cloud, due).await, counts(99, 0, 1));
        assert_eq!(run(&cloud, due).await, counts(0, 0, 0), "it is put off");
        assert_eq!(run(&cloud, due.after(LOOK_AFTER)).await, counts(1, 0, 0));
    }

    #[tokio::test]
    async fn a_run_looks_after_no_more_than_it_is_told_to_and_the_next_goes_on() {
        let cloud = Memory::default();
        for _ in 0..400 {
            cloud.ordered("tok_visa").await;
        }
        let due = NOON.after(LOOK_AFTER);
        let mut settled = 0;
        for _ in 0..400 {
            let before = cloud.calls_of("status_of");
            settled += reconcile(&cloud, &cloud, due, 30).await.unwrap().settled;
            let asked = cloud.calls_of("status_of") - before;
            assert!(asked <= 30 * usize::from(Shard::COUNT), "{asked}");
            if settled == 400 {
                return;
            }
        }
        panic!("{settled} of 400");
    }
}
