//! What is known of the files: the table Attachments, with a file's owner and key as its key.
//!
//! A record holds what was uploaded, and the claims of the notes that name the file: one claim per
//! write, so that concurrent writes of one note cannot take each other's file away.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use dynamodb::{Checked, Dynamodb, Item, Table, checked, read};
use function::StartError;
use serde::Deserialize;

use super::Error;
use crate::{
    file::{File, FileKey},
    note::AttachmentRef,
};

/// Keeps what is known of files.
pub trait AttachmentRecords: Sync {
    /// Records that a note names the file. Returns what it is, once it is uploaded.
    fn claim(
        &self,
        key: &FileKey,
        claim: AttachmentRef,
    ) -> impl Future<Output = Result<Option<File>, Error>> + Send;

    /// Takes a claim back, and forgets the record if it was the last one. Returns whether the record is gone: then the
    /// file can be deleted. A crash in between leaves a file that nobody names, never a note without its file.
    fn release(
        &self,
        key: &FileKey,
        claim: AttachmentRef,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// As [`AttachmentRecords::release`], and in one call where it is the last claim.
    fn release_last(
        &self,
        key: &FileKey,
        claim: AttachmentRef,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Records what was uploaded. Returns the claims on it.
    fn record(
        &self,
        key: &FileKey,
        file: &File,
    ) -> impl Future<Output = Result<HashSet<AttachmentRef>, Error>> + Send;

    /// What those of the files are that are uploaded.
    fn batch_get(
        &self,
        keys: &HashSet<FileKey>,
    ) -> impl Future<Output = Result<HashMap<FileKey, File>, Error>> + Send;
}

/// The table Attachments.
#[derive(Debug)]
pub struct AttachmentsTable(Table);

impl AttachmentsTable {
    /// The table that the setting `ATTACHMENTS_TABLE` names.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(
            dynamodb.table(function::setting("ATTACHMENTS_TABLE")?),
        ))
    }

    /// That table.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

/// What a record says, once the file is uploaded, and until then.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    attachment: Option<String>,
    content_type: Option<String>,
    size: Option<u64>,
    // Present while something claims the file: DynamoDB has no empty sets.
    claims: Option<HashSet<String>>,
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

impl AttachmentsTable {
    /// Removes the record, unless something else claims the file. Returns whether it is gone.
    async fn forget(&self, key: &FileKey, claim: AttachmentRef) -> Result<bool, Error> {
        let delete = self
            .0
            .delete()
            .set_key(Some(item_key(key)))
            .condition_expression("attribute_not_exists(claims) OR claims = :claim")
            .expression_attribute_values(":claim", AttributeValue::Ss(vec![claim.to_string()]));
        Ok(matches!(
            checked(self.0.send(delete).await)?,
            Checked::Done(_)
        ))
    }

    async fn change_claims(
        &self,
        key: &FileKey,
        verb: &str,
        claim: AttachmentRef,
    ) -> Result<Record, Error> {
        let update = self
            .0
            .update()
            .set_key(Some(item_key(key)))
            .update_expression(format!("{verb} claims :claim"))
            .expression_attribute_values(":claim", AttributeValue::Ss(vec![claim.to_string()]))
            .return_values(ReturnValue::AllNew);
        let done = self.0.send(update).await.map_err(dynamodb::Error::from)?;
        Ok(read(done.attributes.unwrap_or_default())?)
    }
}

impl AttachmentRecords for AttachmentsTable {
    async fn claim(&self, key: &FileKey, claim: AttachmentRef) -> Result<Option<File>, Error> {
        Ok(self.change_claims(key, "ADD", claim).await?.file())
    }

    async fn release(&self, key: &FileKey, claim: AttachmentRef) -> Result<bool, Error> {
        let left = self.change_claims(key, "DELETE", claim).await?;
        Ok(left.claims.is_none() && self.forget(key, claim).await?)
    }

    async fn release_last(&self, key: &FileKey, claim: AttachmentRef) -> Result<bool, Error> {
        Ok(self.forget(key, claim).await? || self.release(key, claim).await?)
    }

    async fn record(&self, key: &FileKey, file: &File) -> Result<HashSet<AttachmentRef>, Error> {
        let update = self
            .0
            .update()
            .set_key(Some(item_key(key)))
            .update_expression("SET contentType = :contentType, #size = :size")
            // "size" is a reserved word: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
            .expression_attribute_names("#size", "size")
            .expression_attribute_values(
                ":contentType",
                AttributeValue::S(file.content_type.clone()),
            )
            .expression_attribute_values(":size", AttributeValue::N(file.size.to_string()))
            .return_values(ReturnValue::AllNew);
        let done = self.0.send(update).await.map_err(dynamodb::Error::from)?;
        let record: Record = read(done.attributes.unwrap_or_default())?;
        let claims = record.claims.unwrap_or_default();
        Ok(claims
            .iter()
            .filter_map(|claim| claim.parse().ok())
            .collect())
    }

    async fn batch_get(&self, keys: &HashSet<FileKey>) -> Result<HashMap<FileKey, File>, Error> {
        let found = self.0.get_all(keys.iter().map(item_key).collect()).await?;
        let mut files = HashMap::new();
        for item in found {
            let record: Record = read(item)?;
            let key = record.attachment.as_deref().and_then(FileKey::parse);
            files.extend(key.zip(record.file()));
        }
        Ok(files)
    }
}
