use serde::{Deserialize, Serialize};

use crate::{
    payment::Decline,
    purchase::{Cents, Purchase, PurchaseId},
};

/// The result of a settled purchase, for the customer. Every repetition of a request gets the same
/// receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The id of the purchase.
    pub purchase_id: PurchaseId,
    /// The price, in the minor unit of the currency.
    pub amount: Cents,
    /// Why the card was not charged, without the codes that the customer must not learn. None if the
    /// card was charged.
    pub declined: Option<Decline>,
}

impl Receipt {
    /// Returns the receipt of a settled purchase, or None if the purchase is PENDING.
    pub(super) fn from_settled(purchase: Purchase) -> Option<Self> {
        if purchase.is_pending() {
            return None;
        }
        Some(Self {
            purchase_id: purchase.key.purchase_id,
            amount: purchase.amount,
            declined: purchase.decline().map(std::borrow::Cow::into_owned),
        })
    }
}
