//! The table Purchases. The partition key is the id of the buyer, and the sort key is the id of the
//! purchase. A sparse index of the table contains only the purchases for which work is due.

use std::{collections::HashMap, future::Future};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::Page;
use dynamodb::{Checked, Dynamodb, Item, Table, checked, item, page_limit, read};
use function::StartError;

use super::Error;
use crate::{
    payment::{IntentId, Outcome},
    purchase::{
        Currency, Notice, Purchase, PurchaseId, PurchaseKey, RECONCILE_DELAY, Shard, Timestamp,
        UserId,
    },
};

/// Access to the purchases in the table Purchases. The unit tests use an implementation in memory.
pub trait PurchaseStore: Sync {
    /// Reads a purchase, strongly consistent. Returns None if it does not exist.
    fn get(
        &self,
        key: &PurchaseKey,
    ) -> impl Future<Output = Result<Option<Purchase>, Error>> + Send;

    /// Stores the outcome of a purchase's payment if the purchase is PENDING and meets `condition`. Does
    /// not store FAILED if the purchase has a PaymentIntent other than that of the outcome, because that
    /// one may still charge the card. With PAID, stores the revision 1 and an outbox with the notice of
    /// the payment. Does not change the `sub` of the buyer.
    fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        condition: SettleIf,
        now: Timestamp,
    ) -> impl Future<Output = Result<Settled, Error>> + Send;

    /// Stores the settled purchase `changed` if the revision of the stored purchase is `revision`.
    /// Writes the attributes that change after the purchase was settled. Returns whether the
    /// purchase was stored.
    fn revise(
        &self,
        changed: &Purchase,
        revision: u64,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Removes the outbox of a settled purchase after its revision `revision` was announced, so that no
    /// work is due. Does nothing if the stored purchase has another revision.
    fn announced(
        &self,
        key: &PurchaseKey,
        revision: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sets the time from which reconcile handles a purchase to `due_at`, if work is still due for
    /// it. If `intent` is set, the purchase must be PENDING, and `intent` becomes its PaymentIntent.
    /// Returns whether the purchase was changed.
    fn postpone(
        &self,
        key: &PurchaseKey,
        due_at: Timestamp,
        intent: Option<&IntentId>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Sets the time from which reconcile handles the item `key` to `due_at`, although the item may
    /// not be a valid purchase.
    fn set_aside(
        &self,
        key: &DueKey,
        due_at: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the purchases of `user` that are older than the purchase `before`, newest first. If
    /// `before` is None, starts with the newest purchase. Returns at most `limit` purchases. Skips
    /// and logs an item that is not a valid purchase.
    fn page(
        &self,
        user: &UserId,
        before: Option<PurchaseId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Purchase>, Error>> + Send;

    /// Reads the purchases of `shard` for which work is due at `now`, in the order of their due
    /// times, starting after the item `after`. Returns at most `limit` purchases. It can return
    /// fewer although more are due. A returned purchase may be outdated, because the index is
    /// eventually consistent.
    fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        after: Option<&DueKey>,
        limit: usize,
    ) -> impl Future<Output = Result<DuePage, Error>> + Send;
}

/// The condition under which [`PurchaseStore::settle`] settles a PENDING purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleIf {
    /// None: the outcome is that of a payment which Stripe reports for this purchase.
    Pending,
    /// The stored PaymentIntent is that of the outcome, and the amount and the currency match.
    Matches {
        /// The amount that was received, in the minor unit of the currency.
        amount: u32,
        /// The currency.
        currency: Currency,
    },
}

/// The result of [`PurchaseStore::settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The outcome is stored. Contains the purchase after the call.
    Done(Purchase),
    /// The purchase was already settled, or does not meet the condition. Contains the purchase as it
    /// is stored.
    Unchanged(Purchase),
    /// The purchase does not exist.
    Missing,
}

/// A page of the items of a shard for which work is due.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DuePage {
    /// The valid purchases.
    pub purchases: Vec<Purchase>,
    /// The items that are not valid purchases.
    pub unreadable: Vec<DueKey>,
    /// The last item of the page. None if no more items are due.
    pub next: Option<DueKey>,
}

/// The position of an item in the index `unsettled`. The item may not be a valid purchase.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueKey {
    /// The sort key of the index, a number.
    pub due_at: String,
    /// The partition key of the table.
    pub user_id: String,
    /// The sort key of the table.
    pub purchase_id: String,
}

/// A client of the table Purchases and its index `unsettled`. The partition key of the index is
/// `unsettledShard` (a number), and its sort key is `dueAt` (a number). The index projects all
/// attributes.
#[derive(Debug)]
pub struct PurchasesTable(Table);

const UNSETTLED: &str = "unsettled";

/// The partition key of the index `unsettled`.
pub(super) const SHARD: &str = "unsettledShard";

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
    raw_key(user.as_str(), &id.to_string())
}

fn raw_key(user: &str, id: &str) -> Item {
    HashMap::from([
        ("userId".into(), text(user)),
        ("purchaseId".into(), text(id)),
    ])
}

