//! The file that goes with a note: what a client calls it, and where it is kept.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::note::{Timestamp, UserId};

/// What a client calls the file of a note: the whole key that an upload was given, or, as clients
/// of the original API do, the key below the caller's own prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AttachmentName(String);

impl AttachmentName {
    /// Bytes that a name can have, so that with a prefix it still fits into a key of S3, which
    /// takes 1,024.
    const LIMIT: usize = 900;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AttachmentName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.is_empty() {
            return Err("must not be empty; leave it out, or null, for none".into());
        }
        if name.len() > Self::LIMIT {
            return Err(format!("must have at most {} bytes", Self::LIMIT));
        }
        // HTTP clients resolve dots and empty segments, and would ask for another file.
        if name.chars().any(char::is_control)
            || name.split('/').any(|s| matches!(s, "" | "." | ".."))
        {
            return Err("must be an attachment as POST /notes/attachments names it".into());
        }
        Ok(Self(name))
    }
}

/// Where a file is kept: `private/{owner}/…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileKey {
    owner: UserId,
    key: String,
}

impl FileKey {
    /// A place for a new file of `owner`, which no other file has.
    pub fn generate(owner: &UserId, name: &FileName) -> Self {
        let unique = Uuid::now_v7().simple();
        let key = format!("private/{}/{unique}-{}", owner.as_str(), name.0);
        Self {
            owner: owner.clone(),
            key,
        }
    }

    /// The place of the file that `owner` calls `name`, unless the name is of somebody else's file.
    pub fn of(owner: &UserId, name: &AttachmentName) -> Option<Self> {
        let key = match name.0.strip_prefix("private/") {
            Some(rest) => {
                rest.strip_prefix(owner.as_str())?.strip_prefix('/')?;
                name.0.clone()
            }
            None => format!("private/{}/{}", owner.as_str(), name.0),
        };
        Some(Self {
            owner: owner.clone(),
            key,
        })
    }

    /// Reads a key of the bucket. None when it is of no user.
    pub fn parse(key: &str) -> Option<Self> {
        let (owner, name) = key.strip_prefix("private/")?.split_once('/')?;
        let owner = owner.parse().ok()?;
        (!name.is_empty()).then(|| Self {
            owner,
            key: key.to_owned(),
        })
    }

    /// Whose file it is.
    pub fn owner(&self) -> &UserId {
        &self.owner
    }

    /// The key in the bucket.
    pub fn as_str(&self) -> &str {
        &self.key
    }
}

/// What an uploaded file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its media type.
    pub content_type: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A file that a caller is about to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// What the caller calls it.
    pub filename: FileName,
    /// Its media type.
    pub content_type: ContentType,
    /// Its length in bytes.
    pub size: FileSize,
}

/// The name of a file as its owner has it: 1 to 255 characters, no path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FileName(String);

impl TryFrom<String> for FileName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if name.is_empty() || name.len() > 255 {
            return Err("must have 1 to 255 bytes");
        }
        if name
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\'))
        {
            return Err("must be a file's name without a path or control characters");
        }
        Ok(Self(name))
    }
}

/// A media type such as `image/png`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ContentType(String);

impl ContentType {
    /// The media type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContentType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // It becomes a header, so it is ASCII, and no longer than names of media types may be.
        let named = |mime: mime::Mime| !mime.subtype().as_str().is_empty();
        let good = text.is_ascii() && text.len() <= 255 && text.parse().is_ok_and(named);
        if good {
            Ok(Self(text))
        } else {
            Err("must be a media type such as image/png")
        }
    }
}

/// A file's length: 1 to 5,000,000 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct FileSize(u64);

impl FileSize {
    /// Bytes that a file can have.
    pub const LIMIT: u64 = 5_000_000;

    /// The length in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for FileSize {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        if (1..=Self::LIMIT).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(format!("must be 1 to {} bytes", Self::LIMIT))
        }
    }
}

/// Leave to upload one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where the file will be, and what a note names it by.
    pub key: FileKey,
    /// Where to PUT it.
    pub url: String,
    /// What the PUT has to carry, to the letter.
    pub headers: Vec<(&'static str, String)>,
    /// When the leave ends.
    pub expires_at: Timestamp,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserId {
        "us-east-1:ada".parse().unwrap()
    }

    fn key_of(name: &str) -> Option<String> {
        let name = AttachmentName::try_from(name.to_owned()).ok()?;
        FileKey::of(&ada(), &name).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_name_is_of_the_callers_own_file_or_of_none() {
        assert_eq!(
            key_of("private/us-east-1:ada/x.png").unwrap(),
            "private/us-east-1:ada/x.png"
        );
        assert_eq!(
            key_of("hello.jpg").unwrap(),
            "private/us-east-1:ada/hello.jpg"
        );
        for foreign in [
            "private/us-east-1:bob/x.png",
            "private/us-east-1:ada2/x.png",
            "private/us-east-1:ada",
            "private/us-east-1:ada/",
            "private/us-east-1:ada/../us-east-1:bob/x.png",
            "../us-east-1:bob/x.png",
            "/private/us-east-1:ada/x.png",
            "",
        ] {
            assert_eq!(key_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn two_uploads_of_one_name_have_two_places() {
        let name = FileName::try_from("cat.png".to_owned()).unwrap();
        let [one, two] = [(); 2].map(|()| FileKey::generate(&ada(), &name));
        assert_ne!(one, two);
        assert_eq!(FileKey::parse(one.as_str()), Some(one));
    }

    #[test]
    fn what_cannot_be_uploaded_is_not_declared() {
        for size in [0, 5_000_001, u64::MAX] {
            assert!(FileSize::try_from(size).is_err(), "{size}");
        }
        assert!(FileSize::try_from(5_000_000).is_ok());
        for kind in ["", "png", "image/", "image/png\r\nx: y", "bild/größe"] {
            assert!(ContentType::try_from(kind.to_owned()).is_err(), "{kind}");
        }
        for name in ["", "a/b", "..\\b", "a\u{0}b"] {
            assert!(FileName::try_from(name.to_owned()).is_err(), "{name}");
        }
    }
}
