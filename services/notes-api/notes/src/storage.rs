//! How many notes a user has and may have.

pub use domain::events::PurchaseId;

/// The numbers of notes that a user has and has bought storage for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of existing notes.
    pub used: u64,
    /// The number of notes that the user bought storage for, without refunded storage.
    pub bought: u64,
}

impl Usage {
    /// The number of notes that the user may have. `free` is the number of notes that every user may
    /// have.
    pub fn allowed(&self, free: u64) -> u64 {
        free.saturating_add(self.bought)
    }
}

/// The storage that a purchase grants to its buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The id of the purchase.
    pub purchase: PurchaseId,
    /// The number of notes that the purchase grants. A refund decreases it.
    pub granted: u32,
    /// The revision of the purchase that grants this number. A later revision has a higher number.
    pub revision: u64,
}
