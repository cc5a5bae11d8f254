//! The notes: the table Notes, with a note's owner and id as its key.

use std::{collections::HashMap, future::Future};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{Checked, Dynamodb, Table, checked, item, read};
use function::StartError;
use serde::Deserialize;

use super::Error;
use crate::{
    file::{AttachmentName, File},
    note::{AttachmentRef, Content, Note, NoteId, Precondition, Timestamp, UserId, Version},
};

/// Keeps notes.
pub trait NoteStore: Sync {
    /// Adds a note.
    fn insert(&self, note: &Note) -> impl Future<Output = Result<(), Error>> + Send;

    /// One note of `user`.
    fn find(
        &self,
        user: &UserId,
        id: NoteId,
    ) -> impl Future<Output = Result<Option<Note>, Error>> + Send;

    /// The notes of `user` older than `before`, newest first: at most `limit`, perhaps fewer.
    fn page(
        &self,
        user: &UserId,
        before: Option<NoteId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, Error>> + Send;

    /// Writes over a note, if it is what `expected` says.
    fn replace(
        &self,
        user: &UserId,
        id: NoteId,
        change: &Change,
        expected: &Precondition,
    ) -> impl Future<Output = Result<Replaced, Error>> + Send;

    /// Tells the note that named a file what that file is, unless it was written since.
    fn set_upload(
        &self,
        user: &UserId,
        claim: AttachmentRef,
        file: &File,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a note, if `version` is still its last write. Returns whether it is gone.
    fn remove(
        &self,
        user: &UserId,
        id: NoteId,
        version: Version,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// Some notes of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub notes: Vec<Note>,
    /// Whether there are older ones.
    pub more: bool,
}

/// What a write changes of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it says from now on.
    pub content: Content,
    /// The file that goes with it from now on.
    pub attachment: Option<AttachmentName>,
    /// What that file is, once it is uploaded.
    pub uploaded: Option<File>,
    /// When.
    pub updated_at: Timestamp,
    /// The name of this write.
    pub version: Version,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// It is done. The file that the note had before, with the write that claimed it.
    Done {
        /// None also when that is not known, because the answer to the write was lost.
        before: Option<(AttachmentName, Version)>,
    },
    /// There is no such note.
    Missing,
    /// The note is not what was expected.
    Changed,
}

/// The table Notes.
#[derive(Debug)]
pub struct NotesTable(Table);

impl NotesTable {
    /// The table that the setting `NOTES_TABLE` names.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(dynamodb.table(function::setting("NOTES_TABLE")?)))
    }

    /// That table.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

fn key(user: &UserId, id: NoteId) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("userId".into(), AttributeValue::S(user.as_str().into())),
        ("noteId".into(), AttributeValue::S(id.to_string())),
    ])
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// What the answer to a write says of the state before it.
#[derive(Deserialize)]
struct Before {
    attachment: Option<AttachmentName>,
    version: Version,
}

impl NoteStore for NotesTable {
    async fn insert(&self, note: &Note) -> Result<(), Error> {
        let put = self.0.put().set_item(Some(item(note)?));
        let put = put.condition_expression("attribute_not_exists(noteId)");
        match checked(self.0.send(put).await)? {
            Checked::Done(_) => Ok(()),
            // Nobody else has this id: the SDK sent the write twice, for the first answer was lost.
            Checked::ConditionFailed(_) => Ok(()),
        }
    }

