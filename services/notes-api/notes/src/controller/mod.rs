//! The rules, one file per route. They take their services as traits, and know nothing of Lambda,
//! HTTP or AWS.

mod attachment_uploaded;
mod create;
mod delete;
mod get;
mod list;
mod update;
mod upload;

pub use attachment_uploaded::attachment_uploaded;
pub use create::{Made, Plan, create};
pub use delete::delete;
pub use get::get;
pub use list::{Listed, list};
pub use update::update;
pub use upload::upload;

use std::collections::HashSet;

use crate::{
    file::{AttachmentName, File, FileKey},
    note::{Content, Note, UserId},
    service::{self, AttachmentRecords, FileUrls},
};

/// Why a rule does not let something happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no such note.
    #[error("there is no such note")]
    NotFound,
    /// The note was written since the caller read it.
    #[error("the note was changed in the meantime")]
    Changed,
    /// The caller names a file that is somebody else's.
    #[error("the attachment is somebody else's")]
    ForeignAttachment,
    /// A service did not do its part.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// What a person writes: of a new note, or over an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What the note says.
    pub content: Content,
    /// The file that goes with it.
    pub attachment: Option<AttachmentName>,
}

impl Draft {
    /// Whether `user` may write this.
    ///
    /// # Errors
    /// [`Error::ForeignAttachment`] when it names a file of somebody else.
    pub fn check(&self, user: &UserId) -> Result<(), Error> {
        let key = self.attachment.as_ref().map(|name| own_file(user, name));
        key.transpose().map(drop)
    }
}

/// A note as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The note.
    pub note: Note,
    /// Its file, once that is uploaded.
    pub file: Option<FileView>,
}

/// A file as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// What it is.
    pub file: File,
    /// Where it can be read for a while.
    pub url: String,
}

impl FileView {
    fn of(urls: &impl FileUrls, key: &FileKey, file: File) -> Result<Self, service::Error> {
        Ok(Self {
            file,
            url: urls.download(key)?,
        })
    }
}

/// A note with its file, as its owner sees them.
///
/// # Errors
/// When a service fails.
pub async fn show(
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    note: Note,
) -> Result<View, Error> {
    let Some(name) = &note.attachment else {
        return Ok(View { note, file: None });
    };
    let key = own_file(&note.user_id, name)?;
    let file = match &note.uploaded {
        Some(file) => Some(file.clone()),
        None => records
            .batch_get(&HashSet::from([key.clone()]))
            .await?
            .remove(&key),
    };
    let file = file
        .map(|file| FileView::of(urls, &key, file))
        .transpose()?;
    Ok(View { note, file })
}

/// The file that `user` means by `name`.
fn own_file(user: &UserId, name: &AttachmentName) -> Result<FileKey, Error> {
    FileKey::of(user, name).ok_or(Error::ForeignAttachment)
}
