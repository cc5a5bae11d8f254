//! The table Attachments: one record per file. The partition key is the id of the file's owner, and
//! the sort key is the file's key in the bucket.
//!
//! A record contains the properties of the uploaded file and the references to it. A file is
//! deleted only when it has no references. Each write of a note adds its own reference, so a write
//! cannot delete the file of a concurrent write.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use dynamodb::{Checked, Dynamodb, Item, Table, checked, define_sub, read};
use function::StartError;
use serde::Deserialize;

use super::Error;
use crate::{
    file::{File, FileKey},
    note::{AttachmentRef, Sub},
};

/// Access to the records of files in the table Attachments. A record contains the properties of a
/// file, and the references to the file. The unit tests use an implementation in memory.
pub trait AttachmentRecords: Sync {
    /// Adds `reference` to the record of the file `key`, and stores the `sub` of the file's owner in
    /// the record. If `sub` is None, the record keeps its `sub`. Returns the properties of the file,
    /// or None if the upload of the file is not recorded yet.
    fn add_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
        sub: Option<Sub>,
    ) -> impl Future<Output = Result<Option<File>, Error>> + Send;

    /// Removes `reference` from the record of the file `key`. Keeps the record and the file, also if
    /// no references remain, so that a later write can refer to the file.
    fn withdraw_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes `reference` from the record of the file `key`, and deletes the record if no other
    /// references remain. Returns true if the record no longer exists: then the caller must delete
    /// the file. Returns false if the file has other references.
    ///
    /// If the calling function crashes before it deletes the file, the file remains without
    /// references. This wastes storage but breaks no note.
    fn remove_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Does the same as [`AttachmentRecords::remove_reference`], but with one call to DynamoDB
    /// instead of two if the file has no other references.
    fn remove_last_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Records the properties of the uploaded file `key`. Returns all references to the file.
    fn record_upload(
        &self,
        key: &FileKey,
        file: &File,
    ) -> impl Future<Output = Result<HashSet<AttachmentRef>, Error>> + Send;

    /// Reads the properties of at most 100 files from their records. The result contains only the
    /// files whose upload is recorded.
    fn batch_get(
        &self,
        keys: &HashSet<FileKey>,
    ) -> impl Future<Output = Result<HashMap<FileKey, File>, Error>> + Send;
}

/// A client of the table Attachments.
#[derive(Debug)]
pub struct AttachmentsTable(Table);

impl AttachmentsTable {
    /// Creates a client of the table whose name is in the environment variable `ATTACHMENTS_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(
            dynamodb.table(function::setting("ATTACHMENTS_TABLE")?),
        ))
    }

    /// Creates a client of `table`. The table must have the keys of the table Attachments.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

/// The record of a file in the table Attachments. `content_type` and `size` are None until the
/// upload is recorded, and `references` is None if no note refers to the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    attachment: Option<String>,
    content_type: Option<String>,
    size: Option<u64>,
    // The attribute is missing if there are no references, because DynamoDB has no empty sets.
    #[serde(rename = "claims")]
    references: Option<HashSet<String>>,
}

impl Record {
    fn file(self) -> Option<File> {
        Some(File {
            content_type: self.content_type?,
            size: self.size?,
        })
    }
}

fn item_key(key: &FileKey) -> Item {
    HashMap::from([
        (
            "userId".into(),
            AttributeValue::S(key.owner().as_str().into()),
        ),
        ("attachment".into(), AttributeValue::S(key.as_str().into())),
    ])
}

/// The update expression that removes a reference.
const REMOVE: &str = "DELETE claims :reference";

impl AttachmentsTable {
    /// Deletes the record of the file `key` unless the record has references other than
    /// `reference`. Returns whether the record no longer exists.
    async fn delete_record(&self, key: &FileKey, reference: AttachmentRef) -> Result<bool, Error> {
        let delete = self
            .0
            .delete()
            .set_key(Some(item_key(key)))
            .condition_expression("attribute_not_exists(claims) OR claims = :reference")
            .expression_attribute_values(
                ":reference",
                AttributeValue::Ss(vec![reference.to_string()]),
            );
        Ok(matches!(
            checked(self.0.send(delete).await)?,
            Checked::Done(_)
        ))
    }

    /// Updates the record of the file `key` with the update expression `expression`, in which
    /// `:reference` stands for `reference`, and `:sub` for `sub`. Returns the changed record.
    async fn change_references(
        &self,
        key: &FileKey,
        expression: &str,
        reference: AttachmentRef,
        sub: Option<Sub>,
    ) -> Result<Record, Error> {
        let update = define_sub(self.0.update(), sub)
            .set_key(Some(item_key(key)))
            .update_expression(expression)
            .expression_attribute_values(
                ":reference",
                AttributeValue::Ss(vec![reference.to_string()]),
            )
            .return_values(ReturnValue::AllNew);
        let done = self.0.send(update).await.map_err(dynamodb::Error::from)?;
        Ok(read(done.attributes.unwrap_or_default())?)
    }
}

impl AttachmentRecords for AttachmentsTable {
    async fn add_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
        sub: Option<Sub>,
    ) -> Result<Option<File>, Error> {
        let add = match sub {
            Some(_) => "ADD claims :reference SET #sub = :sub",
            None => "ADD claims :reference",
        };
        let record = self.change_references(key, add, reference, sub).await?;
        Ok(record.file())
    }

    async fn withdraw_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<(), Error> {
        self.change_references(key, REMOVE, reference, None).await?;
        Ok(())
    }

    async fn remove_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<bool, Error> {
        let record = self.change_references(key, REMOVE, reference, None).await?;
        Ok(record.references.is_none() && self.delete_record(key, reference).await?)
    }

    async fn remove_last_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<bool, Error> {
        Ok(self.delete_record(key, reference).await?
            || self.remove_reference(key, reference).await?)
    }

    async fn record_upload(
        &self,
        key: &FileKey,
        file: &File,
    ) -> Result<HashSet<AttachmentRef>, Error> {
        let update = self
            .0
            .update()
            .set_key(Some(item_key(key)))
            .update_expression("SET contentType = :contentType, #size = :size")
            // "size" is a reserved word:
            // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
            .expression_attribute_names("#size", "size")
            .expression_attribute_values(
                ":contentType",
                AttributeValue::S(file.content_type.clone()),
            )
            .expression_attribute_values(":size", AttributeValue::N(file.size.to_string()))
            .return_values(ReturnValue::AllNew);
        let done = self.0.send(update).await.map_err(dynamodb::Error::from)?;
        let record: Record = read(done.attributes.unwrap_or_default())?;
        let references = record.references.unwrap_or_default();
        Ok(references
            .iter()
            .filter_map(|reference| reference.parse().ok())
            .collect())
    }

    async fn batch_get(&self, keys: &HashSet<FileKey>) -> Result<HashMap<FileKey, File>, Error> {
        let found = self
            .0
            .batch_get(keys.iter().map(item_key).collect())
            .await?;
        let mut files = HashMap::new();
        for item in found {
            let record: Record = read(item)?;
            let key = record.attachment.as_deref().and_then(FileKey::parse);
            files.extend(key.zip(record.file()));
        }
        Ok(files)
    }
}
