//! The table Purchases. The partition key is the id of the buyer, and the sort key is the id of the
//! purchase. A sparse index of the table contains only the purchases that are not settled.

use std::{collections::HashMap, future::Future};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::Page;
use dynamodb::{
    Checked, Dynamodb, Item, Table, authored_item, checked, item, page_limit, read, read_page,
};
use function::StartError;

use super::Error;
use crate::{
    payment::Outcome,
    purchase::{Purchase, PurchaseId, PurchaseKey, Shard, Status, Sub, Timestamp, UserId},
};

/// Access to the purchases in the table Purchases. The unit tests use an implementation in memory.
pub trait PurchaseStore: Sync {
    /// Stores `purchase` and the `sub` of the buyer, if no purchase with the same key is stored.
    /// Returns the stored purchase: `purchase`, or the earlier purchase with this key.
    fn get_or_create(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
    ) -> impl Future<Output = Result<Purchase, Error>> + Send;

    /// Stores the outcome of a purchase's payment if the purchase is PENDING. Does not change the
    /// `sub` of the buyer. Returns the purchase as it is stored after the call, or None if it does
    /// not exist.
    fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Purchase>, Error>> + Send;

    /// Sets the time of the next check of a PENDING purchase to `due_at`. Does nothing if the
    /// purchase is settled or does not exist.
    fn postpone(
        &self,
        key: &PurchaseKey,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the purchases of `user` that are older than the purchase `before`, newest first. If
    /// `before` is None, starts with the newest purchase. Returns at most `limit` purchases. It can
    /// return fewer although the user has more.
    fn page(
        &self,
        user: &UserId,
        before: Option<PurchaseId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Purchase>, Error>> + Send;

    /// Reads the PENDING purchases of `shard` that are due at `now`, in the order of their due
    /// times, starting after the purchase `last`. Returns at most `limit` purchases. It can return
    /// fewer although more are due. A returned purchase may already be settled, because the index
    /// is eventually consistent.
    fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        last: Option<&Purchase>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Purchase>, Error>> + Send;
}

/// A client of the table Purchases and its index `unsettled`. The partition key of the index is
/// `unsettledShard` (a number), and its sort key is `dueAt` (a number). The index projects all
/// attributes.
#[derive(Debug)]
pub struct PurchasesTable(Table);

/// The name of the sparse index. The index contains only PENDING purchases.
const UNSETTLED: &str = "unsettled";

impl PurchasesTable {
    /// Creates a client of the table whose name is in the environment variable `PURCHASES_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(dynamodb.table(function::setting("PURCHASES_TABLE")?)))
    }

    /// Creates a client of `table`. The table must have the keys and the index of the table
    /// Purchases.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

fn key(user: &UserId, id: PurchaseId) -> Item {
    HashMap::from([
        ("userId".into(), text(user.as_str())),
        ("purchaseId".into(), text(id)),
    ])
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

impl PurchaseStore for PurchasesTable {
    async fn get_or_create(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
    ) -> Result<Purchase, Error> {
        let put = self
            .0
            .put()
            .set_item(Some(authored_item(purchase, sub)?))
            .condition_expression("attribute_not_exists(purchaseId)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match checked(self.0.send(put).await)? {
            Checked::Done(_) => Ok(purchase.clone()),
            Checked::ConditionFailed(Some(stored)) => Ok(read(stored)?),
            Checked::ConditionFailed(None) => Err(Error::Failed(
                "DynamoDB did not return the stored purchase".into(),
            )),
        }
    }

    async fn settle(
        &self,
        PurchaseKey {
            user_id,
            purchase_id,
        }: &PurchaseKey,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Option<Purchase>, Error> {
        let settled = Status::from(outcome.clone());
        // The attributes of the new status replace those of the status PENDING.
        let attributes = item(&settled)?;
        let sets: String = attributes
            .keys()
            .map(|name| format!(", #{name} = :{name}"))
            .collect();
        let mut update = self
            .0
            .update()
            .set_key(Some(key(user_id, *purchase_id)))
            .update_expression(format!(
                "SET updatedAt = :updatedAt{sets} REMOVE #source, unsettledShard, dueAt"
            ))
            .condition_expression("#status = :pending")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":pending", text("PENDING"))
            .expression_attribute_values(":updatedAt", number(now.as_millis()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (name, value) in attributes {
            update = update
                .expression_attribute_values(format!(":{name}"), value)
                .expression_attribute_names(format!("#{name}"), name);
        }
        let stored = match checked(self.0.send(update).await)? {
            Checked::Done(done) => done.attributes,
            Checked::ConditionFailed(stored) => stored,
        };
        Ok(stored.map(read).transpose()?)
    }

    async fn postpone(
        &self,
        PurchaseKey {
            user_id,
            purchase_id,
        }: &PurchaseKey,
        due_at: Timestamp,
    ) -> Result<(), Error> {
        let update = self
            .0
            .update()
            .set_key(Some(key(user_id, *purchase_id)))
            .update_expression("SET dueAt = :dueAt")
            .condition_expression("#status = :pending")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pending", text("PENDING"))
            .expression_attribute_values(":dueAt", number(due_at.as_millis()));
        // A purchase that was settled in the meantime needs no further check.
        checked(self.0.send(update).await)?;
        Ok(())
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<PurchaseId>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        let query = self
            .0
            .query()
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", text(user.as_str()))
            .set_exclusive_start_key(before.map(|id| key(user, id)))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(page_limit(limit));
        let found = self.0.send(query).await.map_err(dynamodb::Error::from)?;
        Ok(read_page(found, limit)?)
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        last: Option<&Purchase>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        let start = last.and_then(
            |Purchase {
                 key: last, status, ..
             }| {
                let Status::Pending { due_at, .. } = status else {
                    return None;
                };
                let mut start = key(&last.user_id, last.purchase_id);
                start.insert("unsettledShard".into(), number(shard.number()));
                start.insert("dueAt".into(), number(due_at.as_millis()));
                Some(start)
            },
        );
        let query = self
            .0
            .query()
            .index_name(UNSETTLED)
            .key_condition_expression("unsettledShard = :shard AND dueAt <= :now")
            .expression_attribute_values(":shard", number(shard.number()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .set_exclusive_start_key(start)
            .limit(page_limit(limit));
        let mut found = self.0.send(query).await.map_err(dynamodb::Error::from)?;
        let items = found.items.get_or_insert_default();
        // A malformed item must not block the others.
        items.retain(|item| match read::<Purchase>(item.clone()) {
            Ok(_) => true,
            Err(error) => {
                let error = function::chain(&error);
                let purchase_id = item.get("purchaseId");
                tracing::error!(error, ?purchase_id, "malformed purchase skipped");
                false
            }
        });
        Ok(read_page(found, limit)?)
    }
}