pub(super) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn time(time: Timestamp) -> AttributeValue {
    number(time.as_millis())
}

/// Reads a purchase that a conditional write returned.
pub(super) fn stored(item: Option<Item>) -> Result<Option<Purchase>, Error> {
    Ok(item.map(read).transpose()?)
}

/// The position of `item` in the index. None if an attribute of the index's key is missing.
fn due_key(item: &Item) -> Option<DueKey> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned();
    Some(DueKey {
        due_at: item.get("dueAt")?.as_n().ok()?.clone(),
        user_id: text("userId")?,
        purchase_id: text("purchaseId")?,
    })
}

impl PurchaseStore for PurchasesTable {
    async fn get(&self, of: &PurchaseKey) -> Result<Option<Purchase>, Error> {
        let get = self
            .0
            .get()
            .set_key(Some(key(&of.user_id, of.purchase_id)))
            .consistent_read(true);
        let found = self.0.send(get).await.map_err(dynamodb::Error::from)?;
        stored(found.item)
    }

    async fn settle(
        &self,
        of: &PurchaseKey,
        outcome: &Outcome,
        condition: SettleIf,
        now: Timestamp,
    ) -> Result<Settled, Error> {
        let mut update = self
            .0
            .update()
            .set_key(Some(key(&of.user_id, of.purchase_id)))
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#source", "source")
            .expression_attribute_values(":pending", text("PENDING"))
            .expression_attribute_values(":updatedAt", time(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut if_matches = "#status = :pending".to_owned();
        if let SettleIf::Matches { amount, currency } = condition {
            // A purchase of an earlier release has no currency.
            if_matches += " AND paymentIntentId = :paymentIntentId AND amount = :amount \
                           AND (currency = :currency OR \
                           (attribute_not_exists(currency) AND :currency = :default))";
            update = update
                .expression_attribute_values(":amount", number(amount))
                .expression_attribute_values(":currency", text(currency.as_str()))
                .expression_attribute_values(":default", text(Currency::default().as_str()));
        }
        let (expression, intent) = match outcome {
            Outcome::Paid { intent } => {
                let outbox = item(&Outbox {
                    outbox: &[Notice::Paid],
                })?;
                update = update
                    .expression_attribute_values(":settled", text("PAID"))
                    .expression_attribute_values(":revision", number(1))
                    .expression_attribute_values(":dueAt", time(now.after(RECONCILE_DELAY)));
                for (_, notices) in outbox {
                    update = update.expression_attribute_values(":outbox", notices);
                }
                let expression = "SET #status = :settled, updatedAt = :updatedAt, \
                                  paymentIntentId = :paymentIntentId, revision = :revision, \
                                  outbox = :outbox, dueAt = :dueAt REMOVE #source";
                (expression.to_owned(), Some(intent))
            }
            Outcome::Failed { intent, decline } => {
                update = update
                    .expression_attribute_values(":settled", text("FAILED"))
                    .expression_attribute_values(":decline", AttributeValue::M(item(decline)?));
                if_matches += " AND (attribute_not_exists(paymentIntentId)";
                let set_intent = match intent {
                    Some(_) => {
                        if_matches += " OR paymentIntentId = :paymentIntentId";
                        ", paymentIntentId = :paymentIntentId"
                    }
                    None => "",
                };
                if_matches += ")";
                let expression = format!(
                    "SET #status = :settled, updatedAt = :updatedAt, decline = :decline\
                     {set_intent} REMOVE #source, {SHARD}, dueAt"
                );
                (expression, intent.as_ref())
            }
        };
        if let Some(intent) = intent {
            update = update.expression_attribute_values(":paymentIntentId", text(intent.as_str()));
        }
        let update = update
            .update_expression(expression)
            .condition_expression(if_matches);
        Ok(match checked(self.0.send(update).await)? {
            Checked::Done(done) => match stored(done.attributes)? {
                Some(purchase) => Settled::Done(purchase),
                None => return Err(Error::Failed("DynamoDB did not return the purchase".into())),
            },
            Checked::ConditionFailed(old) => match stored(old)? {
                Some(purchase) => Settled::Unchanged(purchase),
                None => Settled::Missing,
            },
        })
    }

    async fn revise(&self, changed: &Purchase, revision: u64) -> Result<bool, Error> {
        let PurchaseKey {
            user_id,
            purchase_id,
        } = &changed.key;
        let mut attributes = item(changed)?;
        attributes.insert(SHARD.into(), number(Shard::of(*purchase_id).number()));
        // The other attributes do not change after a purchase was settled.
        attributes.retain(|name, _| REVISED.contains(&&**name));
        let sets: Vec<_> = attributes
            .keys()
            .map(|name| format!("#{name} = :{name}"))
            .collect();
        let mut update = self
            .0
            .update()
            .set_key(Some(key(user_id, *purchase_id)))
            .update_expression(format!("SET {}", sets.join(", ")))
            .expression_attribute_values(":old", number(revision))
            .expression_attribute_values(":pending", text("PENDING"))
            .condition_expression(match revision {
                // A purchase of an earlier release, and a FAILED one, have no revision.
                0 => {
                    "attribute_exists(purchaseId) AND #status <> :pending AND \
                      (attribute_not_exists(#revision) OR #revision = :old)"
                }
                _ => "#revision = :old AND #status <> :pending",
            });
        for (name, value) in attributes {
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        Ok(matches!(
            checked(self.0.send(update).await)?,
            Checked::Done(_)
        ))
    }

    async fn announced(&self, of: &PurchaseKey, revision: u64) -> Result<(), Error> {
        let update = self
            .0
            .update()
            .set_key(Some(key(&of.user_id, of.purchase_id)))
            .update_expression(format!("REMOVE outbox, {SHARD}, dueAt"))
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", number(revision));
        // If the condition is false, a later revision is stored, and is still to be announced.
        checked(self.0.send(update).await)?;
        Ok(())
    }

    async fn postpone(
        &self,
        of: &PurchaseKey,
        due_at: Timestamp,
        intent: Option<&IntentId>,
    ) -> Result<bool, Error> {
        let update = self
            .0
            .update()
            .set_key(Some(key(&of.user_id, of.purchase_id)))
            .expression_attribute_values(":dueAt", time(due_at));
        let update = match intent {
            Some(intent) => update
                .update_expression("SET dueAt = :dueAt, paymentIntentId = :intent")
                .condition_expression("#status = :pending")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":pending", text("PENDING"))
                .expression_attribute_values(":intent", text(intent.as_str())),
            None => update
                .update_expression("SET dueAt = :dueAt")
                .condition_expression("attribute_exists(dueAt)"),
        };
        Ok(matches!(
            checked(self.0.send(update).await)?,
            Checked::Done(_)
        ))
    }

    async fn set_aside(&self, of: &DueKey, due_at: Timestamp) -> Result<(), Error> {
        let update = self
            .0
            .update()
            .set_key(Some(raw_key(&of.user_id, &of.purchase_id)))
            .update_expression("SET dueAt = :dueAt")
            .condition_expression("dueAt = :old")
            .expression_attribute_values(":old", number(&of.due_at))
            .expression_attribute_values(":dueAt", time(due_at));
        checked(self.0.send(update).await)?;
        Ok(())
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<PurchaseId>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        let mut purchases = Vec::new();
        let mut start = before.map(|id| key(user, id));
        loop {
            let query = self
                .0
                .query()
                .key_condition_expression("userId = :user")
                .expression_attribute_values(":user", text(user.as_str()))
                .set_exclusive_start_key(start)
                .scan_index_forward(false)
                .consistent_read(true)
                .limit(page_limit(limit.saturating_sub(purchases.len())));
            let found = self.0.send(query).await.map_err(dynamodb::Error::from)?;
            for item in found.items.unwrap_or_default() {
                let id = item.get("purchaseId").cloned();
                match read(item) {
                    Ok(purchase) => purchases.push(purchase),
                    Err(error) => log_unreadable(user.as_str(), &id, &error),
                }
            }
            start = found.last_evaluated_key;
            if start.is_none() || purchases.len() > limit {
                return Ok(Page::cut(purchases, limit));
            }
        }
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        after: Option<&DueKey>,
        limit: usize,
    ) -> Result<DuePage, Error> {
        let start = after.map(|after| {
            let mut start = raw_key(&after.user_id, &after.purchase_id);
            start.insert(SHARD.into(), number(shard.number()));
            start.insert("dueAt".into(), number(&after.due_at));
            start
        });
        let query = self
            .0
            .query()
            .index_name(UNSETTLED)
            .key_condition_expression("unsettledShard = :shard AND dueAt <= :now")
            .expression_attribute_values(":shard", number(shard.number()))
            .expression_attribute_values(":now", time(now))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let found = self.0.send(query).await.map_err(dynamodb::Error::from)?;
        let mut page = DuePage {
            next: found.last_evaluated_key.as_ref().and_then(due_key),
            ..DuePage::default()
        };
        for item in found.items.unwrap_or_default() {
            let position = due_key(&item);
            match (read(item), position) {
                (Ok(purchase), _) => page.purchases.push(purchase),
                (Err(error), Some(position)) => {
                    let id = Some(text(&position.purchase_id));
                    log_unreadable(&position.user_id, &id, &error);
                    page.unreadable.push(position);
                }
                // The index contains only items that have all attributes of its key.
                (Err(_), None) => (),
            }
        }
        Ok(page)
    }
}

/// The attributes that change after a purchase was settled.
const REVISED: [&str; 9] = [
    "status",
    "updatedAt",
    "refunded",
    "dispute",
    "surplus",
    "revision",
    "outbox",
    "dueAt",
    SHARD,
];

/// The attribute `outbox`.
#[derive(serde::Serialize)]
struct Outbox<'a> {
    outbox: &'a [Notice],
}

fn log_unreadable(user_id: &str, purchase_id: &Option<AttributeValue>, error: &dynamodb::Error) {
    let error = function::chain(error);
    tracing::error!(user_id, ?purchase_id, error, "unreadable purchase");
}
