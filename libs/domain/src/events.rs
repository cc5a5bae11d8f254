//! Events that one service publishes and other services subscribe to.

use serde::{Deserialize, Serialize};

use crate::{Id, UserId};

/// The marker type of purchase ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PurchaseKind {}

/// The id of a purchase.
pub type PurchaseId = Id<PurchaseKind>;

/// The event that a settled purchase has a new revision. It is the JSON message of the SNS topic
/// Purchases.
///
/// The default values are those of a message of a release that published only paid purchases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotePurchased {
    /// The id of the purchase. SNS can deliver an event more than once, and subscribers recognize a
    /// repeated event by this id.
    pub purchase_id: PurchaseId,
    /// The id of the buyer.
    pub user_id: UserId,
    /// The price, in the minor unit of the currency, such as cents.
    pub amount: u32,
    /// Stripe's code of the currency, such as `usd`: <https://docs.stripe.com/currencies>.
    #[serde(default = "usd")]
    pub currency: String,
    /// A description of what was bought, for the buyer, such as `storage for 10 notes`.
    pub description: String,
    /// The number of notes for which the buyer has storage through this purchase.
    #[serde(default)]
    pub granted: u32,
    /// The revision of the purchase that the event describes. SNS can deliver events in any order, and
    /// a higher number is a later revision.
    #[serde(default)]
    pub revision: u64,
    /// What happened to the purchase. Several messages about a purchase can contain the same notice.
    #[serde(default = "paid")]
    pub notices: Vec<Notice>,
}

/// What happened to a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Notice {
    /// The purchase was paid.
    Paid,
    /// The cardholder disputes the charge.
    Disputed {
        /// Stripe's id of the dispute.
        dispute_id: String,
        /// The disputed amount, in the minor unit of the currency.
        amount: u32,
        /// The reason that the cardholder gave, such as `fraudulent`:
        /// <https://docs.stripe.com/api/disputes/object#dispute_object-reason>.
        reason: String,
    },
    /// A charge that did not pay for the purchase was refunded.
    SurplusRefunded {
        /// Stripe's id of the PaymentIntent of the refunded charge.
        payment_intent_id: String,
        /// The refunded amount, in the minor unit of the currency.
        amount: u32,
    },
}

// part: notify {
impl Notice {
    /// The idempotency key of the notice, of the purchase `id`. Messages about several revisions of a
    /// purchase can contain the same notice, so the key depends only on the purchase and the notice.
    pub fn idempotency_key(&self, id: PurchaseId) -> String {
        match self {
            // A purchase is paid once.
            Self::Paid => id.to_string(),
            Self::Disputed { dispute_id, .. } => format!("{id} disputed {dispute_id}"),
            Self::SurplusRefunded {
                payment_intent_id, ..
            } => format!("{id} surplusRefunded {payment_intent_id}"),
        }
    }
}

// part: notify }

fn usd() -> String {
    "usd".to_owned()
}

fn paid() -> Vec<Notice> {
    vec![Notice::Paid]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// During a deployment, one release can publish a message that another release receives.
    /// Therefore both releases must use the same JSON.
    #[test]
    fn the_json_of_a_purchase_event_does_not_change() {
        let json = r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"us-east-1:ada","amount":4000,"currency":"usd","description":"storage for 10 notes","granted":10,"revision":2,"notices":[{"type":"paid"},{"type":"disputed","disputeId":"dp_1","amount":4000,"reason":"fraudulent"},{"type":"surplusRefunded","paymentIntentId":"pi_1","amount":4000}]}"#;
        let event: NotePurchased = serde_json::from_str(json).unwrap();
        assert_eq!(event.amount, 4000);
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
    }

    #[test]
    fn a_message_of_an_earlier_release_says_that_a_purchase_was_paid_in_us_dollars() {
        let json = r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"us-east-1:ada","amount":4000,"description":"storage for 10 notes"}"#;
        let event: NotePurchased = serde_json::from_str(json).unwrap();
        assert_eq!(event.currency, "usd");
        assert_eq!(event.notices, [Notice::Paid]);
    }

    #[test]
    fn a_malformed_message_is_an_error() {
        for message in [
            "",
            "hello",
            "{}",
            r#"{"purchaseId":"","userId":"u","amount":1,"description":"x"}"#,
            r#"{"purchaseId":"a","userId":"u","amount":1,"description":"x"}"#,
            r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"u","amount":-1,"description":"x"}"#,
            r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"u","amount":1}"#,
            r#"{"purchaseId":1,"userId":"u","amount":1,"description":"x"}"#,
            r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"u","amount":1,"description":"x","notices":[{"type":"other"}]}"#,
        ] {
            let read = serde_json::from_str::<NotePurchased>(message);
            assert!(read.is_err(), "{message}");
        }
    }
}
