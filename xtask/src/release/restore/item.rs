//! What changes in an item when it is copied.

use super::options::Table;
use crate::release::dynamodb::Item;

/// The attributes of items that make functions act on them.
const ACTIVE: &[(Table, &[&str])] = &[
    // part: billing {
    // billing-reconcile reads the index `unsettled`, whose keys are the last two.
    (Table::Purchases, &["outbox", "unsettledShard", "dueAt"]),
    // part: billing }
];

/// Returns the attributes of the items of `table` that make functions act on them.
pub(super) fn active(table: Table) -> &'static [&'static str] {
    let active = ACTIVE.iter().find(|(known, _)| *known == table);
    active.map_or(&[], |(_, attributes)| attributes)
}

/// How the items of a table are copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    /// The names of the attributes of the key.
    pub(super) key: Vec<String>,
    /// The attribute with the time at which an item expires, in seconds since the Unix epoch. `None` if items of the table
    /// do not expire.
    pub(super) expiry: Option<String>,
    /// The attributes that are not copied.
    pub(super) omitted: &'static [&'static str],
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
        for name in self.omitted {
            item.remove(*name);
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
    use super::*;
    use crate::release::dynamodb::{number, text};

    mod purchases; // part: billing

    fn rules() -> Rules {
        Rules {
            key: vec!["userId".into(), "noteId".into()],
            expiry: None,
            omitted: &["dueAt"],
        }
    }

    #[test]
    fn omitted_attributes_are_not_copied() {
        let item = Item::from(["noteId", "dueAt"].map(|name| (name.into(), text("a"))));
        let copied = rules().copied(item);
        assert_eq!(copied.into_keys().collect::<Vec<_>>(), ["noteId"]);
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
        let item = Item::from(["userId", "noteId", "status"].map(|name| (name.into(), text("a"))));
        assert_eq!(rules().key_of(item).len(), 2);
    }
}
