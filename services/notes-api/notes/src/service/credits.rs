//! The credits of purchases in the table Storage. The sort key of a credit is the id of its purchase. One
//! transaction changes a credit and the total, so that the total is exact even if calls fail or are
//! repeated.

use std::future::Future;

use dynamodb::{Action, Transacted};
use serde::Deserialize;

use super::{
    Error, StorageTable,
    storage::{TOTAL, entry_key, number},
};
use crate::{
    credit::{Credit, PurchaseId},
    note::UserId,
};

/// Access to the credits in the table Storage. The unit tests use an implementation in memory.
pub trait Credits: Sync {
    /// Reads the credit of a purchase of `user`. Returns None if none is stored.
    fn credit(
        &self,
        user: &UserId,
        purchase: PurchaseId,
    ) -> impl Future<Output = Result<Option<Credit>, Error>> + Send;

    /// Replaces the credit `before` of a purchase of `user` with `credit`, and adds the difference to
    /// the total. Returns false, and changes nothing, if the stored credit is not `before`.
    fn replace_credit(
        &self,
        user: &UserId,
        before: Option<&Credit>,
        credit: &Credit,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// The item with the credit of a purchase.
#[derive(Deserialize)]
struct CreditItem {
    granted: u32,
    revision: u64,
}

impl Credits for StorageTable {
    async fn credit(&self, user: &UserId, purchase: PurchaseId) -> Result<Option<Credit>, Error> {
        let stored = self.get(entry_key(user, purchase.to_string())).await?;
        Ok(stored.map(|CreditItem { granted, revision }| Credit {
            purchase,
            granted,
            revision,
        }))
    }

    async fn replace_credit(
        &self,
        user: &UserId,
        before: Option<&Credit>,
        credit: &Credit,
    ) -> Result<bool, Error> {
        let more = i64::from(credit.granted) - before.map_or(0, |before| before.granted.into());
        let actions = || {
            let put = self
                .0
                .put_action()
                .set_item(Some(entry_key(user, credit.purchase.to_string())))
                .item("granted", number(credit.granted))
                .item("revision", number(credit.revision));
            let put = match before {
                None => put.condition_expression("attribute_not_exists(entry)"),
                Some(before) => put
                    .condition_expression("revision = :before")
                    .expression_attribute_values(":before", number(before.revision)),
            };
            let total = self
                .0
                .update_action()
                .set_key(Some(entry_key(user, TOTAL)))
                .update_expression("ADD bought :more, balance :less")
                .expression_attribute_values(":more", number(more))
                .expression_attribute_values(":less", number(-more));
            Ok([put.action()?, total.action()?])
        };
        Ok(self.0.transact(actions).await? == Transacted::Done)
    }
}
