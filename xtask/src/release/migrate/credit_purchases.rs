//! The migration `credit-purchases`: credits the storage of purchases that were paid before purchases gave storage.
//!
//! Such a purchase is PAID and has no attribute `revision`. The transaction that sets the attribute also writes the
//! credit of the purchase and adds its storage to the total of its buyer, as notes-credit does when a purchase is
//! announced. A later refund has a higher revision, and changes the credit.

use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::{
    Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::tables::{Changed, Tables, UNCHANGED_MINUTES, string};
use crate::release::clock::now;
use crate::release::dynamodb::{Item, Scan, Transaction, number, text};

/// Paid purchases without a revision.
pub(super) const SCAN: Scan<'static> = Scan {
    table: "",
    attributes: &["userId", "purchaseId", "storage", "status", "updatedAt"],
    filter: "attribute_not_exists(revision) AND #status = :paid",
    values: &[(":paid", "PAID")],
    after: None,
    limit: 0,
};

/// The revision of a purchase that was paid and not changed since.
const FIRST: u64 = 1;

/// The position of the credit in the writes of a transaction.
const CREDIT: usize = 1;

/// Credits purchases of one user. A purchase must be unchanged for [`UNCHANGED_MINUTES`]: after a function of an earlier
/// release has settled a purchase, billing-purchase-paid sets the first revision and announces it. If this migration set
/// the revision first, nothing would announce the purchase.
///
/// # Errors
/// Fails if a purchase lacks an attribute, or if a transaction fails for another reason than its conditions.
pub(super) async fn credit(
    tables: &Tables<'_>,
    user: &str,
    purchases: Vec<Item>,
) -> Result<Changed> {
    let mut credited = Changed::default();
    let latest = now().saturating_sub(UNCHANGED_MINUTES * 60_000);
    for purchase in &purchases {
        let id = string(purchase, "purchaseId")?;
        let number = |name: &str| {
            let value = purchase
                .get(name)
                .and_then(|value| value.as_n().ok()?.parse::<u64>().ok());
            value.with_context(|| format!("the purchase {id} has no number {name}"))
        };
        if number("updatedAt")? > latest {
            credited.early += 1;
            continue;
        }
        let storage = u32::try_from(number("storage")?)?;
        tables.pace.take(1.0).await;
        let writes = [
            set_revision(tables, user, id, FIRST)?,
            put_credit(tables, user, id, storage)?,
            add_to_total(tables, user, storage)?,
        ];
        match tables.dynamodb.transact(&writes).await? {
            Transaction::Done => credited.done += 1,
            Transaction::ConditionsFailed(failed) => {
                let credit = failed.into_iter().find(|(at, _)| *at == CREDIT);
                // Without it, the purchase has got its revision in the meantime.
                if let Some((_, credit)) = credit {
                    keep_credit(tables, user, id, credit.as_ref()).await?;
                }
            }
        }
    }
    Ok(credited)
}

/// Gives a purchase the revision of its credit. A purchase has a credit but no revision if the table Purchases was
/// restored from a backup.
async fn keep_credit(
    tables: &Tables<'_>,
    user: &str,
    id: &str,
    credit: Option<&Item>,
) -> Result<()> {
    let revision = credit.and_then(|credit| credit.get("revision")?.as_n().ok()?.parse().ok());
    let revision = revision.with_context(|| format!("the credit {id} has no number revision"))?;
    let write = set_revision(tables, user, id, revision)?;
    // If the condition is false, the purchase has got its revision in the meantime.
    tables.dynamodb.transact(&[write]).await?;
    Ok(())
}

fn set_revision(
    tables: &Tables<'_>,
    user: &str,
    id: &str,
    revision: u64,
) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(&tables.scanned)
        .key("userId", text(user))
        .key("purchaseId", text(id))
        .update_expression("SET revision = :revision")
        .condition_expression("#status = :paid AND attribute_not_exists(revision)")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":paid", text("PAID"))
        .expression_attribute_values(":revision", number(revision))
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn put_credit(
    tables: &Tables<'_>,
    user: &str,
    id: &str,
    storage: u32,
) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(&tables.storage)
        .item("userId", text(user))
        .item("entry", text(id))
        .item("granted", number(storage))
        .item("revision", number(FIRST))
        .condition_expression("attribute_not_exists(entry)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn add_to_total(tables: &Tables<'_>, user: &str, storage: u32) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(&tables.storage)
        .key("userId", text(user))
        .key("entry", text("total"))
        .update_expression("ADD bought :storage, balance :returned")
        .expression_attribute_values(":storage", number(storage))
        .expression_attribute_values(":returned", number(-i64::from(storage)))
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}
