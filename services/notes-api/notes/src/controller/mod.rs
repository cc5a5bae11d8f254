//! The business rules of notes, one file per function. The rules use services through traits, and
//! do not depend on Lambda, HTTP or AWS.

mod attachment_uploaded;
mod create;
mod credit; // part: billing
mod delete;
mod get;
mod list;
mod storage;
mod update;
mod upload;

pub use attachment_uploaded::attachment_uploaded;
pub use create::{Created, Plan, create};
pub use credit::credit; // part: billing
pub use delete::delete;
pub use get::get;
pub use list::list;
pub use storage::storage;
pub use update::update;
pub use upload::upload;

use std::collections::HashSet;

use crate::{
    file::{AttachmentName, File, FileKey},
    note::{Content, Note, UserId},
    service::{self, AttachmentRecords, FileUrls},
};

/// An error of a business rule of notes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no note with this id.
    #[error("the note does not exist")]
    NotFound,
    /// The note does not meet the precondition of the write.
    #[error("the note does not meet the precondition of the write")]
    Changed,
    /// The attachment belongs to another user.
    #[error("the attachment belongs to another user")]
    ForeignAttachment,
    /// The caller has as many notes as they may have.
    #[error("the storage is full")]
    StorageFull {
        /// The number of the caller's notes.
        used: u64,
        /// The number of notes that the caller may have.
        allowed: u64,
    },
    /// A service call failed.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// The attributes of a note that a client sends to create or replace the note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text of the note.
    pub content: Content,
    /// The name of the attached file. None for a note without an attachment.
    pub attachment: Option<AttachmentName>,
}

impl Draft {
    /// Resolves the name of the attachment to the key of a file of `user`.
    ///
    /// # Errors
    /// Returns [`Error::ForeignAttachment`] if the name is the key of another user's file.
    pub fn resolve(self, user: &UserId) -> Result<ResolvedDraft, Error> {
        let resolve = |name| {
            let key = own_file(user, &name)?;
            key.log();
            Ok::<_, Error>(Attachment { name, key })
        };
        Ok(ResolvedDraft {
            content: self.content,
            attachment: self.attachment.map(resolve).transpose()?,
        })
    }
}

/// A [`Draft`] with the key of its attached file. The file belongs to the user who sent the draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDraft {
    /// The text of the note.
    pub content: Content,
    /// The attached file. None for a note without an attachment.
    pub attachment: Option<Attachment>,
}

impl ResolvedDraft {
    /// The key of the attached file in the bucket. None for a note without an attachment.
    pub fn file_key(&self) -> Option<&FileKey> {
        self.attachment.as_ref().map(|attachment| &attachment.key)
    }
}

/// The attached file of a draft: its name and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the file, as the client sent it.
    pub name: AttachmentName,
    /// The key of the file in the bucket.
    pub key: FileKey,
}

/// A note and its attached file, as the API returns them to the note's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The note.
    pub note: Note,
    /// The attached file. None if the note has no attachment, or the upload of the file is not
    /// recorded yet.
    pub file: Option<FileView>,
}

/// The properties of an uploaded file, and a URL to download the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// The properties of the file.
    pub file: File,
    /// A presigned URL to download the file.
    pub url: String,
}

impl FileView {
    fn of(urls: &impl FileUrls, key: &FileKey, file: File) -> Result<Self, service::Error> {
        Ok(Self {
            file,
            url: urls.download_url(key)?,
        })
    }
}

/// Adds the attached file to a note. `key` is the key of the file, or None if the note has no
/// attachment. Reads the record of the file only if the note does not contain the properties of the
/// file.
///
/// # Errors
/// Fails if a service call fails.
pub async fn show(
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    note: Note,
    key: Option<&FileKey>,
) -> Result<View, Error> {
    let Some(key) = key else {
        return Ok(View { note, file: None });
    };
    let file = match &note.uploaded {
        Some(file) => Some(file.clone()),
        None => records
            .batch_get(&HashSet::from([key.clone()]))
            .await?
            .remove(key),
    };
    let file = file.map(|file| FileView::of(urls, key, file)).transpose()?;
    Ok(View { note, file })
}

/// Returns the key of the file that `user` attached with the name `name`. Fails if `name` is the
/// key of another user's file.
fn own_file(user: &UserId, name: &AttachmentName) -> Result<FileKey, Error> {
    FileKey::of(user, name).ok_or(Error::ForeignAttachment)
}
