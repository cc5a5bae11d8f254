use super::{ABANDON_AFTER, CHARGE_WINDOW, Error, RECONCILE_DELAY, Resolution, resolve, settle};
use crate::{
    payment::{Decline, Outcome, Payment},
    purchase::{Purchase, Shard, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// The numbers of purchases that one call of [`reconcile`] settled, postponed, or failed to check.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ReconcileSummary {
    /// The number of checked purchases that are settled now.
    pub settled: usize,
    /// The number of purchases that cannot be settled yet, and are checked again later.
    pub pending: usize,
    /// The number of purchases whose check failed with an error.
    pub errors: usize,
}

/// The maximum number of purchases that one query of the index `unsettled` reads.
const PAGE_SIZE: usize = 25;

/// Compares the PENDING purchases that are due at `now` with their payments in Stripe. Checks at
/// most `limit` purchases in each shard.
///
/// Charges a purchase if Stripe's search finds no payment and the purchase is younger than
/// [`CHARGE_WINDOW`]. Cancels a payment that the customer did not complete within this time.
/// Settles a purchase if its payment is final, or if the search finds no payment and the purchase
/// is older than [`ABANDON_AFTER`]. Postpones every other purchase, so that it does not block later
/// purchases.
///
/// # Errors
/// Fails if the due purchases cannot be read, or a purchase whose check failed cannot be postponed.
/// If only the check of one purchase fails, the error is logged and counted in the result.
#[tracing::instrument(skip_all)]
pub async fn reconcile(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    now: Timestamp,
    limit: usize,
) -> Result<ReconcileSummary, Error> {
    let mut summary = ReconcileSummary::default();
    for shard in Shard::all() {
        let mut left = limit;
        let mut last = None;
        while left > 0 {
            let page = purchases
                .due(shard, now, last.as_ref(), left.min(PAGE_SIZE))
                .await?;
            left = left.saturating_sub(page.items.len());
            for due in &page.items {
                match reconcile_one(payments, purchases, due, now).await {
                    Ok(true) => summary.settled += 1,
                    Ok(false) => summary.pending += 1,
                    Err(error) => {
                        summary.errors += 1;
                        let purchase_id = due.key.purchase_id;
                        let error = function::chain(&error);
                        tracing::warn!(%purchase_id, error, "check of a purchase failed");
                        purchases
                            .postpone(&due.key, now.after(RECONCILE_DELAY))
                            .await?;
                    }
                }
            }
            last = page.items.into_iter().next_back();
            if !page.more || last.is_none() {
                break;
            }
        }
    }
    Ok(summary)
}

/// Settles or postpones one purchase. Returns true if the purchase is settled now.
async fn reconcile_one(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    due: &Purchase,
    now: Timestamp,
) -> Result<bool, Error> {
    let Status::Pending { source, .. } = &due.status else {
        return Ok(true);
    };
    let age = now.since(due.created_at);
    let payment = match payments.find_payment(&due.key).await? {
        Some(Payment::RequiresAction { intent, .. }) if age >= CHARGE_WINDOW => {
            Some(Payment::Declined {
                intent: Some(intent),
                decline: Decline::unfinished(),
            })
        }
        None if age < CHARGE_WINDOW => Some(payments.charge(due, source).await?),
        found => found,
    };
    let outcome = match payment {
        Some(payment) => match resolve(payments, payment).await? {
            Resolution::Final(outcome) => Some(outcome),
            Resolution::InProgress(_) => None,
        },
        // No call has made the payment, and no later call will make it.
        None if age >= ABANDON_AFTER => Some(Outcome::Failed {
            intent: None,
            decline: Decline::not_made(),
        }),
        None => None,
    };
    match outcome {
        Some(outcome) => {
            settle(purchases, &due.key, &outcome, now).await?;
            Ok(true)
        }
        None => {
            purchases
                .postpone(&due.key, now.after(RECONCILE_DELAY))
                .await?;
            Ok(false)
        }
    }
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
