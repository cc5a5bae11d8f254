use metrics::Subject;

use super::{
    CHARGE_WINDOW, Error, Receipt,
    payment::{Progress, advance, charge, find, retrieve},
};
use crate::{
    payment::Payment,
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// Continues the order `key`: reads its payment in Stripe, or charges the card if there is none, and
/// settles the purchase if the payment is final. Returns the receipt.
///
/// # Errors
/// Returns [`Error::NotFound`] if the purchase does not exist. Also fails if the outcome of the
/// payment is not final, or a service call fails.
#[tracing::instrument(skip_all)]
pub async fn resume(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    now: Timestamp,
) -> Result<Receipt, Error> {
    Subject::Purchase.log(key.purchase_id);
    let purchase = purchases.get(key).await?.ok_or(Error::NotFound)?;
    complete(payments, purchases, purchase, now).await
}

/// Completes `purchase` if it is PENDING. Returns the receipt.
///
/// # Errors
/// Fails if the outcome of the payment is not final, or a service call fails.
pub(super) async fn complete(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: Purchase,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let purchase_id = purchase.key.purchase_id;
    let outcome_unknown = || Error::OutcomeUnknown { purchase_id };
    let Status::Pending {
        source,
        payment_intent_id,
    } = &purchase.status
    else {
        return Receipt::from_settled(purchase).ok_or_else(outcome_unknown);
    };
    let payment = match payment_intent_id {
        Some(intent) => retrieve(payments, intent, purchase_id).await?,
        None if now.since(purchase.created_at) < CHARGE_WINDOW => {
            charge(payments, purchases, &purchase, source, now).await?
        }
        None => find(payments, purchases, &purchase, now)
            .await?
            .ok_or_else(outcome_unknown)?,
    };
    match advance(payments, purchases, &purchase, payment, now).await? {
        Progress::Settled(settled) => Receipt::from_settled(settled).ok_or_else(outcome_unknown),
        Progress::InProgress(Payment::RequiresAction { client_secret, .. }) => {
            Err(Error::RequiresAction {
                purchase_id,
                client_secret,
            })
        }
        Progress::InProgress(_) => Err(outcome_unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::ABANDON_AFTER, fixtures::*, service::memory::*};

    async fn resumed(cloud: &Memory, key: &PurchaseKey) -> Result<Receipt, Error> {
        resume(cloud, cloud, key, NOON).await
    }

    #[tokio::test]
    async fn an_order_continues_with_its_client_secret_after_the_browser_was_closed() {
        let cloud = Memory::default();
        let key = ordered(&cloud, "pm_threeDSecure").await;
        for _ in 0..2 {
            let error = resumed(&cloud, &key).await.unwrap_err();
            let Error::RequiresAction { client_secret, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(client_secret.expose(), "pi_0_secret_x");
        }
        assert_eq!(cloud.intents().len(), 1);
        cloud.authenticate();
        assert_eq!(resumed(&cloud, &key).await.unwrap().declined, None);
        assert_eq!(cloud.charges().len(), 1);
    }

    #[tokio::test]
    async fn an_order_whose_authentication_failed_is_declined() {
        let cloud = Memory::default();
        let key = ordered(&cloud, "pm_threeDSecure").await;
        cloud.fail_authentication();
        let declined = resumed(&cloud, &key).await.unwrap().declined.unwrap();
        assert_eq!(declined.code, "payment_intent_authentication_failure");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn an_order_that_never_reached_stripe_is_charged() {
        let cloud = Memory::default();
        cloud.fail("charge", Failure::Unsent, 0, 1);
        let key = ordered(&cloud, "tok_visa").await;
        assert_eq!(resumed(&cloud, &key).await.unwrap().declined, None);
        assert_eq!(cloud.charges().len(), 1);
    }

    #[tokio::test]
    async fn an_order_whose_response_was_lost_is_charged_once() {
        let cloud = Memory::default();
        cloud.fail("charge", Failure::ResponseLost, 0, 1);
        let key = ordered(&cloud, "tok_visa").await;
        assert_eq!(resumed(&cloud, &key).await.unwrap().declined, None);
        assert_eq!(cloud.charges().len(), 1);
    }

    #[tokio::test]
    async fn an_old_order_is_not_charged_but_its_payment_is_found() {
        for (failure, is_paid) in [(Failure::Unsent, false), (Failure::ResponseLost, true)] {
            let cloud = Memory::default();
            cloud.fail("charge", failure, 0, 1);
            let key = ordered(&cloud, "tok_visa").await;
            let late = NOON.after(ABANDON_AFTER);
            let receipt = resume(&cloud, &cloud, &key, late).await;
            assert_eq!(receipt.is_ok(), is_paid, "{receipt:?}");
            assert_eq!(cloud.charges().len(), usize::from(is_paid));
        }
    }

    #[tokio::test]
    async fn a_settled_order_has_the_same_receipt_as_before() {
        for source in ["tok_visa", "tok_chargeDeclined"] {
            let cloud = Memory::default();
            let key = ordered(&cloud, source).await;
            let receipt = resumed(&cloud, &key).await.unwrap();
            assert_eq!(receipt.purchase_id, key.purchase_id);
            assert_eq!(receipt.declined.is_some(), source != "tok_visa");
            assert_eq!(cloud.calls_of("charge"), 1);
        }
    }

    #[tokio::test]
    async fn the_order_of_another_user_is_not_found() {
        let cloud = Memory::default();
        let mut key = ordered(&cloud, "pm_threeDSecure").await;
        key.user_id = "us-east-1:bob".parse().unwrap();
        assert!(matches!(resumed(&cloud, &key).await, Err(Error::NotFound)));
    }
}
