use serde::{Deserialize, Serialize};

use super::{Error, LOOK_AFTER, OPEN_FOR, end_of, settle};
use crate::{
    payment::{Decline, Payment},
    purchase::{Cents, Order, Purchase, PurchaseId, PurchaseKey, Status, Timestamp, UserId},
    service::{Payments, PurchaseStore},
};

/// What became of an order. It is the same however often it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// What it costs.
    pub amount: Cents,
    /// Why the card was not charged. None when it was.
    pub declined: Option<Decline>,
}

impl Receipt {
    /// Of a purchase, once it is settled.
    fn of(purchase: Purchase) -> Option<Self> {
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

/// Writes down what `user` orders, charges the card, and settles the purchase.
///
/// Called again with the same `id`, it goes on where the last call ended: what is settled is not
/// charged again, and what is not is sent again as the same charge.
///
/// # Errors
/// [`Error::RequiresAction`], [`Error::Undecided`] and [`Error::Charge`] leave the purchase PENDING:
/// a later call, an event or reconcile settles it.
#[tracing::instrument(skip_all)]
pub async fn purchase(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    user: UserId,
    id: PurchaseId,
    order: Order,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let key = PurchaseKey {
        user_id: user,
        purchase_id: id,
    };
    let undecided = || Error::Undecided { purchase_id: id };
    let ordered = Purchase::ordered(key, order, now, now.after(LOOK_AFTER));
    let there = purchases.open(&ordered).await?;
    let Status::Pending { source, .. } = &there.status else {
        return Receipt::of(there).ok_or_else(undecided);
    };
    if now.since(there.created_at) >= OPEN_FOR {
        return Err(undecided());
    }
    let payment = payments.charge(&there, source).await?;
    let end = match end_of(payments, payment).await? {
        Ok(end) => end,
        Err(Payment::RequiresAction { client_secret, .. }) => {
            return Err(Error::RequiresAction {
                purchase_id: id,
                client_secret,
            });
        }
        Err(_) => return Err(undecided()),
    };
    let settled = settle(purchases, &there.key, &end, now).await?;
    settled.and_then(Receipt::of).ok_or_else(undecided)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::LOST_AFTER, service::memory::*};

    async fn buy(
        cloud: &Memory,
        id: PurchaseId,
        source: &str,
        now: Timestamp,
    ) -> Result<Receipt, Error> {
        purchase(cloud, cloud, ada(), id, order(source), now).await
    }

    #[tokio::test]
    async fn a_good_card_is_charged_its_price_and_the_purchase_is_paid() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_visa", NOON).await.unwrap();
        assert_eq!(receipt.purchase_id, id);
        assert_eq!(receipt.amount.get(), 4_000);
        assert_eq!(receipt.declined, None);
        assert_eq!(cloud.charges(), [(id, 4_000)]);
        assert!(matches!(cloud.only().status, Status::Paid { .. }));
    }

    #[tokio::test]
    async fn asked_for_again_the_same_purchase_is_not_charged_again_and_has_the_same_receipt() {
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
    async fn a_declined_purchase_has_failed_and_its_payment_is_cancelled() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_chargeDeclined", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "card_declined");
        assert!(cloud.charges().is_empty());
        assert!(matches!(cloud.only().status, Status::Failed { .. }));
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn a_source_that_stripe_never_takes_has_failed_and_no_payment_is_left() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_nobody", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "resource_missing");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn a_card_that_needs_its_owner_gives_what_the_browser_acts_with_also_when_asked_again() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        for _ in 0..2 {
            let waits = buy(&cloud, id, "pm_threeDSecure", NOON).await.unwrap_err();
            assert!(matches!(waits, Error::RequiresAction { .. }), "{waits:?}");
            assert!(matches!(cloud.only().status, Status::Pending { .. }));
        }
        assert_eq!(cloud.intents(), 1);
    }

    #[tokio::test]
    async fn nothing_is_charged_for_an_order_that_is_no_longer_open() {
        let cloud = Memory::default();
        cloud.fail(Failure::Unsent, 1);
        let id = PurchaseId::generate();
        let lost = buy(&cloud, id, "tok_visa", NOON).await.unwrap_err();
        assert!(matches!(lost, Error::Charge(_)), "{lost:?}");
        for later in [OPEN_FOR, LOST_AFTER] {
            let late = buy(&cloud, id, "tok_visa", NOON.after(later)).await;
            assert!(matches!(late.unwrap_err(), Error::Undecided { .. }));
        }
        assert!(cloud.charges().is_empty());
    }

    #[tokio::test]
    async fn no_log_shows_what_the_browser_acts_with() {
        let cloud = Memory::default();
        let waits = buy(&cloud, PurchaseId::generate(), "pm_threeDSecure", NOON).await;
        assert!(!format!("{waits:?}").contains("_secret_"), "{waits:?}");
    }
}
