use metrics::Subject;

use super::{Error, payment::find, settle::settle};
use crate::{
    payment::{Decline, Outcome, Payment},
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{self, Payments, PurchaseStore},
};

/// The maximum number of attempts to cancel the payment of an order. An attempt fails if a concurrent
/// request charges the card and stores another payment.
const ATTEMPTS: usize = 3;

/// Cancels the payment of the order `key`, and settles the purchase as FAILED. Returns the purchase.
///
/// If a request that charges the card is in progress and Stripe does not list its payment yet, the
/// card may be charged after the cancellation. `settle` then refunds the charge.
///
/// # Errors
/// Returns [`Error::NotFound`] if the purchase does not exist, [`Error::AlreadyPaid`] if the card was
/// charged, and [`Error::Processing`] if the bank is processing the payment. Also fails if a service
/// call fails.
#[tracing::instrument(skip_all)]
pub async fn cancel(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    now: Timestamp,
) -> Result<Purchase, Error> {
    let purchase_id = key.purchase_id;
    Subject::Purchase.log(purchase_id);
    for _ in 0..ATTEMPTS {
        let purchase = purchases.get(key).await?.ok_or(Error::NotFound)?;
        let Status::Pending {
            payment_intent_id, ..
        } = &purchase.status
        else {
            return unpaid(purchase);
        };
        let intent = match payment_intent_id {
            Some(intent) => Some(intent.clone()),
            None => {
                let found = find(payments, purchases, &purchase, now).await?;
                found.and_then(|payment| payment.intent().cloned())
            }
        };
        let payment = match &intent {
            Some(intent) => Some(payments.cancel(intent).await?),
            None => None,
        };
        let outcome = match payment {
            Some(Payment::Succeeded { intent }) => Outcome::Paid { intent },
            Some(Payment::Canceled { decline, .. }) => Outcome::Failed {
                intent,
                decline: decline.unwrap_or_else(Decline::canceled),
            },
            None => Outcome::Failed {
                intent,
                decline: Decline::canceled(),
            },
            Some(_) => return Err(Error::Processing { purchase_id }),
        };
        let settled = settle(payments, purchases, key, &outcome, now).await?;
        let settled = settled.ok_or(Error::NotFound)?;
        if !settled.is_pending() {
            return unpaid(settled);
        }
    }
    let error = "the payment of the order has changed in each attempt";
    Err(Error::Service(service::Error::Unavailable(error.into())))
}

/// Returns `purchase`, which is settled, or [`Error::AlreadyPaid`] if the card was charged for it.
fn unpaid(purchase: Purchase) -> Result<Purchase, Error> {
    match purchase.paid_by() {
        Some(_) => Err(Error::AlreadyPaid {
            purchase_id: purchase.key.purchase_id,
        }),
        None => Ok(purchase),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::{purchase, reconcile},
        fixtures::*,
        service::memory::*,
    };

    async fn canceled(cloud: &Memory, key: &PurchaseKey) -> Result<Purchase, Error> {
        cancel(cloud, cloud, key, NOON).await
    }

    #[tokio::test]
    async fn a_canceled_order_is_never_charged() {
        let cloud = Memory::default();
        cloud.fail("charge", Failure::Unsent, 0, 1);
        let key = ordered(&cloud, "tok_visa").await;
        for _ in 0..2 {
            let purchase = canceled(&cloud, &key).await.unwrap();
            assert_eq!(purchase.decline().unwrap().code, "payment_canceled");
        }
        let late = NOON.after(std::time::Duration::from_secs(3_600));
        let deadline = late.after(std::time::Duration::from_secs(240));
        reconcile(&cloud, &cloud, &cloud, &|| late, deadline).await;
        let (id, order) = (key.purchase_id, order("tok_visa"));
        let repeated = purchase(&cloud, &cloud, &cloud, buyer(), id, order, NOON).await;
        assert_eq!(repeated.unwrap().declined.unwrap().code, "payment_canceled");
        assert!(cloud.charges().is_empty());
    }

    #[tokio::test]
    async fn an_order_that_waits_for_authentication_can_be_canceled() {
        let cloud = Memory::default();
        let key = ordered(&cloud, "pm_threeDSecure").await;
        let purchase = canceled(&cloud, &key).await.unwrap();
        assert_eq!(purchase.status.name(), "FAILED");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn an_order_whose_card_was_charged_cannot_be_canceled() {
        for failure in [None, Some(Failure::ResponseLost)] {
            let cloud = Memory::default();
            if let Some(failure) = failure {
                cloud.fail("charge", failure, 0, 1);
            }
            let key = ordered(&cloud, "tok_visa").await;
            let error = canceled(&cloud, &key).await.unwrap_err();
            assert!(matches!(error, Error::AlreadyPaid { .. }), "{error:?}");
            assert_eq!(only(&cloud).status.name(), "PAID");
        }
    }

    #[tokio::test]
    async fn an_order_that_the_bank_is_processing_cannot_be_canceled() {
        let cloud = Memory::default();
        let key = ordered(&cloud, "pm_slow").await;
        let error = canceled(&cloud, &key).await.unwrap_err();
        assert!(matches!(error, Error::Processing { .. }), "{error:?}");
        assert!(only(&cloud).is_pending());
    }

    #[tokio::test]
    async fn a_charge_that_succeeds_after_the_cancellation_is_refunded() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        canceled(&cloud, &pending.key).await.unwrap();
        let intent = cloud.charge_again(&pending).unwrap();
        let outcome = Outcome::Paid {
            intent: intent.clone(),
        };
        settle(&cloud, &cloud, &pending.key, &outcome, NOON)
            .await
            .unwrap();
        assert_eq!(cloud.refunded(&intent), 4_000);
    }

    #[tokio::test]
    async fn the_order_of_another_user_is_not_found() {
        let cloud = Memory::default();
        let mut key = ordered(&cloud, "pm_threeDSecure").await;
        key.user_id = "us-east-1:bob".parse().unwrap();
        assert!(matches!(canceled(&cloud, &key).await, Err(Error::NotFound)));
        assert!(only(&cloud).is_pending());
    }
}
