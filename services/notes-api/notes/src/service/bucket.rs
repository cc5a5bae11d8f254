//! The files themselves: the bucket of attachments.
//!
//! Browsers reach it by URLs that a function signs, which takes no call; only the functions that
//! delete or inspect files call it.

use std::{
    fmt,
    future::Future,
    str::FromStr,
    time::{Duration, SystemTime},
};

use aws::{Method, Objects, PresignError, Presigner};
use function::StartError;

use super::Error;
use crate::{
    file::{ContentType, File, FileKey, FileSize, Upload},
    note::Timestamp,
};

/// How long a URL lets somebody read or write a file.
const URL_LIFE: Duration = Duration::from_secs(15 * 60);

/// Gives leave to read and write files.
pub trait FileUrls: Sync {
    /// Where the file can be read for a while.
    ///
    /// # Errors
    /// When no URL can be signed.
    fn download(&self, key: &FileKey) -> Result<String, Error>;

    /// Leave to write the file for a while, with that type and length and no other.
    ///
    /// # Errors
    /// When no URL can be signed.
    fn upload(&self, key: FileKey, kind: &ContentType, size: FileSize) -> Result<Upload, Error>;
}

/// Keeps files.
pub trait FileStore: Sync {
    /// What the file is, if it is there.
    fn head(&self, key: &FileKey) -> impl Future<Output = Result<Option<File>, Error>> + Send;

    /// Deletes the file. One that is not there is deleted already.
    fn delete(&self, key: &FileKey) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The name of a bucket.
#[derive(Debug)]
struct BucketName(String);

impl FromStr for BucketName {
    type Err = &'static str;

    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>, without the
    /// dots, which TLS certificates of buckets do not cover.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (3..=63).contains(&name.len()) && name.chars().all(plain) {
            Ok(Self(name.into()))
        } else {
            Err("it must be a bucket's name: 3 to 63 lower-case letters, digits and -")
        }
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const SETTING: &str = "ATTACHMENTS_BUCKET";

/// Signs URLs of the bucket.
#[derive(Debug)]
pub struct UrlSigner(Presigner);

impl UrlSigner {
    /// For the bucket that the setting `ATTACHMENTS_BUCKET` names.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let bucket: BucketName = function::setting(SETTING)?;
        Ok(Self(aws.presigner(&bucket.0)))
    }

    fn sign(
        &self,
        method: Method,
        key: &FileKey,
        headers: &[(&str, &str)],
        now: SystemTime,
    ) -> Result<String, Error> {
        let signed = self.0.presign(method, key.as_str(), headers, URL_LIFE, now);
        signed.map_err(|error: PresignError| Error::Failed(error.into()))
    }
}

impl FileUrls for UrlSigner {
    fn download(&self, key: &FileKey) -> Result<String, Error> {
        self.sign(Method::Get, key, &[], SystemTime::now())
    }

    fn upload(&self, key: FileKey, kind: &ContentType, size: FileSize) -> Result<Upload, Error> {
        let size = size.bytes().to_string();
        let now = SystemTime::now();
        let signed = [
            ("content-length", size.as_str()),
            ("content-type", kind.as_str()),
        ];
        let url = self.sign(Method::Put, &key, &signed, now)?;
        let headers = vec![
            ("Content-Length", size),
            ("Content-Type", kind.as_str().into()),
        ];
        Ok(Upload {
            key,
            url,
            headers,
            expires_at: Timestamp::of(now + URL_LIFE),
        })
    }
}

/// The bucket.
#[derive(Debug)]
pub struct AttachmentsBucket(Objects);

impl AttachmentsBucket {
    /// The bucket that the setting `ATTACHMENTS_BUCKET` names.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let bucket: BucketName = function::setting(SETTING)?;
        Ok(Self(aws.objects(&bucket.0)))
    }
}

impl FileStore for AttachmentsBucket {
    async fn head(&self, key: &FileKey) -> Result<Option<File>, Error> {
        let object = self.0.head(key.as_str()).await.map_err(aws::failed)?;
        Ok(object.map(|object| File {
            content_type: object
                .content_type
                .unwrap_or_else(|| "application/octet-stream".into()),
            size: object.size.unwrap_or(0),
        }))
    }

    async fn delete(&self, key: &FileKey) -> Result<(), Error> {
        self.0.delete(key.as_str()).await.map_err(aws::failed)
    }
}
