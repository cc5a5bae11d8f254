use metrics::{SURPLUS_CHARGES, Subject};

use super::{
    Error,
    measure::{count_revision, settle_and_count},
};
use crate::{
    payment::{IntentId, Outcome, Payment},
    purchase::{Purchase, PurchaseKey, Surplus, Timestamp},
    service::{self, Payments, PurchaseStore, SettleIf, Settled},
};

/// Stores the outcome of a final payment: changes the status of the purchase from PENDING to PAID or
/// FAILED. Does not change a purchase that is already settled, and does not store FAILED if the purchase
/// has another PaymentIntent. If `outcome` is a charge other than the one that paid for a settled
/// purchase, refunds and records this surplus charge. Returns the stored purchase after the call, or
/// None if it does not exist.
///
/// Every function that learns the outcome of a payment calls `settle`. The calls may be repeated,
/// and may come in any order.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub(super) async fn settle(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Option<Purchase>, Error> {
    Subject::Purchase.log(key.purchase_id);
    let settled = settle_and_count(purchases, key, outcome, SettleIf::Pending, now);
    match (settled.await?, outcome) {
        (Settled::Done(purchase), _) => Ok(Some(purchase)),
        (Settled::Unchanged(purchase), Outcome::Paid { intent }) => {
            if is_known(&purchase, intent) {
                return Ok(Some(purchase));
            }
            let details = payments.retrieve(intent).await?;
            let is_charged = details.is_some_and(|details| {
                details.is_for(&purchase) && matches!(details.payment, Payment::Succeeded { .. })
            });
            if !is_charged {
                return Ok(Some(purchase));
            }
            refund_surplus(payments, purchases, purchase, intent, now).await
        }
        (Settled::Unchanged(purchase), Outcome::Failed { .. }) => Ok(Some(purchase)),
        (Settled::Missing, _) => {
            let purchase_id = key.purchase_id;
            tracing::error!(%purchase_id, "payment for a missing purchase");
            Ok(None)
        }
    }
}

/// Whether `intent` paid for `purchase`, or is one of its refunded surplus charges.
pub(super) fn is_known(purchase: &Purchase, intent: &IntentId) -> bool {
    let mut surplus = purchase.surplus.iter();
    purchase.paid_by() == Some(intent)
        || surplus.any(|surplus| surplus.payment_intent_id == *intent)
}

/// Refunds the charge of `intent`, which has succeeded although `purchase` was settled without it,
/// and then records the refund. Returns the purchase after the call, or None if it does not exist.
///
/// # Errors
/// Fails if a service call fails. A repetition refunds and records the charge only once.
pub(super) async fn refund_surplus(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: Purchase,
    intent: &IntentId,
    now: Timestamp,
) -> Result<Option<Purchase>, Error> {
    let purchase_id = purchase.key.purchase_id;
    SURPLUS_CHARGES.add(1);
    let amount = payments.refund(intent).await?.amount;
    tracing::error!(%purchase_id, intent = intent.as_str(), amount, "surplus charge refunded");
    let surplus = Surplus {
        payment_intent_id: intent.clone(),
        amount,
        refunded_at: now,
    };
    let change = |purchase: &Purchase| purchase.with_surplus(surplus.clone());
    revise(purchases, purchase, change).await
}

/// The maximum number of attempts to store a change. An attempt fails if another function changes the
/// purchase at the same time.
const ATTEMPTS: usize = 5;

