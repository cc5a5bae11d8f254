//! The account's bucket of releases, an S3 bucket that contains function zips, files of the browser app, templates,
//! records of releases and locks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{head_object::HeadObjectOutput, put_object::PutObjectError},
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    account::Account,
    record::Release,
    table::StageName,
    template::{FUNCTIONS_PREFIX, Template, Templates, function_key},
};

/// The last part of the key of a lock's S3 object. The full key is `PATH/lock.json`. PATH is `releases/STAGE` for
/// the lock of a stage, and `artifacts` for the lock of the account's artifacts.
pub(crate) const LOCK: &str = "lock.json";

const APP_PREFIX: &str = "artifacts/app/";
const TEMPLATES_PREFIX: &str = "artifacts/templates/";
const RELEASES_PREFIX: &str = "releases/";

/// The HTTP headers of an object that S3 sends to every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectHeaders {
    /// `Content-Type`.
    pub(crate) content_type: &'static str,
    /// `Cache-Control`.
    pub(crate) cache_control: &'static str,
}

fn app_file_key(hash: &str) -> String {
    format!("{APP_PREFIX}{hash}")
}

fn template_key(hash: &str) -> String {
    format!("{TEMPLATES_PREFIX}{hash}.json")
}

fn release_key(stage: &StageName, number: u32) -> String {
    format!("{RELEASES_PREFIX}{stage}/{number:06}.json")
}

/// Returns the keys of all objects that a rollback to a release or a promotion of the release needs.
fn artifact_keys(release: &Release) -> Vec<String> {
    let promotion = release
        .promotion
        .iter()
        .flat_map(|(_, stacks)| stacks.values());
    let templates = release.stacks.values().chain(promotion);
    let code = release.functions.values();
    let files = release.app.iter().flat_map(|app| app.files.values());
    templates
        .map(|hash| template_key(hash))
        .chain(files.map(|hash| app_file_key(hash)))
        .chain(code.map(|function| function_key(&function.artifact)))
        .collect()
}

/// A client for the account's bucket of releases, which stores artifacts, release records and locks.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    s3: aws_sdk_s3::Client,
    account: Account,
    bucket: String,
}

/// The content of an S3 object, and the object's ETag.
pub(crate) struct Versioned<T> {
    /// The content of the object.
    pub(crate) value: T,
    /// The ETag of the object, for [`WriteIf::Unchanged`].
    pub(crate) etag: String,
}

/// The condition on which an S3 object is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WriteIf<'a> {
    /// Write the object without a condition.
    Always,
    /// Write the object only if no object with the same key exists.
    Absent,
    /// Write the object only if the existing object has this ETag.
    Unchanged(&'a str),
}

impl Store {
    /// Creates a client for the bucket of releases of `account`. The bucket may not exist yet: see [`Store::exists`].
    pub(crate) fn new(account: &Account) -> Self {
        let bucket = format!("scratchpad-releases-{}", account.id);
        Self {
            s3: account.s3(),
            account: account.clone(),
            bucket,
        }
    }

