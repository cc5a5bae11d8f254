//! The open order of each buyer: the table Buyers. Its partition key is the id of the buyer.

use std::future::Future;

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure,
    builders::{PutBuilder, UpdateBuilder},
};
use dynamodb::{Action as _, Check, Dynamodb, Table, Transacted, authored_item, read};
use function::StartError;
use serde::Deserialize;

use super::{
    Error,
    purchases::{SHARD, number, text},
};
use crate::purchase::{Purchase, PurchaseId, PurchaseKey, Shard, Sub, Timestamp};

/// Opens orders. A buyer has at most one open order. The unit tests use an implementation in memory.
pub trait OrderStore: Sync {
    /// Stores the PENDING purchase `purchase` and the `sub` of the buyer, and makes it the open order
    /// of the buyer, in one transaction. Does nothing if a purchase with the same key is stored, or
    /// if the buyer has an open order other than `purchase`.
    ///
    /// If `replaced` is set, the open order of the buyer must be `replaced.open_order`, which is settled.
    /// The transaction replaces it, and stores `replaced.declines`.
    fn open(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
        replaced: Option<&Buyer>,
    ) -> impl Future<Output = Result<Opened, Error>> + Send;
}

/// The result of [`OrderStore::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a request has only one such value, and moves it once"
)]
pub enum Opened {
    /// The purchase is stored, and is the open order of the buyer.
    Created,
    /// A purchase with the same key was stored before.
    Existing(Purchase),
    /// The buyer's open order is another one. It may be settled.
    Other(Buyer),
}

/// An item of the table Buyers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buyer {
    /// The last order of the buyer. The buyer has no other order that is PENDING.
    pub open_order: PurchaseId,
    /// The times at which cards were declined for earlier orders of the buyer, oldest first.
    #[serde(default)]
    pub declines: Vec<Timestamp>,
}

/// A client of the tables Purchases and Buyers.
#[derive(Debug)]
pub struct OrderTables {
    purchases: Table,
    buyers: Table,
}

impl OrderTables {
    /// Creates a client of the tables whose names are in the environment variables `PURCHASES_TABLE`
    /// and `BUYERS_TABLE`.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self {
            purchases: dynamodb.table(function::setting("PURCHASES_TABLE")?),
            buyers: dynamodb.table(function::setting("BUYERS_TABLE")?),
        })
    }

    /// Creates a client of the tables `purchases` and `buyers`. They must have the keys of the
    /// tables Purchases and Buyers.
    pub fn new(purchases: Table, buyers: Table) -> Self {
        Self { purchases, buyers }
    }

    fn put(&self, purchase: &Purchase, sub: Option<Sub>) -> Result<PutBuilder, dynamodb::Error> {
        let mut item = authored_item(purchase, sub)?;
        let shard = Shard::of(purchase.key.purchase_id);
        item.insert(SHARD.into(), number(shard.number()));
        let put = self.purchases.put_action();
        Ok(put
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(purchaseId)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
    }

    fn update(
        &self,
        key: &PurchaseKey,
        replaced: Option<&Buyer>,
    ) -> Result<UpdateBuilder, dynamodb::Error> {
        let update = self
            .buyers
            .update_action()
            .key("userId", text(key.user_id.as_str()))
            .expression_attribute_values(":order", text(key.purchase_id))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Some(replaced) = replaced else {
            return Ok(update
                .update_expression("SET openOrder = :order")
                .condition_expression("attribute_not_exists(openOrder) OR openOrder = :order"));
        };
        let declines = replaced.declines.iter();
        let declines = declines.map(|time| number(time.as_millis())).collect();
        Ok(update
            .update_expression("SET openOrder = :order, declines = :declines")
            .condition_expression("openOrder = :replaced")
            .expression_attribute_values(":replaced", text(replaced.open_order))
            .expression_attribute_values(":declines", AttributeValue::L(declines)))
    }
}

impl OrderStore for OrderTables {
    async fn open(
        &self,
        purchase: &Purchase,
        sub: Option<Sub>,
        replaced: Option<&Buyer>,
    ) -> Result<Opened, Error> {
        let actions = || {
            Ok([
                self.put(purchase, sub)?.action()?,
                self.update(&purchase.key, replaced)?.action()?,
            ])
        };
        let unreturned = || Error::Failed("DynamoDB did not return the stored item".into());
        match self.purchases.transact(actions).await? {
            Transacted::Done => Ok(Opened::Created),
            Transacted::Canceled([Check::ConditionFailed(stored), _]) => {
                let stored = stored.ok_or_else(unreturned)?;
                Ok(Opened::Existing(read(stored)?))
            }
            Transacted::Canceled([Check::Passed, Check::ConditionFailed(buyer)]) => {
                let buyer = buyer.ok_or_else(unreturned)?;
                Ok(Opened::Other(read(buyer)?))
            }
            Transacted::Canceled([Check::Passed, Check::Passed]) => Err(Error::Failed(
                "DynamoDB canceled a transaction whose conditions are true".into(),
            )),
        }
    }
}