/// Applies `change` to a settled purchase. If the stored purchase has changed in the meantime,
/// applies `change` to the stored one. Returns the purchase after the call, or None if it does not
/// exist.
///
/// # Errors
/// Fails if a service call fails, or another function changes the stored purchase during every
/// attempt.
pub(super) async fn revise(
    purchases: &impl PurchaseStore,
    mut purchase: Purchase,
    change: impl Fn(&Purchase) -> Option<Purchase>,
) -> Result<Option<Purchase>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(changed) = change(&purchase) else {
            return Ok(Some(purchase));
        };
        if purchases.revise(&changed, purchase.revision).await? {
            count_revision(&purchase, &changed);
            return Ok(Some(changed));
        }
        match purchases.get(&purchase.key).await? {
            Some(stored) => purchase = stored,
            None => return Ok(None),
        }
    }
    let error = "the purchase was changed by others in each attempt";
    Err(Error::Service(service::Error::Unavailable(error.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::*, purchase::Notice, service::memory::*};

    async fn settle_with(cloud: &Memory, key: &PurchaseKey, outcome: &Outcome) -> Option<Purchase> {
        settle(cloud, cloud, key, outcome, NOON).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_settlement_is_final() {
        for (first, later) in [(paid(), failed()), (failed(), paid())] {
            let cloud = Memory::default();
            let pending = with_pending(&cloud, "tok_visa").await;
            let settled = settle_with(&cloud, &pending.key, &first).await;
            assert!(!settled.as_ref().unwrap().is_pending());
            for outcome in [later, paid(), failed()] {
                let again = settle_with(&cloud, &pending.key, &outcome).await;
                assert_eq!(again, settled);
            }
        }
    }

    #[tokio::test]
    async fn settling_a_missing_purchase_does_not_create_it() {
        let cloud = Memory::default();
        assert_eq!(settle_with(&cloud, &key(), &paid()).await, None);
        assert!(cloud.purchases().is_empty());
    }

    #[tokio::test]
    async fn a_charge_of_a_failed_purchase_is_refunded_once() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        settle_with(&cloud, &pending.key, &failed()).await;
        let charged = cloud.charge_again(&pending).unwrap();
        let outcome = Outcome::Paid {
            intent: charged.clone(),
        };
        for _ in 0..3 {
            let settled = settle_with(&cloud, &pending.key, &outcome).await.unwrap();
            assert_eq!(settled.status.name(), "FAILED");
            assert_eq!(settled.surplus_refunded(), 4_000);
            assert_eq!(settled.granted(), 0);
            let decline = settled.decline().unwrap();
            assert!(!decline.message.contains("was not charged"), "{decline:?}");
            assert!(decline.message.contains("refunded"), "{decline:?}");
        }
        assert_eq!(cloud.refunded(&charged), 4_000);
        assert_eq!(cloud.calls_of("refund"), 1);
        let notice = Notice::SurplusRefunded {
            payment_intent_id: charged.as_str().to_owned(),
            amount: 4_000,
        };
        assert_eq!(only(&cloud).outbox, Some(vec![notice]));
    }

    #[tokio::test]
    async fn a_second_charge_of_a_paid_purchase_is_refunded_and_the_first_is_kept() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        let [first, second] = [(); 2].map(|()| cloud.charge_again(&pending).unwrap());
        for intent in [&first, &second, &first, &second] {
            let outcome = Outcome::Paid {
                intent: intent.clone(),
            };
            settle_with(&cloud, &pending.key, &outcome).await;
        }
        assert_eq!(cloud.refunded(&first), 0);
        assert_eq!(cloud.refunded(&second), 4_000);
        let purchase = only(&cloud);
        assert_eq!(purchase.paid_by(), Some(&first));
        assert_eq!(purchase.granted(), 10);
        assert_eq!(purchase.revision, 2);
    }

    #[tokio::test]
    async fn a_surplus_charge_is_recorded_once_if_recording_fails_at_first() {
        for failure in [Failure::Unsent, Failure::ResponseLost] {
            let cloud = Memory::default();
            let pending = with_pending(&cloud, "tok_visa").await;
            settle_with(&cloud, &pending.key, &failed()).await;
            let intent = cloud.charge_again(&pending).unwrap();
            let outcome = Outcome::Paid { intent };
            cloud.fail("revise", failure, 0, 1);
            let lost = settle(&cloud, &cloud, &pending.key, &outcome, NOON).await;
            assert!(lost.is_err());
            let settled = settle_with(&cloud, &pending.key, &outcome).await.unwrap();
            assert_eq!(settled.surplus.len(), 1);
            assert_eq!(settled.revision, 1);
        }
    }

    #[tokio::test]
    async fn a_payment_that_is_not_one_of_the_purchase_is_not_refunded() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        settle_with(&cloud, &pending.key, &failed()).await;
        let foreign = cloud.charge_again(&pending).unwrap();
        cloud.remove_metadata(&foreign);
        for intent in [foreign, intent(99)] {
            let outcome = Outcome::Paid { intent };
            let settled = settle_with(&cloud, &pending.key, &outcome).await.unwrap();
            assert!(settled.surplus.is_empty());
        }
        assert_eq!(cloud.calls_of("refund"), 0);
    }

    #[tokio::test]
    async fn a_change_is_applied_to_the_purchase_that_another_call_has_changed() {
        let cloud = Memory::default();
        let purchase = settled(pending("tok_visa"));
        cloud.store(Purchase {
            revision: 7,
            ..purchase.clone()
        });
        let change = |purchase: &Purchase| {
            purchase.with_surplus(Surplus {
                payment_intent_id: intent(2),
                amount: 1,
                refunded_at: NOON,
            })
        };
        let revised = revise(&cloud, purchase, change).await.unwrap();
        assert_eq!(revised.unwrap().revision, 8);
        assert_eq!(only(&cloud).revision, 8);
    }
}
