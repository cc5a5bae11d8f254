//! Events that one service publishes and other services subscribe to.

use serde::{Deserialize, Serialize};

use crate::{Id, UserId};

/// The marker type of purchase ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PurchaseKind {}

/// The id of a purchase.
pub type PurchaseId = Id<PurchaseKind>;

/// The event that says that a purchase was paid. It is the JSON message of the SNS topic
/// `NotePurchased`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotePurchased {
    /// The id of the purchase. SNS can deliver an event more than once, and subscribers recognize a
    /// repeated event by this id.
    pub purchase_id: PurchaseId,
    /// The id of the buyer.
    pub user_id: UserId,
    /// The amount charged, in cents of a US dollar.
    pub amount: u32,
    /// A description of what was bought, for the buyer, such as `storage for 10 notes`.
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// During a deployment, one release can publish a message that another release receives.
    /// Therefore both releases must use the same JSON.
    #[test]
    fn the_json_of_a_purchase_event_does_not_change() {
        let json = r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"us-east-1:ada","amount":4000,"description":"storage for 10 notes"}"#;
        let event: NotePurchased = serde_json::from_str(json).unwrap();
        assert_eq!(event.amount, 4000);
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
    }
}
