//! Notes and the types of their attributes. These types cannot hold invalid values.

use std::{fmt, str::FromStr};

use domain::Id;
pub use domain::{Author, Sub, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::file::{AttachmentName, File};

/// A note, as the table Notes stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The id of the note's owner: the partition key.
    pub user_id: UserId,
    /// The id of the note: the sort key. Newer notes have greater ids.
    pub note_id: NoteId,
    /// The text of the note, 1 to 100,000 characters.
    pub content: Content,
    /// The name of the attached file. None if the note has no attachment.
    pub attachment: Option<AttachmentName>,
    /// The properties of the attached file. None until the upload is recorded in the note. The
    /// record of the file in the table Attachments can contain the properties earlier.
    pub uploaded: Option<File>,
    /// The time at which the note was created.
    pub created_at: Timestamp,
    /// The time at which the note was created or last updated.
    pub updated_at: Timestamp,
    /// The id of the write that created or last updated the note.
    pub version: Version,
    /// Whether the total of the owner's notes includes this note. False only for notes of releases
    /// that did not count notes, until a migration counts them.
    #[serde(default)]
    pub counted: bool,
}

impl Note {
    /// Returns the reference that the last write of the note added to the record of its attached
    /// file. Meaningful only if the note has an attachment.
    pub fn attachment_ref(&self) -> AttachmentRef {
        AttachmentRef {
            note: self.note_id,
            write: self.version,
        }
    }
}

/// Marks an [`Id`] as the id of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {}

/// The id of a note.
pub type NoteId = Id<NoteKind>;

/// Marks an [`Id`] as the id of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteKind {}

/// The id of a write of a note.
///
/// The id of the last write is the note's entity tag. If the SDK sends one write twice, both
/// requests have the same id, so a repeated request can be distinguished from a second write.
pub type Version = Id<WriteKind>;

/// The text of a note: 1 to 100,000 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Content(String);

impl Content {
    /// The maximum number of characters. A DynamoDB item has at most 400 KiB. A text of this length
    /// fits into an item even if each character has four bytes.
    pub const LIMIT: usize = 100_000;

    /// The text of the note.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Content {
    type Error = String;

    fn try_from(content: String) -> Result<Self, Self::Error> {
        // Counting stops at the limit, so that it takes no longer for a content that is too long.
        match content.chars().take(Self::LIMIT + 1).count() {
            0 => Err("must not be empty".into()),
            count if count > Self::LIMIT => {
                Err(format!("must have at most {} characters", Self::LIMIT))
            }
            _ => Ok(Self(content)),
        }
    }
}

/// A reference to an attached file. Each write of a note adds its own reference. A file is not
/// deleted while it has references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttachmentRef {
    /// The id of the note that refers to the file.
    pub note: NoteId,
    /// The id of the write that added the reference.
    pub write: Version,
}

impl fmt::Display for AttachmentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.note, self.write)
    }
}

impl FromStr for AttachmentRef {
    type Err = &'static str;

    fn from_str(reference: &str) -> Result<Self, Self::Err> {
        let (note, write) = reference
            .split_once('/')
            .ok_or("a reference must be a note's id, a slash and a write's id")?;
        Ok(Self {
            note: note.parse()?,
            write: write.parse()?,
        })
    }
}

/// The condition that a note must meet to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The note exists.
    Exists,
    /// The note exists, and its version is in this list. If the list is empty, no note meets the
    /// condition.
    OneOf(Vec<Version>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_content_counts_characters_not_bytes() {
        assert!(Content::try_from("😀".repeat(100_000)).is_ok());
        assert!(Content::try_from("x".repeat(100_001)).is_err());
        assert!(Content::try_from(String::new()).is_err());
    }

    #[test]
    fn an_attachment_reference_is_parsed_from_its_text() {
        let reference = AttachmentRef {
            note: NoteId::generate(),
            write: Version::generate(),
        };
        assert_eq!(reference.to_string().parse(), Ok(reference));
        for other in ["", "/", &reference.note.to_string()] {
            assert!(other.parse::<AttachmentRef>().is_err(), "{other}");
        }
    }
}
