//! The table Storage: how many notes each user has and may have. The partition key is the id of the
//! user. The sort key is `total` for the item with the user's totals, which are the members of
//! [`Usage`]. The attribute `balance` of this item is the number of notes that count against the free
//! ones. A condition expression compares it, because such an expression cannot calculate.
// part: billing {
//! It is `used` minus `bought`. [`super::credits`] stores further items.
// part: billing }
//!
//! One transaction changes a note and the total. So the total is exact even if calls fail or are
//! repeated.

use std::{collections::HashMap, future::Future};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{
    Action, Check, Checked, Dynamodb, Item, Table, Transacted, authored_item, checked, read,
};
use function::StartError;

use super::{
    Error,
    notes::{key, text},
};
use crate::{
    note::{Note, NoteId, Sub, UserId, Version},
    storage::Usage,
};

/// Creates and deletes notes, and counts them. The unit tests use an implementation in memory.
pub trait CountedNotes: Sync {
    /// Stores and counts a new note, with the `sub` of its owner. The owner must have fewer notes than
    /// [`Usage::allowed`] for `free` free notes. Does nothing if the owner already has a note with the
    /// same id.
    fn insert(
        &self,
        note: &Note,
        sub: Option<Sub>,
        free: u64,
    ) -> impl Future<Output = Result<Inserted, Error>> + Send;

    /// Deletes a note if `version` is its current version, and subtracts it from the total if it is
    /// `counted`. Returns true if the note does not exist after the call, and false if the note has
    /// another version, or was counted in the meantime.
    fn remove(
        &self,
        user: &UserId,
        id: NoteId,
        version: Version,
        counted: bool,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// The result of [`CountedNotes::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The note exists.
    Done,
    /// The owner has as many notes as they may have. The note was not stored.
    Full(Usage),
}

/// Access to the totals in the table Storage. The unit tests use an implementation in memory.
pub trait Storage: Sync {
    /// Reads the totals of `user`.
    fn usage(&self, user: &UserId) -> impl Future<Output = Result<Usage, Error>> + Send;
}

/// A client of the tables Notes and Storage.
#[derive(Debug)]
pub struct CountedTables {
    notes: Table,
    storage: Table,
}

impl CountedTables {
    /// Creates a client of the tables whose names are in the environment variables `NOTES_TABLE` and
    /// `STORAGE_TABLE`.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self {
            notes: dynamodb.table(function::setting("NOTES_TABLE")?),
            storage: dynamodb.table(function::setting(STORAGE_VARIABLE)?),
        })
    }

    /// Creates a client of `notes` and `storage`. They must have the keys of the tables Notes and
    /// Storage.
    pub fn new(notes: Table, storage: Table) -> Self {
        Self { notes, storage }
    }
}

/// A client of the table Storage.
#[derive(Debug)]
pub struct StorageTable(pub(super) Table);

impl StorageTable {
    /// Creates a client of the table whose name is in the environment variable `STORAGE_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(dynamodb.table(function::setting(STORAGE_VARIABLE)?)))
    }

    /// Creates a client of `table`. The table must have the keys of the table Storage.
    pub fn new(table: Table) -> Self {
        Self(table)
    }

    pub(super) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        key: Item,
    ) -> Result<Option<T>, Error> {
        let get = self.0.get().set_key(Some(key)).consistent_read(true);
        let found = self.0.send(get).await.map_err(dynamodb::Error::from)?;
        Ok(found.item.map(read).transpose()?)
    }
}

const STORAGE_VARIABLE: &str = "STORAGE_TABLE";

/// The sort key of the item with a user's totals. Other sort keys are UUIDs, so none is equal.
pub(super) const TOTAL: &str = "total";

/// The key of an item of `user` in the table Storage.
pub(super) fn entry_key(user: &UserId, entry: impl Into<String>) -> Item {
    HashMap::from([
        ("userId".into(), AttributeValue::S(user.as_str().into())),
        ("entry".into(), AttributeValue::S(entry.into())),
    ])
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

impl CountedNotes for CountedTables {
    async fn insert(&self, note: &Note, sub: Option<Sub>, free: u64) -> Result<Inserted, Error> {
        let actions = || {
            let put = self
                .notes
                .put_action()
                .set_item(Some(authored_item(note, sub)?))
                .condition_expression("attribute_not_exists(noteId)");
            let count = self
                .storage
                .update_action()
                .set_key(Some(entry_key(&note.user_id, TOTAL)))
                .update_expression("ADD used :one, balance :one")
                .condition_expression(match free {
                    0 => "balance < :free",
                    _ => "attribute_not_exists(balance) OR balance < :free",
                })
                .expression_attribute_values(":one", number(1))
                .expression_attribute_values(":free", number(free))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            Ok([put.action()?, count.action()?])
        };
        Ok(match self.notes.transact(actions).await? {
            Transacted::Done => Inserted::Done,
            // An earlier request with the same plan has already stored and counted the note.
            Transacted::Canceled([Check::ConditionFailed(_), _]) => Inserted::Done,
            Transacted::Canceled([Check::Passed, total]) => {
                let total: Option<Usage> = total.item().map(read).transpose()?;
                Inserted::Full(total.unwrap_or_default())
            }
        })
    }

    async fn remove(
        &self,
        user: &UserId,
        id: NoteId,
        version: Version,
        counted: bool,
    ) -> Result<bool, Error> {
        if !counted {
            let delete = self
                .notes
                .delete()
                .set_key(Some(key(user, id)))
                .condition_expression(
                    "attribute_not_exists(noteId) OR version = :version AND attribute_not_exists(counted)",
                )
                .expression_attribute_values(":version", text(version));
            return Ok(matches!(
                checked(self.notes.send(delete).await)?,
                Checked::Done(_)
            ));
        }
        let actions = || {
            let delete = self
                .notes
                .delete_action()
                .set_key(Some(key(user, id)))
                .condition_expression("version = :version")
                .expression_attribute_values(":version", text(version))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let count = self
                .storage
                .update_action()
                .set_key(Some(entry_key(user, TOTAL)))
                .update_expression("ADD used :less, balance :less")
                .expression_attribute_values(":less", number(-1));
            Ok([delete.action()?, count.action()?])
        };
        Ok(match self.notes.transact(actions).await? {
            Transacted::Done => true,
            // Without an item, another request has already deleted the note.
            Transacted::Canceled([note, _]) => note.item().is_none(),
        })
    }
}

impl Storage for StorageTable {
    async fn usage(&self, user: &UserId) -> Result<Usage, Error> {
        let total: Option<Usage> = self.get(entry_key(user, TOTAL)).await?;
        Ok(total.unwrap_or_default())
    }
}
