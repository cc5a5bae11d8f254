//! The migration `count-notes`: counts the notes that were created before notes were counted.
//!
//! A note is counted if it has the attribute `counted`. The transaction that sets the attribute also adds the note to the
//! number of notes of its user, so `used` is the number of counted notes at every moment. The functions do the same when
//! they create a note, and the opposite when they delete a counted one.

use anyhow::Result;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};

use super::tables::{Changed, Tables, string};
use crate::release::dynamodb::{Item, Scan, Transaction, number, text};

/// The maximum number of notes in a transaction, which has at most 100 writes, one of them for the total:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const NOTES: usize = 99;

/// Notes that are not counted.
pub(super) const SCAN: Scan<'static> = Scan {
    table: "",
    attributes: &["userId", "noteId"],
    filter: "attribute_not_exists(counted)",
    values: &[],
    after: None,
    limit: 0,
};

/// Counts notes of one user.
///
/// # Errors
/// Fails if a transaction fails for another reason than its conditions.
pub(super) async fn count(tables: &Tables<'_>, user: &str, notes: Vec<Item>) -> Result<Changed> {
    let notes: Vec<&str> = notes
        .iter()
        .map(|note| string(note, "noteId"))
        .collect::<Result<_>>()?;
    let mut counted = Changed::default();
    for notes in notes.chunks(NOTES) {
        let mut notes = notes.to_vec();
        while !notes.is_empty() {
            tables.pace.take(notes.len() as f64).await;
            let writes = writes(tables, user, &notes)?;
            match tables.dynamodb.transact(&writes).await? {
                Transaction::Done => {
                    counted.done += notes.len() as u64;
                    break;
                }
                // These notes were deleted or counted in the meantime, so they need nothing any more.
                Transaction::ConditionsFailed(failed) => {
                    for (position, _) in failed.into_iter().rev() {
                        notes.remove(position);
                    }
                }
            }
        }
    }
    Ok(counted)
}

/// Returns the writes that count `notes`. Only the writes of notes have conditions, and they come first.
fn writes(tables: &Tables<'_>, user: &str, notes: &[&str]) -> Result<Vec<TransactWriteItem>> {
    let mut writes = Vec::with_capacity(notes.len() + 1);
    for note in notes {
        let update = Update::builder()
            .table_name(&tables.scanned)
            .key("userId", text(user))
            .key("noteId", text(*note))
            .update_expression("SET counted = :true")
            .condition_expression("attribute_exists(noteId) AND attribute_not_exists(counted)")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .build()?;
        writes.push(TransactWriteItem::builder().update(update).build());
    }
    let total = Update::builder()
        .table_name(&tables.storage)
        .key("userId", text(user))
        .key("entry", text("total"))
        // ADD creates the item and its attributes if the user has none.
        .update_expression("ADD #used :notes, balance :notes")
        .expression_attribute_names("#used", "used")
        .expression_attribute_values(":notes", number(notes.len()))
        .build()?;
    writes.push(TransactWriteItem::builder().update(total).build());
    Ok(writes)
}
