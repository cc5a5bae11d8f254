//! What all migrations share.

use anyhow::{Context, Result};

use crate::release::{
    dynamodb::{Dynamodb, Item},
    pace::Pace,
};

/// What a migration needs to read and write data.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    pub(super) dynamodb: Dynamodb<'a>,
    pub(super) pace: &'a Pace,
    /// The name of the table that the migration reads.
    pub(super) scanned: String,
    /// The name of the table Storage.
    pub(super) storage: String,
}

/// The number of minutes for which an item must be unchanged before a migration changes it, if functions may still process
/// the item.
pub(super) const UNCHANGED_MINUTES: u64 = 5;

/// What a migration did with items that need it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changed {
    /// How many it has changed. Other writes may have changed or deleted some of the rest.
    pub(super) done: u64,
    /// How many it may not change yet.
    pub(super) early: u64,
}

impl Changed {
    /// Adds the counts of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            early: self.early + other.early,
        }
    }
}

/// Returns a string attribute of an item.
///
/// # Errors
/// Fails if the attribute is missing or is not a string.
pub(super) fn string<'a>(item: &'a Item, name: &str) -> Result<&'a str> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    let value = value.map(String::as_str);
    value.with_context(|| format!("an item has no string attribute {name}"))
}
