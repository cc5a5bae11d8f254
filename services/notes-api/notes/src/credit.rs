//! The storage that purchases grant.

pub use domain::events::PurchaseId;

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
