//! The credits of purchases in memory.

use std::collections::HashMap;

use super::Memory;
use crate::{
    credit::{Credit, PurchaseId},
    note::UserId,
    service::{Credits, Error},
};

/// The credits by user and purchase.
pub(super) type Stored = HashMap<(String, PurchaseId), Credit>;

impl Credits for Memory {
    async fn credit(&self, user: &UserId, purchase: PurchaseId) -> Result<Option<Credit>, Error> {
        let key = (user.as_str().to_owned(), purchase);
        Ok(self.call()?.credits.get(&key).copied())
    }

    async fn replace_credit(
        &self,
        user: &UserId,
        before: Option<&Credit>,
        credit: &Credit,
    ) -> Result<bool, Error> {
        let mut state = self.write()?;
        let key = (user.as_str().to_owned(), credit.purchase);
        if state.credits.get(&key) != before {
            return Ok(false);
        }
        state.credits.insert(key, *credit);
        let total = state.totals.entry(user.as_str().into()).or_default();
        total.bought += u64::from(credit.granted);
        total.bought -= before.map_or(0, |before| before.granted.into());
        Ok(true)
    }
}
