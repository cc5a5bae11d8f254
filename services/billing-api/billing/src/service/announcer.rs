//! The topic NotePurchased.

use std::future::Future;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::purchase::{Cents, Purchase, PurchaseId, UserId};

/// Tells whoever listens.
pub trait Announcer: Sync {
    /// Tells of a purchase. Told twice, it is heard twice: listeners know it by its id.
    fn announce(&self, news: &NotePurchased) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A purchase that is paid, as the topic has it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotePurchased {
    /// Which purchase.
    pub purchase_id: PurchaseId,
    /// Whose.
    pub user_id: UserId,
    /// What was charged.
    pub amount: Cents,
    /// For what.
    pub description: String,
}

impl From<&Purchase> for NotePurchased {
    fn from(purchase: &Purchase) -> Self {
        Self {
            purchase_id: purchase.key.purchase_id,
            user_id: purchase.key.user_id.clone(),
            amount: purchase.amount,
            description: purchase.description.clone(),
        }
    }
}
