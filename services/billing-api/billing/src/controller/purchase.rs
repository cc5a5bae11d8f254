use serde::{Deserialize, Serialize};

use super::{CHARGE_WINDOW, Error, RECONCILE_DELAY, Resolution, resolve, settle};
use crate::{
    payment::{Decline, Payment},
    purchase::{Author, Cents, Order, Purchase, PurchaseId, PurchaseKey, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// The result of a settled purchase, for the customer. Every repetition of a request gets the same
/// receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The id of the purchase.
    pub purchase_id: PurchaseId,
    /// The price in US cents.
    pub amount: Cents,
    /// Why the card was not charged. None if the card was charged.
    pub declined: Option<Decline>,
}

impl Receipt {
    /// Returns the receipt of a settled purchase, or None if the purchase is PENDING.
    fn from_settled(purchase: Purchase) -> Option<Self> {
        let declined = match purchase.status {
            Status::Pending { .. } => return None,
            Status::Paid { .. } => None,
            Status::Failed { decline, .. } => Some(decline),
        };
        Some(Self {
            purchase_id: purchase.key.purchase_id,
            amount: purchase.amount,
            declined,
        })
    }
}

/// Stores the order of `buyer` as a PENDING purchase, charges the card, and settles the purchase.
///
/// A call with the `id` of an earlier call continues where the earlier call stopped. It does not
/// charge a settled purchase again, and it charges a PENDING purchase with the same idempotency
/// key.
///
/// # Errors
/// Fails if the outcome of the payment is not final, or a service call fails. If the purchase is
/// still PENDING after the failure, a repetition of the call, a webhook event or reconcile settles
/// it.
#[tracing::instrument(skip_all)]
pub async fn purchase(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    buyer: Author,
    id: PurchaseId,
    order: Order,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let key = PurchaseKey {
        user_id: buyer.id,
        purchase_id: id,
    };
    let outcome_unknown = || Error::OutcomeUnknown { purchase_id: id };
    let pending = Purchase::pending(key, order, now, now.after(RECONCILE_DELAY));
    let stored = purchases.get_or_create(&pending, buyer.sub).await?;
    let Status::Pending { source, .. } = &stored.status else {
        return Receipt::from_settled(stored).ok_or_else(outcome_unknown);
    };
    if now.since(stored.created_at) >= CHARGE_WINDOW {
        return Err(outcome_unknown());
    }
    let payment = payments.charge(&stored, source).await?;
    let outcome = match resolve(payments, payment).await? {
        Resolution::Final(outcome) => outcome,
        Resolution::InProgress(Payment::RequiresAction { client_secret, .. }) => {
            return Err(Error::RequiresAction {
                purchase_id: id,
                client_secret,
            });
        }
        Resolution::InProgress(_) => return Err(outcome_unknown()),
    };
    let settled = settle(purchases, &stored.key, &outcome, now).await?;
    settled
        .and_then(Receipt::from_settled)
        .ok_or_else(outcome_unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::ABANDON_AFTER, fixtures::*, service::memory::*};

    async fn buy(
        cloud: &Memory,
        id: PurchaseId,
        source: &str,
        now: Timestamp,
    ) -> Result<Receipt, Error> {
        purchase(cloud, cloud, buyer(), id, order(source), now).await
    }

    #[tokio::test]
    async fn a_valid_card_is_charged_the_price_and_the_purchase_is_paid() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_visa", NOON).await.unwrap();
        assert_eq!(receipt.purchase_id, id);
        assert_eq!(receipt.amount.get(), 4_000);
        assert_eq!(receipt.declined, None);
        assert_eq!(cloud.charges(), [(id, 4_000)]);
        assert!(matches!(cloud.only_purchase().status, Status::Paid { .. }));
    }

    #[tokio::test]
    async fn a_purchase_stores_the_sub_of_the_buyer_if_the_buyer_has_one() {
        for buyer in [
            buyer(),
            Author {
                sub: None,
                ..buyer()
            },
        ] {
            let cloud = Memory::default();
            let (id, sub) = (PurchaseId::generate(), buyer.sub);
            let order = order("tok_visa");
            let receipt = purchase(&cloud, &cloud, buyer, id, order, NOON).await;
            assert_eq!(receipt.unwrap().declined, None);
            assert_eq!(cloud.sub_of(id), sub);
        }
    }

    #[tokio::test]
    async fn a_repetition_is_not_charged_again_and_has_the_same_receipt() {
        for source in ["tok_visa", "tok_chargeDeclined"] {
            let cloud = Memory::default();
            let id = PurchaseId::generate();
            let first = buy(&cloud, id, source, NOON).await.unwrap();
            for later in [0, 1, 3_600, 90_000] {
                let now = NOON.after(std::time::Duration::from_secs(later));
                assert_eq!(buy(&cloud, id, source, now).await.unwrap(), first);
            }
            assert_eq!(cloud.calls_of("charge"), 1);
        }
    }

    #[tokio::test]
    async fn a_declined_purchase_fails_and_its_intent_is_canceled() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_chargeDeclined", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "card_declined");
        assert!(cloud.charges().is_empty());
        assert!(matches!(
            cloud.only_purchase().status,
            Status::Failed { .. }
        ));
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn a_purchase_with_an_unknown_source_fails_without_an_intent() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_nobody", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "resource_missing");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn every_repetition_returns_the_client_secret_while_authentication_is_pending() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        for _ in 0..2 {
            let error = buy(&cloud, id, "pm_threeDSecure", NOON).await.unwrap_err();
            assert!(matches!(error, Error::RequiresAction { .. }), "{error:?}");
            assert!(matches!(
                cloud.only_purchase().status,
                Status::Pending { .. }
            ));
        }
        assert_eq!(cloud.intents(), 1);
    }

    #[tokio::test]
    async fn nothing_is_charged_after_the_charge_window() {
        let cloud = Memory::default();
        cloud.fail(Failure::Unsent, 1);
        let id = PurchaseId::generate();
        let error = buy(&cloud, id, "tok_visa", NOON).await.unwrap_err();
        assert!(matches!(error, Error::Charge(_)), "{error:?}");
        for later in [CHARGE_WINDOW, ABANDON_AFTER] {
            let late = buy(&cloud, id, "tok_visa", NOON.after(later)).await;
            assert!(matches!(late.unwrap_err(), Error::OutcomeUnknown { .. }));
        }
        assert!(cloud.charges().is_empty());
    }

    #[tokio::test]
    async fn debug_output_does_not_show_the_client_secret() {
        let cloud = Memory::default();
        let result = buy(&cloud, PurchaseId::generate(), "pm_threeDSecure", NOON).await;
        assert!(!format!("{result:?}").contains("_secret_"), "{result:?}");
    }
}