    /// The bucket's name.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether the bucket exists.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn exists(&self) -> Result<bool> {
        let head = self.s3.head_bucket().bucket(&self.bucket).send().await;
        let head = none_if_missing(head)
            .with_context(|| format!("cannot read the bucket {}", self.bucket))?;
        Ok(head.is_some())
    }

    /// Returns the stored releases of `stage`, the newest first.
    ///
    /// # Errors
    /// Fails if the record of a release cannot be read.
    pub(crate) async fn releases(&self, stage: &StageName) -> Result<Vec<Release>> {
        let mut keys = self.list(&format!("{RELEASES_PREFIX}{stage}/")).await?;
        keys.retain(|key| !key.ends_with(LOCK));
        let read = join_all(keys.iter().rev().map(|key| self.read::<Release>(key))).await;
        let read: Vec<_> = read.into_iter().collect::<Result<_>>()?;
        Ok(read.into_iter().flatten().map(|read| read.value).collect())
    }

    /// Returns the names of the stages that have at least one stored release.
    ///
    /// # Errors
    /// Fails if the bucket cannot be listed.
    pub(crate) async fn stages(&self) -> Result<Vec<StageName>> {
        let keys = self.list(RELEASES_PREFIX).await?;
        let mut stages: Vec<StageName> = keys
            .iter()
            .filter(|key| !key.ends_with(LOCK))
            .filter_map(|key| key.split('/').nth(1)?.parse().ok())
            .collect();
        stages.dedup();
        Ok(stages)
    }

    /// Writes the record of a release, and overwrites an earlier record of the same release.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn write_release(&self, release: &Release) -> Result<()> {
        let key = release_key(&release.stage, release.number);
        self.write(&key, release, WriteIf::Always).await?;
        Ok(())
    }

    /// Deletes the record of a release. Only [`Store::prune`] deletes the artifacts of the release, because other
    /// releases may use the same artifacts.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn delete_release(&self, release: &Release) -> Result<()> {
        self.delete(&release_key(&release.stage, release.number))
            .await
    }

    /// Whether the bucket contains no release record and no stage's lock.
    ///
    /// # Errors
    /// Fails if the bucket cannot be listed.
    pub(crate) async fn is_unused(&self) -> Result<bool> {
        Ok(self.list(RELEASES_PREFIX).await?.is_empty())
    }

    /// Deletes the artifacts that no release needs. An artifact that only releases of `removed_stage` need is deleted
    /// too. The caller must hold the lock `artifacts`.
    ///
    /// # Errors
    /// Fails if the releases cannot be read, or an artifact cannot be deleted.
    pub(crate) async fn prune(&self, removed_stage: Option<&StageName>) -> Result<()> {
        let mut needed = BTreeSet::new();
        let mut stages = self.stages().await?;
        stages.retain(|stage| Some(stage) != removed_stage);
        for stage in stages {
            needed.extend(self.releases(&stage).await?.iter().flat_map(artifact_keys));
        }
        for prefix in [APP_PREFIX, FUNCTIONS_PREFIX, TEMPLATES_PREFIX] {
            self.delete_others(prefix, &needed).await?;
        }
        Ok(())
    }

    /// Deletes all function zips in the bucket, except the zips whose hashes are in `artifacts`.
    ///
    /// # Errors
    /// Fails if the zips cannot be listed, or a zip cannot be deleted.
    pub(crate) async fn prune_code(&self, artifacts: &BTreeSet<&str>) -> Result<()> {
        let needed = artifacts.iter().map(|artifact| function_key(artifact));
        self.delete_others(FUNCTIONS_PREFIX, &needed.collect())
            .await
    }

    async fn delete_others(&self, prefix: &str, needed: &BTreeSet<String>) -> Result<()> {
        for key in self.list(prefix).await? {
            if !needed.contains(&key) {
                self.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Uploads the file `zip`, unless the bucket already contains a function zip with the hash `artifact`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or an S3 request fails.
    pub(crate) async fn upload_code(&self, artifact: &str, zip: &Path) -> Result<()> {
        self.upload(&function_key(artifact), artifact, zip).await
    }

    /// Whether the bucket contains a function zip with the hash `artifact`, and S3's checksum of the zip equals this
    /// hash:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn has_code(&self, artifact: &str) -> Result<bool> {
        self.has_hashed(&self.bucket, &function_key(artifact), artifact)
            .await
    }

    /// Copies the function zip with the hash `artifact` from the bucket `from` of another account, unless this bucket
    /// already contains the zip.
    ///
    /// # Errors
    /// Fails if a request to one of the buckets fails.
    pub(crate) async fn copy_code(&self, from: &Self, artifact: &str) -> Result<()> {
        self.copy(from, &function_key(artifact), artifact).await
    }

    /// Uploads the files of the browser app that the bucket does not contain yet. `files` maps the path of each file,
    /// relative to `folder`, to the file's hash.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or an S3 request fails.
    pub(crate) async fn upload_app_files(
        &self,
        files: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<()> {
        for (path, hash) in files {
            self.upload(&app_file_key(hash), hash, &folder.join(path))
                .await?;
        }
        Ok(())
    }

    /// Whether the bucket contains a file of the browser app for each hash in `hashes`.
    ///
    /// # Errors
    /// Fails if an S3 request fails.
    pub(crate) async fn has_app_files(
        &self,
        hashes: impl IntoIterator<Item = &String>,
    ) -> Result<bool> {
        for hash in hashes {
            let key = app_file_key(hash);
            if !self.has_hashed(&self.bucket, &key, hash).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the files of the browser app with the given hashes from the bucket `from` of another account. Skips files
    /// that this bucket already contains.
    ///
    /// # Errors
    /// Fails if a request to one of the buckets fails.
    pub(crate) async fn copy_app_files(
        &self,
        from: &Self,
        hashes: impl IntoIterator<Item = &String>,
    ) -> Result<()> {
        for hash in hashes {
            self.copy(from, &app_file_key(hash), hash).await?;
        }
        Ok(())
    }

    /// Copies a file of the browser app from this bucket to `bucket`, which serves the app. Returns false if `bucket`
    /// already contains the file at `path`.
    ///
    /// # Errors
    /// Fails if an S3 request fails.
    pub(crate) async fn publish_app_file(
        &self,
        hash: &str,
        bucket: &str,
        path: &str,
        headers: ObjectHeaders,
    ) -> Result<bool> {
        if self.has_hashed(bucket, path, hash).await? {
            return Ok(false);
        }
        let copy = self.s3.copy_object().bucket(bucket).key(path);
        let copy = copy
            .copy_source(format!("{}/{}", self.bucket, app_file_key(hash)))
            .metadata_directive(MetadataDirective::Replace)
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        copy.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot write {path} to {bucket}"))?;
        Ok(true)
    }

    /// Writes an object to `bucket`, which is another bucket than the bucket of releases. The key of the object is
    /// `path`.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn put_into(
        &self,
        bucket: &str,
        path: &str,
        content: Vec<u8>,
        headers: ObjectHeaders,
    ) -> Result<()> {
        let put = self.s3.put_object().bucket(bucket).key(path);
        let put = put
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .body(ByteStream::from(content));
        put.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot write {path} to {bucket}"))?;
        Ok(())
    }

    async fn upload(&self, key: &str, hash: &str, file: &Path) -> Result<()> {
        if self.has_hashed(&self.bucket, key, hash).await? {
            return Ok(());
        }
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.put_hashed(key, hash, content).await
    }

    async fn copy(&self, from: &Self, key: &str, hash: &str) -> Result<()> {
        if self.bucket != from.bucket && !self.has_hashed(&self.bucket, key, hash).await? {
            let content = from.get(key).await?;
            let content =
                content.with_context(|| format!("cannot find {key} in {}", from.bucket))?;
            self.put_hashed(key, hash, content.value).await?;
        }
        Ok(())
    }

    async fn has_hashed(&self, bucket: &str, key: &str, hash: &str) -> Result<bool> {
        let head = self.head(bucket, key).await?;
        Ok(head.is_some_and(|head| head.checksum_sha256() == Some(&s3_checksum(hash))))
    }

    async fn put_hashed(&self, key: &str, hash: &str, content: Vec<u8>) -> Result<()> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        // S3 rejects content whose checksum differs.
        let put = put
            .checksum_sha256(s3_checksum(hash))
            .body(ByteStream::from(content));
        put.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot write {key} to {}", self.bucket))?;
        Ok(())
    }

    /// Uploads the templates that the bucket does not contain yet.
    ///
    /// # Errors
    /// Fails if an S3 request fails.
    pub(crate) async fn upload_templates(&self, templates: &Templates) -> Result<()> {
        for template in templates.values() {
            self.upload_template(template).await?;
        }
        Ok(())
    }

    /// Reads the templates with the given hashes from the bucket. The keys of `hashes` and of the result are the
    /// stacks' names.
    ///
    /// # Errors
    /// Fails if a template is missing or cannot be read.
    pub(crate) async fn templates(&self, hashes: &BTreeMap<String, String>) -> Result<Templates> {
        let mut templates = Templates::new();
        for (stack, hash) in hashes {
            let template = self.read::<Template>(&template_key(hash)).await?;
            let template = template.with_context(|| {
                format!(
                    "cannot find the stored template of the stack {stack}; the release is too old"
                )
            })?;
            templates.insert(stack.clone(), template.value);
        }
        Ok(templates)
    }

    /// Uploads a template and returns its URL. CloudFormation accepts a template of up to 1 MB from S3, but only of up
    /// to 51,200 bytes in a request.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
    ///
    /// # Errors
    /// Fails if an S3 request fails.
    pub(crate) async fn template_url(&self, template: &Template) -> Result<String> {
        let key = self.upload_template(template).await?;
        Ok(self.account.object_url(&self.bucket, &key))
    }

    async fn upload_template(&self, template: &Template) -> Result<String> {
        let key = template_key(&template.hash());
        if self.head(&self.bucket, &key).await?.is_none() {
            let body = template.body().into_bytes();
            self.put(&key, body, WriteIf::Always).await?;
        }
        Ok(key)
    }

    /// Reads the object with the key `key`, which contains JSON. Returns `None` if the object does not exist.
    ///
    /// # Errors
    /// Fails if the S3 request fails, or the content of the object cannot be parsed as a `T`.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Versioned<T>>> {
        let Some(Versioned { value, etag }) = self.get(key).await? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&value)
            .with_context(|| format!("cannot parse {key} in {} as JSON", self.bucket))?;
        Ok(Some(Versioned { value, etag }))
    }

    /// Writes a value as JSON to the object with the key `key`. Returns the new ETag of the object. Returns `None` and
    /// writes nothing if `condition` does not hold.
    ///
    /// # Errors
    /// Fails if the S3 request fails for another reason than the condition.
    pub(crate) async fn write(
        &self,
        key: &str,
        value: &impl Serialize,
        condition: WriteIf<'_>,
    ) -> Result<Option<String>> {
        self.put(key, serde_json::to_vec_pretty(value)?, condition)
            .await
    }

    async fn put(
        &self,
        key: &str,
        content: Vec<u8>,
        condition: WriteIf<'_>,
    ) -> Result<Option<String>> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(content));
        let (put, conditional) = match condition {
            WriteIf::Always => (put, false),
            WriteIf::Absent => (put.if_none_match("*"), true),
            WriteIf::Unchanged(etag) => (put.if_match(etag), true),
        };
        match put.send().await {
            Ok(put) => Ok(Some(put.e_tag.unwrap_or_default())),
            Err(error) if conditional && is_conflict(&error) => Ok(None),
            Err(error) => Err(aws_sdk_s3::Error::from(error))
                .with_context(|| format!("cannot write {key} to {}", self.bucket)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned<Vec<u8>>>> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key);
        let object = none_if_missing(get.send().await)
            .with_context(|| format!("cannot read {key} from {}", self.bucket))?;
        let Some(object) = object else {
            return Ok(None);
        };
        let value = object.body.collect().await;
        let value =
            value.with_context(|| format!("cannot read the body of {key} from {}", self.bucket))?;
        Ok(Some(Versioned {
            value: value.to_vec(),
            etag: object.e_tag.unwrap_or_default(),
        }))
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<HeadObjectOutput>> {
        let head = self.s3.head_object().bucket(bucket).key(key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
        none_if_missing(head).with_context(|| format!("cannot read {key} from {bucket}"))
    }

    /// Deletes the object with the key `key`.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let delete = self
            .s3
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        delete
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot delete {key} from {}", self.bucket))?;
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(aws_sdk_s3::Error::from).with_context(|| {
                format!("cannot list the objects in the bucket {}", self.bucket)
            })?;
            keys.extend(
                page.contents
                    .into_iter()
                    .flatten()
                    .filter_map(|object| object.key),
            );
        }
        Ok(keys)
    }
}

