//! The files that are attached to notes: their names, their keys in the bucket, and their uploads.

use std::fmt;

use domain::{Timestamp, UserId};
use metrics::Subject;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of an attached file, as the client sends it. The name is the key that `POST
/// /notes/attachments` returned. Clients of the original API (the notes API of the SST guide) send
/// the key without the prefix `private/{owner}/`, where `{owner}` is the user's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AttachmentName(String);

impl AttachmentName {
    /// The maximum length of a name in bytes. An S3 key has at most 1,024 bytes. The prefix
    /// `private/{owner}/`, with the user's id as `{owner}`, and a name of this length fit into a
    /// key.
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
            return Err("must not be empty; for no attachment, send null or omit the field".into());
        }
        if name.len() > Self::LIMIT {
            return Err(format!("must have at most {} bytes", Self::LIMIT));
        }
        // HTTP clients normalize segments such as `..` in a URL, and would request another file.
        if name.chars().any(char::is_control)
            || name.split('/').any(|s| matches!(s, "" | "." | ".."))
        {
            return Err("must be an attachment that POST /notes/attachments returned".into());
        }
        Ok(Self(name))
    }
}

/// The key of an attached file in the bucket: `private/{owner}/…`, where `{owner}` is the id of the
/// user who uploads the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileKey {
    owner: UserId,
    key: String,
}

impl FileKey {
    /// Generates a unique key for a new file of `owner`.
    pub fn generate(owner: &UserId, name: &FileName) -> Self {
        let unique = Uuid::now_v7().simple();
        let key = format!("private/{}/{unique}-{}", owner.as_str(), name.0);
        Self {
            owner: owner.clone(),
            key,
        }
    }

    /// Returns the key of the file that `owner` attaches with the name `name`, or None if `name` is
    /// the key of another user's file.
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

    /// Parses the key of an object in the bucket. Returns None if the object is not a file of a
    /// user.
    pub fn parse(key: &str) -> Option<Self> {
        let (owner, name) = key.strip_prefix("private/")?.split_once('/')?;
        let owner = owner.parse().ok()?;
        (!name.is_empty()).then(|| Self {
            owner,
            key: key.to_owned(),
        })
    }

    /// The user who owns the file.
    pub fn owner(&self) -> &UserId {
        &self.owner
    }

    /// The ID of the file in the log: the unique part of the key. None if the key was not generated here, like that of a
    /// client of the original API. The rest of the key contains the user's id and the file's name, which are in no log.
    pub fn id(&self) -> Option<&str> {
        let (id, _) = self.key.rsplit('/').next()?.split_once('-')?;
        let is_unique = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_unique.then_some(id)
    }

    /// Adds the ID to the log line of this invocation.
    pub fn log(&self) {
        if let Some(id) = self.id() {
            Subject::File.log(id);
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.key
    }
}

/// The properties of an uploaded file: its media type and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// The media type of the file, such as `image/png`.
    pub content_type: String,
    /// The size of the file in bytes.
    pub size: u64,
}

/// A client's request to upload a file: the name, media type and size of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRequest {
    /// The name of the file on the caller's device.
    pub filename: FileName,
    /// The media type of the file.
    pub content_type: ContentType,
    /// The size of the file.
    pub size: FileSize,
}

/// The name of a file without a path: 1 to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            return Err("must be the name of a file, without a path and control characters");
        }
        Ok(Self(name))
    }
}

/// A media type, such as `image/png`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        // The media type becomes a header value, which must be ASCII. Type and subtype have at most
        // 127 characters each: https://www.rfc-editor.org/rfc/rfc6838#section-4.2
        let has_subtype = |mime: mime::Mime| !mime.subtype().as_str().is_empty();
        let is_valid = text.is_ascii() && text.len() <= 255 && text.parse().is_ok_and(has_subtype);
        if is_valid {
            Ok(Self(text))
        } else {
            Err("must be a media type such as image/png")
        }
    }
}

/// The size of a file: 1 to 5,000,000 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSize(u32);

impl FileSize {
    /// The maximum size of a file in bytes.
    pub const LIMIT: u32 = 5_000_000;

    /// The size in bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for FileSize {
    type Error = String;

    fn try_from(bytes: i64) -> Result<Self, Self::Error> {
        let bytes = u32::try_from(bytes).ok();
        let valid = bytes.filter(|bytes| (1..=Self::LIMIT).contains(bytes));
        valid
            .map(Self)
            .ok_or_else(|| format!("must be an integer from 1 to {}", Self::LIMIT))
    }
}

/// A presigned PUT request that uploads one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedUpload {
    /// The key of the file. The API returns it as the field `attachment` of the upload, and clients send it in the field
    /// `attachment` of a note.
    pub key: FileKey,
    /// The presigned URL for the PUT request.
    pub url: String,
    /// The headers that the PUT request must have, because the signature covers them.
    pub headers: Vec<(&'static str, String)>,
    /// The time at which the URL expires.
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
    fn only_a_generated_key_has_an_id_and_the_id_is_not_the_name() {
        let name = FileName::try_from("my-cat.png".to_owned()).unwrap();
        let key = FileKey::generate(&ada(), &name);
        let id = key.id().unwrap();
        assert_eq!(
            key.as_str(),
            format!("private/us-east-1:ada/{id}-my-cat.png")
        );
        for other in ["cat.png", "my-cat.png", "0123/0123-4.png", "ada"] {
            let name = AttachmentName::try_from(other.to_owned()).unwrap();
            assert_eq!(FileKey::of(&ada(), &name).unwrap().id(), None, "{other}");
        }
    }

    #[test]
    fn a_name_never_refers_to_another_users_file() {
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
    fn two_uploads_with_the_same_name_have_different_keys() {
        let name = FileName::try_from("cat.png".to_owned()).unwrap();
        let [one, two] = [(); 2].map(|()| FileKey::generate(&ada(), &name));
        assert_ne!(one, two);
        assert_eq!(FileKey::parse(one.as_str()), Some(one));
    }

    #[test]
    fn invalid_sizes_types_and_names_are_refused() {
        for size in [i64::MIN, -1, 0, 5_000_001, i64::MAX] {
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
