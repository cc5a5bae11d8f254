//! A note and the types that it is made of. None of them can hold a wrong value.

use std::{fmt, str::FromStr};

pub use domain::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::file::{AttachmentName, File};

/// A note, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Whose it is.
    pub user_id: UserId,
    /// Its name. Newer notes have greater ids.
    pub note_id: NoteId,
    /// What it says.
    pub content: Content,
    /// The file that goes with it.
    pub attachment: Option<AttachmentName>,
    /// What that file is, where the note was told: when it was written, or when the file was uploaded.
    pub uploaded: Option<File>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Which write this is the state after.
    pub version: Version,
}

impl Note {
    /// What holds the note's file, as the note is now.
    pub fn claim(&self) -> AttachmentRef {
        AttachmentRef {
            note: self.note_id,
            write: self.version,
        }
    }
}

/// A note's name: a version 7 UUID, which sorts by the time at which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NoteId(Uuid);

impl NoteId {
    /// A name that no other note has, made now.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl FromStr for NoteId {
    type Err = &'static str;

    /// Takes the form with four dashes alone: one note has one address.
    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let parsed = Uuid::try_parse(id).ok().filter(|_| id.len() == 36);
        parsed.map(Self).ok_or("not a UUID")
    }
}

impl fmt::Display for NoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a note says: 1 to 100,000 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Content(String);

impl Content {
    /// Characters that a note can have. At four bytes each, they still fit into an item of
    /// DynamoDB, which takes 400 KiB.
    pub const LIMIT: usize = 100_000;

    /// The content as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Content {
    type Error = String;

    fn try_from(content: String) -> Result<Self, Self::Error> {
        // Counting stops at the limit: a long content costs no more than a good one.
        match content.chars().take(Self::LIMIT + 1).count() {
            0 => Err("must not be empty".into()),
            count if count > Self::LIMIT => {
                Err(format!("must have at most {} characters", Self::LIMIT))
            }
            _ => Ok(Self(content)),
        }
    }
}

/// A name for one write of a note, unlike that of any other write.
///
/// It backs the note's entity tag, and tells a write that is sent twice from two writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version(Uuid);

impl Version {
    /// The name of a write that is about to happen.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for Version {
    type Err = uuid::Error;

    fn from_str(version: &str) -> Result<Self, Self::Err> {
        version.parse().map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What holds a note's file: a write of the note that named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttachmentRef {
    /// The note.
    pub note: NoteId,
    /// The write.
    pub write: Version,
}

impl fmt::Display for AttachmentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.note, self.write)
    }
}

impl FromStr for AttachmentRef {
    type Err = &'static str;

    fn from_str(claim: &str) -> Result<Self, Self::Err> {
        let (note, write) = claim.split_once('/').ok_or("not NOTE/WRITE")?;
        Ok(Self {
            note: note.parse()?,
            write: write.parse().map_err(|_| "not a UUID")?,
        })
    }
}

/// What a note must still be for a write to go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// It exists.
    Exists,
    /// It exists, as one of these writes left it. None of them is a note that nobody can have.
    OneOf(Vec<Version>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_counted_in_characters_not_in_bytes() {
        assert!(Content::try_from("😀".repeat(100_000)).is_ok());
        assert!(Content::try_from("x".repeat(100_001)).is_err());
        assert!(Content::try_from(String::new()).is_err());
    }

    #[test]
    fn a_later_note_has_a_greater_id() {
        let ids: Vec<_> = (0..1000).map(|_| NoteId::generate()).collect();
        assert!(ids.is_sorted());
        let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
    }

    #[test]
    fn a_note_id_has_one_spelling_but_for_its_case() {
        let id = "018f4e8a-7b2c-7def-8123-456789abcdef";
        assert_eq!(id.parse::<NoteId>().unwrap().to_string(), id);
        assert_eq!(id.to_uppercase().parse::<NoteId>().unwrap().to_string(), id);
        for other in [
            "018f4e8a7b2c7def8123456789abcdef",
            "{018f4e8a-7b2c-7def-8123-456789abcdef}",
            "",
            "1",
        ] {
            assert!(other.parse::<NoteId>().is_err(), "{other}");
        }
    }
}
