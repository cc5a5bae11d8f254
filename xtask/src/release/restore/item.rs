//! What changes in an item when it is copied.

use crate::release::dynamodb::Item;

/// The attributes of a purchase that make functions act on it: billing-reconcile reads the index `unsettled`, whose keys are
/// the last two.
const ACTIVE: [&str; 3] = ["outbox", "unsettledShard", "dueAt"];

/// How the items of a table are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// The names of the attributes of the key.
    pub(super) key: Vec<String>,
    /// The attribute with the time at which an item expires, in seconds since the Unix epoch. `None` if items of the table
    /// do not expire.
    pub(super) expiry: Option<String>,
    /// Whether the items are purchases of another stage.
    pub(super) inert: bool,
}

impl Rules {
    /// Whether an item has expired at `now`, in seconds since the Unix epoch.
    pub(super) fn has_expired(&self, item: &Item, now: u64) -> bool {
        let expiry = self
            .expiry
            .as_ref()
            .and_then(|name| item.get(name)?.as_n().ok());
        let expiry = expiry.and_then(|expiry| expiry.parse::<f64>().ok());
        expiry.is_some_and(|expiry| expiry <= now as f64)
    }

    /// Returns what is written of an item.
    pub(super) fn copied(&self, mut item: Item) -> Item {
        if self.inert {
            for name in ACTIVE {
                item.remove(name);
            }
        }
        item
    }

    /// Returns the key of an item.
    pub(super) fn key_of(&self, mut item: Item) -> Item {
        item.retain(|name, _| self.key.contains(name));
        item
    }
}

#[cfg(test)]
mod tests {
    use billing::purchase::Purchase;
    use serde_json::json;

    use super::*;
    use crate::release::dynamodb::{number, text};

    fn rules() -> Rules {
        Rules {
            key: vec!["userId".into(), "purchaseId".into()],
            expiry: None,
            inert: true,
        }
    }

    #[test]
    fn a_purchase_of_another_stage_is_inert_and_can_still_be_read() {
        for status in ["PENDING", "PAID"] {
            let purchase = json!({
                "userId": "us-east-1:ada", "purchaseId": "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a", "storage": 10,
                "amount": 4000, "description": "storage for 10 notes", "createdAt": 1, "updatedAt": 2, "status": status,
                "source": "tok_visa", "paymentIntentId": "pi_1", "revision": 1, "outbox": [{"type": "paid"}],
                "unsettledShard": 2, "dueAt": 3,
            });
            let item: Item = serde_dynamo::to_item(&purchase).unwrap();
            let copied = rules().copied(item.clone());
            assert_eq!(copied.len(), item.len() - ACTIVE.len());
            let read: Purchase = serde_dynamo::from_item(copied).unwrap();
            assert!(read.outbox.is_none() && read.due_at.is_none());
            let own = Rules {
                inert: false,
                ..rules()
            };
            assert_eq!(own.copied(item.clone()), item);
        }
    }

    #[test]
    fn only_items_with_a_past_expiry_have_expired() {
        let rules = Rules {
            expiry: Some("expiresAt".into()),
            ..rules()
        };
        let item = |expiry: u64| {
            Item::from([
                ("id".into(), text("a")),
                ("expiresAt".into(), number(expiry)),
            ])
        };
        assert!(rules.has_expired(&item(100), 100));
        assert!(!rules.has_expired(&item(101), 100));
        assert!(!rules.has_expired(&Item::new(), 100));
        let without = Rules {
            expiry: None,
            ..rules
        };
        assert!(!without.has_expired(&item(1), 100));
    }

    #[test]
    fn the_key_of_an_item_has_only_the_attributes_of_the_key() {
        let item =
            Item::from(["userId", "purchaseId", "status"].map(|name| (name.into(), text("a"))));
        assert_eq!(rules().key_of(item).len(), 2);
    }
}
