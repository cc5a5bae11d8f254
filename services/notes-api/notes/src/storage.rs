//! How many notes a user has and may have.

use serde::Deserialize;

/// The numbers of notes that a user has and may have in addition to those that every user may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The number of existing notes.
    pub used: u64,
    // part: billing {
    /// The number of notes that the user bought storage for, without refunded storage.
    pub bought: u64,
    // part: billing }
}

impl Usage {
    /// The number of notes that the user may have. `free` is the number of notes that every user may
    /// have.
    pub fn allowed(&self, free: u64) -> u64 {
        free // every user may have this many
            .saturating_add(self.bought) // part: billing
    }
}
