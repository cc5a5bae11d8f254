//! The business rules, one file per function. They use services through traits, and are independent
//! of Lambda, HTTP and AWS.

mod attachment_uploaded;
mod create;
mod delete;
mod get;
mod list;
mod update;
mod upload;

pub use attachment_uploaded::attachment_uploaded;
pub use create::{Created, Plan, create};
pub use delete::delete;
pub use get::get;
pub use list::list;
pub use update::update;
pub use upload::upload;

use std::collections::HashSet;

use crate::{
    file::{AttachmentName, File, FileKey},
    note::{Content, Note, UserId},
    service::{self, AttachmentRecords, FileUrls},
};

/// An error of a business rule.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no note with this id.
    #[error("the note does not exist")]
    NotFound,
    /// The note does not meet the precondition of the write.
    #[error("the note has changed")]
    Changed,
    /// The attachment belongs to another user.
    #[error("the attachment belongs to another user")]
    ForeignAttachment,
    /// A service call failed.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// The attributes of a note that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text of the note.
    pub content: Content,
    /// The name of the attached file. None for a note without an attachment.
    pub attachment: Option<AttachmentName>,
}

impl Draft {
    /// Resolves the name of the attachment to a file of `user`.
    ///
    /// # Errors
    /// Returns [`Error::ForeignAttachment`] if the name is the key of another user's file.
    pub fn resolve(self, user: &UserId) -> Result<ResolvedDraft, Error> {
        let resolve = |name| {
            let key = own_file(user, &name)?;
            Ok::<_, Error>(Attachment { name, key })
        };
        Ok(ResolvedDraft {
            content: self.content,
            attachment: self.attachment.map(resolve).transpose()?,
        })
    }
}

/// A [`Draft`] whose attachment belongs to the user who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedDraft {
    /// The text of the note.
    pub content: Content,
    /// The attached file.
    pub attachment: Option<Attachment>,
}

impl ResolvedDraft {
    /// The key of the attached file in the bucket. None for a note without an attachment.
    pub fn file_key(&self) -> Option<&FileKey> {
        self.attachment.as_ref().map(|attachment| &attachment.key)
    }
}

/// The attachment of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The name of the file, as the client sent it.
    pub name: AttachmentName,
    /// The key of the file in the bucket.
    pub key: FileKey,
}

/// A note with its file, as its owner reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The note.
    pub note: Note,
    /// The attached file. None if the note has no attachment, or the file is not uploaded yet.
    pub file: Option<FileView>,
}

/// A file with a URL for its download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// The properties of the file.
    pub file: File,
    /// A presigned URL for the download.
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

/// Combines a note with its file. `key` is the key of the note's attachment. Calls a service only
/// if the note does not contain the properties of its file.
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

/// The key of the file with this name. Fails if the file belongs to another user.
fn own_file(user: &UserId, name: &AttachmentName) -> Result<FileKey, Error> {
    FileKey::of(user, name).ok_or(Error::ForeignAttachment)
}
