//! The S3 bucket that stores the attached files.
//!
//! Browsers upload and download files with presigned URLs. A function presigns a URL without a call
//! to S3. Only the functions that delete a file or read its properties call S3.

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
    file::{ContentType, File, FileKey, FileSize, PresignedUpload},
    note::Timestamp,
};

/// The time from the creation of a presigned URL until the URL expires.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Creates presigned URLs for the files in the bucket. The unit tests use an implementation in
/// memory.
pub trait FileUrls: Sync {
    /// Creates a presigned URL to download the file `key`.
    ///
    /// # Errors
    /// Fails if the URL cannot be signed.
    fn download_url(&self, key: &FileKey) -> Result<String, Error>;

    /// Creates a presigned URL to upload the file `key`. S3 accepts only a file with the given
    /// content type and size.
    ///
    /// # Errors
    /// Fails if the URL cannot be signed.
    fn presign_upload(
        &self,
        key: FileKey,
        content_type: &ContentType,
        size: FileSize,
    ) -> Result<PresignedUpload, Error>;
}

/// Access to the files in the bucket: reads their properties, and deletes files. The unit tests use
/// an implementation in memory.
pub trait FileStore: Sync {
    /// Reads the properties of the file `key`. Returns None if the file does not exist.
    fn head(&self, key: &FileKey) -> impl Future<Output = Result<Option<File>, Error>> + Send;

    /// Deletes the file `key`. Succeeds if the file does not exist.
    fn delete(&self, key: &FileKey) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The name of an S3 bucket.
#[derive(Debug)]
struct BucketName(String);

impl FromStr for BucketName {
    type Err = &'static str;

    /// Parses the name of a bucket. Accepts the names that S3 allows
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>), except
    /// names with dots, because S3's TLS certificate does not cover the hosts of these buckets.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (3..=63).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err("it must be the name of a bucket: 3 to 63 lower-case letters, digits and -")
        }
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const BUCKET_VARIABLE: &str = "ATTACHMENTS_BUCKET";

/// Creates presigned URLs for the files in the bucket of attached files.
#[derive(Debug)]
pub struct UrlSigner(Presigner);

impl UrlSigner {
    /// Creates a signer for the bucket whose name is in the environment variable
    /// `ATTACHMENTS_BUCKET`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let bucket: BucketName = function::setting(BUCKET_VARIABLE)?;
        Ok(Self(aws.presigner(&bucket.0)))
    }

    fn sign(
        &self,
        method: Method,
        key: &FileKey,
        headers: &[(&str, &str)],
        now: SystemTime,
    ) -> Result<String, Error> {
        let signed = self
            .0
            .presign(method, key.as_str(), headers, URL_LIFETIME, now);
        signed.map_err(|error: PresignError| Error::Failed(error.into()))
    }
}

impl FileUrls for UrlSigner {
    fn download_url(&self, key: &FileKey) -> Result<String, Error> {
        self.sign(Method::Get, key, &[], SystemTime::now())
    }

    fn presign_upload(
        &self,
        key: FileKey,
        content_type: &ContentType,
        size: FileSize,
    ) -> Result<PresignedUpload, Error> {
        let size = size.bytes().to_string();
        let now = SystemTime::now();
        let signed = [
            ("content-length", size.as_str()),
            ("content-type", content_type.as_str()),
        ];
        let url = self.sign(Method::Put, &key, &signed, now)?;
        let headers = vec![
            ("Content-Length", size),
            ("Content-Type", content_type.as_str().into()),
        ];
        Ok(PresignedUpload {
            key,
            url,
            headers,
            expires_at: Timestamp::of(now + URL_LIFETIME),
        })
    }
}

/// A client of the bucket of attached files.
#[derive(Debug)]
pub struct AttachmentsBucket(Objects);

impl AttachmentsBucket {
    /// Creates a client of the bucket whose name is in the environment variable
    /// `ATTACHMENTS_BUCKET`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let bucket: BucketName = function::setting(BUCKET_VARIABLE)?;
        Ok(Self(aws.objects(&bucket.0)))
    }
}

impl FileStore for AttachmentsBucket {
    async fn head(&self, key: &FileKey) -> Result<Option<File>, Error> {
        let object = self
            .0
            .head(key.as_str())
            .await
            .map_err(aws::service_error)?;
        Ok(object.map(|object| File {
            content_type: object
                .content_type
                .unwrap_or_else(|| "application/octet-stream".into()),
            size: object.size,
        }))
    }

    async fn delete(&self, key: &FileKey) -> Result<(), Error> {
        self.0
            .delete(key.as_str())
            .await
            .map_err(aws::service_error)
    }
}
