//! The table Notes: one item per note. The partition key is the id of the note's owner, and the
//! sort key is the id of the note.

use std::{collections::HashMap, future::Future};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use domain::Page;
use dynamodb::{
    Checked, Dynamodb, Item, Table, checked, define_sub, item, page_limit, read, read_page,
};
use function::StartError;
use serde::Deserialize;

use super::Error;
use crate::{
    file::{AttachmentName, File},
    note::{AttachmentRef, Content, Note, NoteId, Precondition, Sub, Timestamp, UserId, Version},
};

/// Access to the notes in the table Notes. The unit tests use an implementation in memory.
pub trait NoteStore: Sync {
    /// Reads the note `id` of `user`. Returns None if the note does not exist.
    fn find(
        &self,
        user: &UserId,
        id: NoteId,
    ) -> impl Future<Output = Result<Option<Note>, Error>> + Send;

    /// Reads the notes of `user` that are older than the note `before`, newest first. If `before`
    /// is None, starts with the newest note. Returns at most `limit` notes, and fewer if the notes
    /// are long.
    fn page(
        &self,
        user: &UserId,
        before: Option<NoteId>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Note>, Error>> + Send;

    /// Replaces attributes of a note with the values in `change`, if the note meets the
    /// precondition `expected`.
    fn replace(
        &self,
        user: &UserId,
        id: NoteId,
        change: &Change,
        expected: &Precondition,
    ) -> impl Future<Output = Result<Replaced, Error>> + Send;

    /// Stores `file`, the properties of an uploaded file, in the note of `user` that `reference`
    /// names. Does nothing if the last write of this note did not add `reference`.
    fn set_upload(
        &self,
        user: &UserId,
        reference: AttachmentRef,
        file: &File,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The new values of the attributes that an update of a note replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The text of the note.
    pub content: Content,
    /// The name of the attached file. None for a note without an attachment.
    pub attachment: Option<AttachmentName>,
    /// The properties of the attached file. None if the upload of the file is not recorded yet.
    pub uploaded: Option<File>,
    /// The time of the update.
    pub updated_at: Timestamp,
    /// The id of the update. It becomes the version of the note.
    pub version: Version,
    /// The `sub` of the user who updates the note. None to keep the stored `sub`.
    pub sub: Option<Sub>,
}

/// The result of [`NoteStore::replace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// The note was replaced.
    Done {
        /// The previous attachment of the note, and the id of the write that added the reference to
        /// this attachment. None if the note had no attachment, or if the SDK sent the current
        /// write twice because the first response was lost.
        before: Option<(AttachmentName, Version)>,
    },
    /// The note does not exist.
    Missing,
    /// The note does not meet the precondition, and was not replaced.
    Changed,
}

/// A client of the table Notes.
#[derive(Debug)]
pub struct NotesTable(Table);

impl NotesTable {
    /// Creates a client of the table whose name is in the environment variable `NOTES_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(dynamodb.table(function::setting("NOTES_TABLE")?)))
    }

    /// Creates a client of `table`. The table must have the keys of the table Notes.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

pub(super) fn key(user: &UserId, id: NoteId) -> Item {
    HashMap::from([
        ("userId".into(), AttributeValue::S(user.as_str().into())),
        ("noteId".into(), AttributeValue::S(id.to_string())),
    ])
}

pub(super) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// The attributes that a note had before a write, as far as [`NoteStore::replace`] needs them.
#[derive(Deserialize)]
struct Before {
    attachment: Option<AttachmentName>,
    version: Version,
}

impl NoteStore for NotesTable {
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
    ) -> Result<Page<Note>, Error> {
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
        let mut set = "SET content = :content, attachment = :attachment, uploaded = :uploaded, \
                       updatedAt = :updatedAt, version = :version"
            .to_owned();
        if change.sub.is_some() {
            set += ", #sub = :sub";
        }
        let mut update = define_sub(self.0.update(), change.sub)
            .set_key(Some(key(user, id)))
            .update_expression(set)
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
            // `userId` never equals a version. It is there because IN needs at least one operand.
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
                // If the note already had this version, the SDK has sent the write twice.
                let is_first = before.version != change.version;
                let attachment = before.attachment.filter(|_| is_first);
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
        reference: AttachmentRef,
        file: &File,
    ) -> Result<(), Error> {
        let update = self
            .0
            .update()
            .set_key(Some(key(user, reference.note)))
            .update_expression("SET uploaded = :uploaded")
            .condition_expression("version = :version")
            .expression_attribute_values(":uploaded", AttributeValue::M(item(file)?))
            .expression_attribute_values(":version", text(reference.write));
        checked(self.0.send(update).await)?;
        Ok(())
    }
}
