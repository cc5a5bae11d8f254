//! The open order of each buyer: the table Buyers. Its partition key is the id of the buyer.

use std::future::Future;

use super::Error;
use crate::purchase::{Purchase, PurchaseId, Sub, Timestamp};

/// Opens orders. A buyer has at most one open order. The unit tests use an implementation in memory.
pub trait OrderStore: Sync {
    /// Stores the PENDING purchase `purchase` and the `sub` of the buyer, and makes it the open order
    /// of the buyer, in one transaction. Does nothing if a purchase with the same key is stored, or
    /// if the buyer has an open order other than `purchase`.
    ///
    /// With `replaced`, the open order of the buyer must be `replaced.open_order`, which is settled.
    /// `replaced.declines` then becomes the list of declines.
    fn open(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
        replaced: Option<&Buyer>,
    ) -> impl Future<Output = Result<Opened, Error>> + Send;
}

/// The result of [`OrderStore::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The purchase is stored, and is the open order of the buyer.
    Created,
    /// A purchase with the same key was stored before.
    Existing(Purchase),
    /// The buyer has another open order, which may be settled by now.
    Other(Buyer),
}

/// An item of the table Buyers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buyer {
    /// The last order of the buyer. The buyer has no other order that is PENDING.
    pub open_order: PurchaseId,
    /// The times at which cards were declined for earlier orders of the buyer, oldest first.
    pub declines: Vec<Timestamp>,
}