    async fn find(&self, user: &UserId, id: NoteId) -> Result<Option<Note>, Error> {
        let get = self
            .0
            .get()
            .set_key(Some(key(user, id)))
            .consistent_read(true);
        let found = self.0.send(get).await.map_err(dynamodb::Error::from)?;
        Ok(found.item.map(read).transpose()?)
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<NoteId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let query = self
            .0
            .query()
            .key_condition_expression("userId = :user")
            .expression_attribute_values(":user", text(user.as_str()))
            .set_exclusive_start_key(before.map(|id| key(user, id)))
            .scan_index_forward(false)
            .consistent_read(true)
            // One more than asked for, to know whether there is more.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        let found = self.0.send(query).await.map_err(dynamodb::Error::from)?;
        let cut = found.last_evaluated_key.is_some();
        let mut notes = found.items.unwrap_or_default();
        let more = cut || notes.len() > limit;
        notes.truncate(limit);
        Ok(Page {
            notes: notes.into_iter().map(read).collect::<Result<_, _>>()?,
            more,
        })
    }

    async fn replace(
        &self,
        user: &UserId,
        id: NoteId,
        change: &Change,
        expected: &Precondition,
    ) -> Result<Replaced, Error> {
        let attachment = change.attachment.as_ref();
        let attachment = attachment.map_or(AttributeValue::Null(true), |name| text(name.as_str()));
        let uploaded = match &change.uploaded {
            Some(file) => AttributeValue::M(item(file)?),
            None => AttributeValue::Null(true),
        };
        let mut update = self
            .0
            .update()
            .set_key(Some(key(user, id)))
            .update_expression(
                "SET content = :content, attachment = :attachment, uploaded = :uploaded, \
                 updatedAt = :updatedAt, version = :version",
            )
            .expression_attribute_values(":content", text(change.content.as_str()))
            .expression_attribute_values(":attachment", attachment)
            .expression_attribute_values(":uploaded", uploaded)
            .expression_attribute_values(
                ":updatedAt",
                AttributeValue::N(change.updated_at.as_millis().to_string()),
            )
            .expression_attribute_values(":version", text(change.version))
            .return_values(ReturnValue::UpdatedOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut condition = "attribute_exists(noteId)".to_owned();
        if let Precondition::OneOf(versions) = expected {
            // A list must have an entry, and this one no note has.
            let mut names = vec!["userId".to_owned()];
            for (number, version) in versions.iter().enumerate() {
                let name = format!(":expected{number}");
                update = update.expression_attribute_values(&name, text(version));
                names.push(name);
            }
            condition += &format!(" AND version IN ({})", names.join(", "));
        }
        let update = update.condition_expression(condition);
        match checked(self.0.send(update).await)? {
            Checked::Done(done) => {
                let before: Before = read(done.attributes.unwrap_or_default())?;
                // Our own version there: the SDK sent the write twice, and this is the second.
                let known = before.version != change.version;
                let attachment = before.attachment.filter(|_| known);
                Ok(Replaced::Done {
                    before: attachment.map(|name| (name, before.version)),
                })
            }
            Checked::ConditionFailed(None) => Ok(Replaced::Missing),
            Checked::ConditionFailed(Some(now)) => {
                let now: Before = read(now)?;
                if now.version == change.version {
                    return Ok(Replaced::Done { before: None });
                }
                Ok(Replaced::Changed)
            }
        }
    }

    async fn set_upload(
        &self,
        user: &UserId,
        claim: AttachmentRef,
        file: &File,
    ) -> Result<(), Error> {
        let update = self
            .0
            .update()
            .set_key(Some(key(user, claim.note)))
            .update_expression("SET uploaded = :uploaded")
            .condition_expression("version = :version")
            .expression_attribute_values(":uploaded", AttributeValue::M(item(file)?))
            .expression_attribute_values(":version", text(claim.write));
        checked(self.0.send(update).await)?;
        Ok(())
    }

    async fn remove(&self, user: &UserId, id: NoteId, version: Version) -> Result<bool, Error> {
        let delete = self
            .0
            .delete()
            .set_key(Some(key(user, id)))
            .condition_expression("attribute_not_exists(noteId) OR version = :version")
            .expression_attribute_values(":version", text(version));
        Ok(matches!(
            checked(self.0.send(delete).await)?,
            Checked::Done(_)
        ))
    }
}