/// Converts a SHA-256 hash from hexadecimal digits to Base64, which S3 uses for checksums.
fn s3_checksum(hash: &str) -> String {
    let digits = hash.as_bytes().chunks(2);
    let bytes = digits.filter_map(|byte| u8::from_str_radix(str::from_utf8(byte).ok()?, 16).ok());
    STANDARD.encode(bytes.collect::<Vec<_>>())
}

/// Returns `None` if an S3 request failed because the bucket or the object does not exist. Returns all other errors.
fn none_if_missing<T, E>(result: Result<T, SdkError<E>>) -> Result<Option<T>>
where
    E: ProvideErrorMetadata,
    aws_sdk_s3::Error: From<SdkError<E>>,
{
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.code(), Some("NotFound" | "NoSuchKey")) => Ok(None),
        Err(error) => Err(aws_sdk_s3::Error::from(error).into()),
    }
}

/// Whether a conditional write failed because its condition does not hold, or because another write of the same object
/// was in progress:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
fn is_conflict(error: &SdkError<PutObjectError>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| [404, 409, 412].contains(&response.status().as_u16()))
}

/// Deletes all versions of all objects in a bucket. A missing bucket is not an error.
///
/// # Errors
/// Fails if the object versions cannot be listed, or a version cannot be deleted.
pub(crate) async fn empty_bucket(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<()> {
    loop {
        let page = s3
            .list_object_versions()
            .bucket(bucket)
            .send()
            .await
            .map_err(aws_sdk_s3::Error::from);
        let page = match page {
            Err(error) if error.code() == Some("NoSuchBucket") => return Ok(()),
            page => page.with_context(|| {
                format!("cannot list the object versions in the bucket {bucket}")
            })?,
        };
        let versions = page
            .versions()
            .iter()
            .map(|object| (object.key(), object.version_id()));
        let markers = page
            .delete_markers()
            .iter()
            .map(|object| (object.key(), object.version_id()));
        let mut objects = Vec::new();
        for (key, version) in versions.chain(markers) {
            let object = ObjectIdentifier::builder().set_key(key.map(Into::into));
            objects.push(object.set_version_id(version.map(Into::into)).build()?);
        }
        if objects.is_empty() {
            return Ok(());
        }
        let objects = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()?;
        let deleted = s3
            .delete_objects()
            .bucket(bucket)
            .delete(objects)
            .send()
            .await;
        let deleted = deleted
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot empty the bucket {bucket}"))?;
        if let Some(error) = deleted.errors().first() {
            bail!(
                "cannot empty the bucket {bucket}: {}",
                error.message().unwrap_or("S3 gave no reason")
            );
        }
    }
}
