//! The account's bucket of releases, an S3 bucket that contains artifacts, records of releases and locks.
//!
//! The keys of all objects of a stage begin with the stage's name, so that an IAM role can be limited to its own
//! stages:
//!
//! | key | content |
//! |---|---|
//! | `STAGE/lock.json` | the lock of the stage |
//! | `STAGE/releases/NUMBER.json` | the record of a release |
//! | `STAGE/migrations/NAME.json` | the record of a migration |
//! | `STAGE/artifacts/functions/HASH.zip` | a function zip |
//! | `STAGE/artifacts/app/HASH` | a file of the browser app | // part: web
//! | `STAGE/artifacts/templates/HASH.json` | a CloudFormation template |
//!
//! # Integrity
//!
//! HASH is the SHA-256 hash of the object's content. An artifact is written only if no object with its key exists
//! (`If-None-Match: *`), and the bucket's policy denies all other writes of artifacts, so nobody can overwrite one. In
//! addition, this module never trusts a name: it hashes each artifact that it reads, and compares the hash with the
//! name. Before an artifact that exists already is used, its content is compared with its name too, either by the
//! SHA-256 checksum that S3 stores or by a download. S3 calculates this checksum itself when an object is written, and
//! rejects the write if the request has another checksum:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
//!
//! CloudFormation and Lambda read templates and zips after they were compared. Because nobody can overwrite an
//! artifact, they read the same content, unless someone deletes the artifact and writes another one in between. Only
//! administrators and roles that deploy the same stage may delete artifacts, and both can change the stage anyway. A
//! promotion never uses an object of the other stage directly: it hashes the content, and writes it to an object of its
//! own stage.
//!
//! Records of releases have no hash in their names. The first write of a record requires that it does not exist, and
//! each later write requires that it has not changed since. [`Record::digest`] identifies the content of a record.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{head_object::HeadObjectOutput, put_object::PutObjectError},
    primitives::ByteStream,
    types::{ChecksumMode, ChecksumType, Delete, ObjectIdentifier},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{
    account::Account,
    hash::sha256,
    record::{Record, Release},
    table::StageName,
    template::{FUNCTIONS_PREFIX, Template, Templates, function_key},
};

/// The last part of the key of a stage's lock.
const LOCK: &str = "lock.json";

const RELEASES_PREFIX: &str = "releases/";
const MIGRATIONS_PREFIX: &str = "migrations/";
const ARTIFACTS_PREFIX: &str = "artifacts/";
const APP_PREFIX: &str = "artifacts/app/"; // part: web
const TEMPLATES_PREFIX: &str = "artifacts/templates/";

/// How many requests for artifacts run at the same time.
const CONCURRENCY: usize = 16;

/// How often a write of an artifact is tried while other processes write or delete the same artifact.
const ATTEMPTS: usize = 5;

// part: web {
/// The HTTP headers of an object that S3 sends to every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectHeaders {
    /// `Content-Type`.
    pub(crate) content_type: &'static str,
    /// `Cache-Control`.
    pub(crate) cache_control: &'static str,
}
// part: web }

/// What an artifact contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Template,
    AppFile, // part: web
    FunctionZip,
}

impl Kind {
    /// Returns the S3 key of the artifact of `stage` with this hash.
    fn key(self, stage: &StageName, hash: &str) -> String {
        match self {
            Self::Template => format!("{stage}/{TEMPLATES_PREFIX}{hash}.json"),
            Self::AppFile => format!("{stage}/{APP_PREFIX}{hash}"), // part: web
            Self::FunctionZip => function_key(stage, hash),
        }
    }
}

/// Returns the kinds and hashes of all artifacts that a rollback to a release or a promotion of the release needs.
fn artifacts_of(release: &Release) -> impl Iterator<Item = (Kind, &String)> {
    let promotion = release
        .promotion
        .iter()
        .flat_map(|(_, stacks)| stacks.values());
    let templates = release.stacks.values().chain(promotion);
    let zips = release
        .functions
        .values()
        .map(|function| &function.artifact);
    let mut artifacts: Vec<_> = templates.map(|hash| (Kind::Template, hash)).collect();
    artifacts.extend(zips.map(|hash| (Kind::FunctionZip, hash)));
    // part: web {
    let files = release.app.iter().flat_map(|app| app.files.values());
    artifacts.extend(files.map(|hash| (Kind::AppFile, hash)));
    // part: web }
    artifacts.into_iter()
}

/// A client for the part of the account's bucket of releases that belongs to one stage.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    s3: aws_sdk_s3::Client,
    bucket: String,
    /// The URL of the bucket, with a slash at the end, in the form that CloudFormation accepts in a template URL.
    url: String,
    stage: StageName,
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
    /// Write the object only if no object with the same key exists.
    Absent,
    /// Write the object only if the existing object has this ETag.
    Unchanged(&'a str),
}

impl Store {
    /// Creates a client for the objects of `stage` in the bucket of releases of `account`. The bucket may not exist
    /// yet: see [`Store::exists`].
    pub(crate) fn new(account: &Account, stage: &StageName) -> Self {
        let bucket = format!("scratchpad-releases-{}", account.id);
        Self {
            s3: account.s3(),
            url: account.object_url(&bucket, ""),
            bucket,
            stage: stage.clone(),
        }
    }

    /// The bucket's name.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The stage whose objects this client reads and writes.
    pub(crate) fn stage(&self) -> &StageName {
        &self.stage
    }

    /// Whether the bucket exists. Lists objects of the stage, because IAM roles may list only these.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn exists(&self) -> Result<bool> {
        let list = self.s3.list_objects_v2().bucket(&self.bucket);
        let list = list.prefix(format!("{}/", self.stage)).max_keys(1);
        let list = none_if(list.send().await, &["NoSuchBucket"]);
        let list = list.with_context(|| format!("cannot list the bucket {}", self.bucket))?;
        Ok(list.is_some())
    }

    /// Returns the names of all stages that have objects in the bucket of `account`, also those that have only
    /// artifacts. Empty if the bucket does not exist.
    ///
    /// # Errors
    /// Fails if the bucket cannot be listed.
    pub(crate) async fn stages(account: &Account) -> Result<Vec<StageName>> {
        let s3 = account.s3();
        let bucket = format!("scratchpad-releases-{}", account.id);
        let mut stages = Vec::new();
        let mut pages = s3
            .list_objects_v2()
            .bucket(&bucket)
            .delimiter("/")
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = none_if(page, &["NoSuchBucket"])
                .with_context(|| format!("cannot list the bucket {bucket}"))?;
            let Some(page) = page else { break };
            let prefixes = page.common_prefixes().iter();
            stages.extend(prefixes.filter_map(|prefix| {
                let name = prefix.prefix()?.strip_suffix('/')?;
                name.parse::<StageName>().ok()
            }));
        }
        Ok(stages)
    }

    /// Whether the stage has neither releases nor a lock. It may still have artifacts.
    ///
    /// # Errors
    /// Fails if the bucket cannot be listed.
    pub(crate) async fn is_unused(&self) -> Result<bool> {
        let artifacts = format!("{}/{ARTIFACTS_PREFIX}", self.stage);
        let keys = self.list("").await?;
        Ok(keys.iter().all(|key| key.starts_with(&artifacts)))
    }

    /// Returns the stage's stored records of releases, the newest first. Empty if the bucket does not exist.
    ///
    /// # Errors
    /// Fails if a record cannot be read, or is the record of another release than its key says.
    pub(crate) async fn records(&self) -> Result<Vec<Record>> {
        let keys = self.list(RELEASES_PREFIX).await?;
        let read = join_all(keys.iter().rev().map(|key| self.record(key))).await;
        let read: Vec<_> = read.into_iter().collect::<Result<_>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn record(&self, key: &str) -> Result<Option<Record>> {
        let Some(object) = self.get(key).await? else {
            return Ok(None);
        };
        let release: Release = self.parse(key, &object.value)?;
        if release_key(&release) != key {
            bail!(
                "the object {key} in the bucket {} is not the record that its name says, but the record of release {} of the stage {}: someone changed the object",
                self.bucket,
                release.number,
                release.stage
            );
        }
        Ok(Some(Record {
            release,
            digest: sha256(&object.value),
        }))
    }

    /// Returns the stage's stored releases, the newest first. Empty if the bucket does not exist.
    ///
    /// # Errors
    /// Fails in the same cases as [`Store::records`].
    pub(crate) async fn releases(&self) -> Result<Vec<Release>> {
        let records = self.records().await?.into_iter();
        Ok(records.map(|record| record.release).collect())
    }

    /// Writes the record of a new release, and returns the ETag of the record.
    ///
    /// # Errors
    /// Fails if a record of a release with the same number exists, or the S3 request fails.
    pub(crate) async fn create_release(&self, release: &Release) -> Result<String> {
        self.write_release(release, WriteIf::Absent).await
    }

    /// Replaces the record of a release, and returns the new ETag of the record. `etag` is the ETag of the record that
    /// is replaced.
    ///
    /// # Errors
    /// Fails if another process has changed the record, or the S3 request fails.
    pub(crate) async fn update_release(&self, release: &Release, etag: &str) -> Result<String> {
        self.write_release(release, WriteIf::Unchanged(etag)).await
    }

    async fn write_release(&self, release: &Release, condition: WriteIf<'_>) -> Result<String> {
        let key = release_key(release);
        let content = serde_json::to_vec_pretty(release)?;
        if let Some(etag) = self.put(&key, content.clone(), None, condition).await? {
            return Ok(etag);
        }
        // If the response to a write is lost, the SDK repeats the write, and the condition does not hold any more.
        match self.get(&key).await? {
            Some(found) if found.value == content => Ok(found.etag),
            _ => bail!(
                "another process changed {key} in the bucket {}: wait until it has finished, and run the command again",
                self.bucket
            ),
        }
    }

    /// Deletes the record of a release. Only [`Store::prune`] deletes the artifacts of the release, because other
    /// releases may use the same artifacts.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn delete_release(&self, release: &Release) -> Result<()> {
        self.delete(&release_key(release)).await
    }

    /// Deletes the stage's artifacts that none of its stored releases needs. The caller must hold the stage's lock.
    ///
    /// # Errors
    /// Fails if the releases cannot be read, or an artifact cannot be deleted.
    pub(crate) async fn prune(&self) -> Result<()> {
        let releases = self.releases().await?;
        let artifacts = releases.iter().flat_map(artifacts_of);
        let needed = artifacts.map(|(kind, hash)| kind.key(&self.stage, hash));
        self.delete_others(ARTIFACTS_PREFIX, &needed.collect())
            .await
    }

    /// Deletes all artifacts of the stage. The caller must hold the stage's lock.
    ///
    /// # Errors
    /// Fails if an artifact cannot be deleted.
    pub(crate) async fn delete_artifacts(&self) -> Result<()> {
        self.delete_others(ARTIFACTS_PREFIX, &BTreeSet::new()).await
    }

    /// Deletes all function zips of the stage, except the zips whose hashes are in `artifacts`.
    ///
    /// # Errors
    /// Fails if the zips cannot be listed, or a zip cannot be deleted.
    pub(crate) async fn prune_code(&self, artifacts: &BTreeSet<&str>) -> Result<()> {
        let needed = artifacts
            .iter()
            .map(|artifact| function_key(&self.stage, artifact));
        self.delete_others(FUNCTIONS_PREFIX, &needed.collect())
            .await
    }

    /// Deletes the stage's objects below `prefix`, except those with the keys in `needed`.
    async fn delete_others(&self, prefix: &str, needed: &BTreeSet<String>) -> Result<()> {
        for key in self.list(prefix).await? {
            if !needed.contains(&key) {
                self.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Uploads the file `zip`, unless the stage already has a function zip with the hash `artifact`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or its hash is not `artifact`, if the content of an existing zip does not match
    /// its name, or if an S3 request fails.
    pub(crate) async fn upload_code(&self, artifact: &str, zip: &Path) -> Result<()> {
        self.upload(Kind::FunctionZip, artifact, zip).await
    }

    /// Whether the stage has a function zip with the hash `artifact`.
    ///
    /// # Errors
    /// Fails if the content of the zip does not match its name, or an S3 request fails.
    pub(crate) async fn has_code(&self, artifact: &str) -> Result<bool> {
        self.has(Kind::FunctionZip, artifact).await
    }

    // part: web {
    /// Whether the stage has a file of the browser app for each hash in `hashes`.
    ///
    /// # Errors
    /// Fails if the content of a file does not match its name, or an S3 request fails.
    pub(crate) async fn has_app_files(
        &self,
        hashes: impl IntoIterator<Item = &String>,
    ) -> Result<bool> {
        self.has_all(hashes.into_iter().map(|hash| (Kind::AppFile, hash)))
            .await
    }
    // part: web }

    /// Whether the stage has all artifacts that a rollback to a release or a promotion of the release needs.
    ///
    /// # Errors
    /// Fails if the content of an artifact does not match its name, or an S3 request fails.
    pub(crate) async fn has_artifacts(&self, release: &Release) -> Result<bool> {
        self.has_all(artifacts_of(release)).await
    }

    async fn has_all(&self, artifacts: impl Iterator<Item = (Kind, &String)>) -> Result<bool> {
        let artifacts: Vec<_> = artifacts.collect();
        for artifacts in artifacts.chunks(CONCURRENCY) {
            let found = artifacts.iter().map(|(kind, hash)| self.has(*kind, hash));
            for found in join_all(found).await {
                if !found? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Copies the artifacts of `release`, except for templates, from another stage's part of a bucket of
    /// releases. Skips artifacts that this stage already has. Calls `progress` with the name of each function.
    ///
    /// # Errors
    /// Fails if an artifact is missing, if the content of an artifact does not match its name, or if a request to one
    /// of the buckets fails.
    pub(crate) async fn copy_artifacts(
        &self,
        from: &Self,
        release: &Release,
        mut progress: impl FnMut(&str),
    ) -> Result<()> {
        for (name, function) in &release.functions {
            progress(name);
            self.copy(from, Kind::FunctionZip, &function.artifact)
                .await?;
        }
        // part: web {
        for hash in release.app.iter().flat_map(|app| app.files.values()) {
            self.copy(from, Kind::AppFile, hash).await?;
        }
        // part: web }
        Ok(())
    }

    async fn copy(&self, from: &Self, kind: Kind, hash: &str) -> Result<()> {
        if !self.has(kind, hash).await? {
            let content = from.read_artifact(kind, hash).await?;
            self.write_artifact(kind, hash, content).await?;
        }
        Ok(())
    }

    // part: web {
    /// Uploads the files of the browser app that the stage does not have yet. `files` maps the path of each file,
    /// relative to `folder`, to the file's hash.
    ///
    /// # Errors
    /// Fails if a file cannot be read or has another hash, if the content of an existing file does not match its name,
    /// or if an S3 request fails.
    pub(crate) async fn upload_app_files(
        &self,
        files: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<()> {
        for (path, hash) in files {
            self.upload(Kind::AppFile, hash, &folder.join(path)).await?;
        }
        Ok(())
    }
    // part: web }

    // part: web {
    /// Copies a file of the browser app to `bucket`, which serves the app. Returns false if `bucket` already contains
    /// the file at `path`.
    ///
    /// # Errors
    /// Fails if the file is missing, if its content does not match its name, or if an S3 request fails.
    pub(crate) async fn publish_app_file(
        &self,
        hash: &str,
        bucket: &str,
        path: &str,
        headers: ObjectHeaders,
    ) -> Result<bool> {
        let head = self.head(bucket, path).await?;
        if head.is_some_and(|head| has_checksum(&head, hash)) {
            return Ok(false);
        }
        // Does not use CopyObject, because it would copy the content without a comparison.
        let content = self.read_artifact(Kind::AppFile, hash).await?;
        self.put_into(bucket, path, content, headers).await?;
        Ok(true)
    }
    // part: web }

    // part: web {
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
            .checksum_sha256(s3_checksum(&sha256(&content)))
            .body(ByteStream::from(content));
        put.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("cannot write {path} to {bucket}"))?;
        Ok(())
    }
    // part: web }

    /// Uploads the templates that the stage does not have yet.
    ///
    /// # Errors
    /// Fails if the content of an existing template does not match its name, or an S3 request fails.
    pub(crate) async fn upload_templates(&self, templates: &Templates) -> Result<()> {
        for template in templates.values() {
            self.upload_template(template).await?;
        }
        Ok(())
    }

    /// Reads the templates with the given hashes. The keys of `hashes` and of the result are the stacks' names.
    ///
    /// # Errors
    /// Fails if a template is missing, if the content of a template does not match its name, or if an S3 request fails.
    pub(crate) async fn templates(&self, hashes: &BTreeMap<String, String>) -> Result<Templates> {
        let mut templates = Templates::new();
        for (stack, hash) in hashes {
            let content = self.read_artifact(Kind::Template, hash).await;
            let content = content
                .with_context(|| format!("cannot read the template of the stack {stack}"))?;
            let key = Kind::Template.key(&self.stage, hash);
            let template: Template = self.parse(&key, &content)?;
            // The template is written again below the hash of its text, so the text must not change.
            if template.hash() != *hash {
                bail!(
                    "the object {key} in the bucket {} is JSON that xtask would write in another form: deploy the stage {} again",
                    self.bucket,
                    self.stage
                );
            }
            templates.insert(stack.clone(), template);
        }
        Ok(templates)
    }

    /// Uploads a template and returns its URL. CloudFormation accepts a template of up to 1 MB from S3, but only of up
    /// to 51,200 bytes in a request.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
    ///
    /// # Errors
    /// Fails if the content of an existing template does not match its name, or an S3 request fails.
    pub(crate) async fn template_url(&self, template: &Template) -> Result<String> {
        let key = self.upload_template(template).await?;
        Ok(format!("{}{key}", self.url))
    }

    async fn upload_template(&self, template: &Template) -> Result<String> {
        let body = template.body().into_bytes();
        let hash = sha256(&body);
        if !self.has(Kind::Template, &hash).await? {
            self.write_artifact(Kind::Template, &hash, body).await?;
        }
        Ok(Kind::Template.key(&self.stage, &hash))
    }

    async fn upload(&self, kind: Kind, hash: &str, file: &Path) -> Result<()> {
        if self.has(kind, hash).await? {
            return Ok(());
        }
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let found = sha256(&content);
        if found != hash {
            bail!(
                "the file {} has changed since it was built: its SHA-256 hash is {found}, not {hash}. Run the command again",
                file.display()
            );
        }
        self.write_artifact(kind, hash, content).await
    }

    /// Whether the stage has an artifact. Fails if the content of the artifact does not match its name.
    async fn has(&self, kind: Kind, hash: &str) -> Result<bool> {
        let key = kind.key(&self.stage, hash);
        match self.head(&self.bucket, &key).await? {
            None => Ok(false),
            Some(head) if has_checksum(&head, hash) => Ok(true),
            // Another tool may have written the object without a SHA-256 checksum.
            Some(_) => Ok(self.find_artifact(kind, hash).await?.is_some()),
        }
    }

    /// Reads an artifact, and checks that its content matches its name.
    async fn read_artifact(&self, kind: Kind, hash: &str) -> Result<Vec<u8>> {
        let content = self.find_artifact(kind, hash).await?;
        content.with_context(|| {
            format!(
                "the object {} is missing in the bucket {}: deploy the stage {} again",
                kind.key(&self.stage, hash),
                self.bucket,
                self.stage
            )
        })
    }

    async fn find_artifact(&self, kind: Kind, hash: &str) -> Result<Option<Vec<u8>>> {
        let key = kind.key(&self.stage, hash);
        let Some(Versioned { value: content, .. }) = self.get(&key).await? else {
            return Ok(None);
        };
        let found = sha256(&content);
        if found != hash {
            bail!(
                "the object {key} in the bucket {} was changed: the SHA-256 hash of its content is {found}, which is not \
                 the hash in its name. Find out who wrote the object, delete it with an administrator's credentials, and \
                 run the command again. If the object is missing then, deploy the stage {} again",
                self.bucket,
                self.stage
            );
        }
        Ok(Some(content))
    }

    /// Writes an artifact. If another process has written the same artifact, checks that its content matches its name.
    async fn write_artifact(&self, kind: Kind, hash: &str, content: Vec<u8>) -> Result<()> {
        let key = kind.key(&self.stage, hash);
        for _ in 0..ATTEMPTS {
            let put = self.put(&key, content.clone(), Some(hash), WriteIf::Absent);
            if put.await?.is_some() || self.has(kind, hash).await? {
                return Ok(());
            }
            // S3 asks to repeat a write if the object was deleted at the same time.
            sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "cannot write {key} to the bucket {}: other processes write and delete it at the same time; run the command again",
            self.bucket
        )
    }

    /// The key of the stage's lock.
    pub(crate) fn lock_key(&self) -> String {
        format!("{}/{LOCK}", self.stage)
    }

    /// The key of the record of the migration `name`.
    pub(crate) fn migration_key(&self, name: &str) -> String {
        format!("{}/{MIGRATIONS_PREFIX}{name}.json", self.stage)
    }

    /// Deletes the records of the stage's migrations. The caller must hold the stage's lock.
    ///
    /// # Errors
    /// Fails if a record cannot be deleted.
    pub(crate) async fn delete_migrations(&self) -> Result<()> {
        self.delete_others(MIGRATIONS_PREFIX, &BTreeSet::new())
            .await
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
        let value = self.parse(key, &value)?;
        Ok(Some(Versioned { value, etag }))
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, content: &[u8]) -> Result<T> {
        serde_json::from_slice(content)
            .with_context(|| format!("cannot parse {key} in {} as JSON", self.bucket))
    }

    /// Writes a value as JSON to the object with the key `key`. Returns the new ETag of the object. Returns `None` and
    /// writes nothing if `condition` does not hold. If the response to a successful write is lost, also returns `None`,
    /// because the SDK repeats the write.
    ///
    /// # Errors
    /// Fails if the S3 request fails for another reason than the condition.
    pub(crate) async fn write(
        &self,
        key: &str,
        value: &impl Serialize,
        condition: WriteIf<'_>,
    ) -> Result<Option<String>> {
        self.put(key, serde_json::to_vec_pretty(value)?, None, condition)
            .await
    }

    /// Writes an object if `condition` holds, and returns its ETag. S3 rejects the content if its SHA-256 hash is not
    /// `hash`.
    async fn put(
        &self,
        key: &str,
        content: Vec<u8>,
        hash: Option<&str>,
        condition: WriteIf<'_>,
    ) -> Result<Option<String>> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        let put = put
            .set_checksum_sha256(hash.map(s3_checksum))
            .body(ByteStream::from(content));
        let put = match condition {
            WriteIf::Absent => put.if_none_match("*"),
            WriteIf::Unchanged(etag) => put.if_match(etag),
        };
        match put.send().await {
            Ok(put) => Ok(Some(put.e_tag.unwrap_or_default())),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(aws_sdk_s3::Error::from(error))
                .with_context(|| format!("cannot write {key} to {}", self.bucket)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Versioned<Vec<u8>>>> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key);
        let object = self.found(key, get.send().await, "NoSuchKey", &self.bucket);
        let object = object
            .await
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
        // The response has no body, so the SDK uses a code of its own.
        let head = self.found(key, head, "NotFound", bucket).await;
        head.with_context(|| format!("cannot read {key} from {bucket}"))
    }

    /// Returns what was read of an object, or `None` if the object does not exist. `missing` is the error code for a
    /// missing object. S3 denies reads of missing objects to IAM roles that may not list the whole bucket, so this
    /// function then lists the object: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    async fn found<T, E>(
        &self,
        key: &str,
        read: Result<T, SdkError<E>>,
        missing: &str,
        bucket: &str,
    ) -> Result<Option<T>>
    where
        E: ProvideErrorMetadata,
        aws_sdk_s3::Error: From<SdkError<E>>,
    {
        if !read.as_ref().is_err_and(|error| status(error) == Some(403)) {
            return none_if(read, &[missing]);
        }
        let list = self.s3.list_objects_v2().bucket(bucket);
        let list = list.prefix(key).max_keys(1).send().await;
        // The key itself comes before all longer keys.
        let is_missing = list.is_ok_and(|list| {
            let first = list.contents().first();
            first.and_then(|object| object.key()) != Some(key)
        });
        if is_missing {
            Ok(None)
        } else {
            none_if(read, &[])
        }
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

    /// Returns the keys of the stage's objects below `prefix`, in order. Empty if the bucket does not exist.
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}/{prefix}", self.stage))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = none_if(page, &["NoSuchBucket"]).with_context(|| {
                format!("cannot list the objects in the bucket {}", self.bucket)
            })?;
            let objects = page.and_then(|page| page.contents).into_iter().flatten();
            keys.extend(objects.filter_map(|object| object.key));
        }
        Ok(keys)
    }
}

/// Returns the S3 key of a release's record.
fn release_key(release: &Release) -> String {
    format!(
        "{}/{RELEASES_PREFIX}{:06}.json",
        release.stage, release.number
    )
}

/// Whether S3's checksum of an object says that the SHA-256 hash of the object's content is `hash`. The checksum of a
/// multipart upload is not a hash of the content.
fn has_checksum(head: &HeadObjectOutput, hash: &str) -> bool {
    head.checksum_type() != Some(&ChecksumType::Composite)
        && head.checksum_sha256() == Some(&s3_checksum(hash))
}

/// Converts a SHA-256 hash from hexadecimal digits to Base64, which S3 uses for checksums.
fn s3_checksum(hash: &str) -> String {
    let digits = hash.as_bytes().chunks(2);
    let bytes = digits.filter_map(|byte| u8::from_str_radix(str::from_utf8(byte).ok()?, 16).ok());
    STANDARD.encode(bytes.collect::<Vec<_>>())
}

/// Returns `None` if an S3 request failed with one of the error codes in `codes`. Returns all other errors.
fn none_if<T, E>(result: Result<T, SdkError<E>>, codes: &[&str]) -> Result<Option<T>>
where
    E: ProvideErrorMetadata,
    aws_sdk_s3::Error: From<SdkError<E>>,
{
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code().is_some_and(|code| codes.contains(&code)) => Ok(None),
        Err(error) => Err(aws_sdk_s3::Error::from(error).into()),
    }
}

/// Returns the code of the S3 error that caused `error`, such as `AccessDenied`. `None` if there is no S3 error or it has
/// no code.
pub(crate) fn error_code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<aws_sdk_s3::Error>()?.code()
}

/// The HTTP status of an error response. `None` if S3 did not respond.
fn status<E>(error: &SdkError<E>) -> Option<u16> {
    let response = error.raw_response()?;
    Some(response.status().as_u16())
}

/// Whether a conditional write failed because its condition does not hold, or because another write of the same object
/// was in progress. A missing bucket is another error, although its status is 404 too:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
fn is_conflict(error: &SdkError<PutObjectError>) -> bool {
    match status(error) {
        Some(409 | 412) => true,
        Some(404) => error.code() == Some("NoSuchKey"),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::release::record::App; // part: web
    use crate::release::{
        record::{Function, Outcome},
        s3_double::{Fault, S3Double, hashed},
        sources::Sources,
    };

    const BUCKET: &str = "scratchpad-releases-555555555555";
    // part: web {
    const PAGE: ObjectHeaders = ObjectHeaders {
        content_type: "text/html",
        cache_control: "no-cache",
    };
    // part: web }
    const KINDS: &[Kind] = &[
        Kind::Template,
        Kind::AppFile, // part: web
        Kind::FunctionZip,
    ];

    /// Stores a release with one artifact of each kind, and returns it.
    async fn stored_release(store: &Store, number: u32) -> Release {
        let text = format!("{} {number}", store.stage);
        let template: Template = serde_json::from_value(json!({"Description": text})).unwrap();
        store.template_url(&template).await.unwrap();
        // part: web {
        let (file, app) = hashed(&(text.clone() + "app"));
        let written = store.write_artifact(Kind::AppFile, &app, file).await;
        written.unwrap();
        // part: web }
        let (zip, function) = hashed(&(text.clone() + "zip"));
        store
            .write_artifact(Kind::FunctionZip, &function, zip)
            .await
            .unwrap();
        let release = Release {
            stacks: BTreeMap::from([("stack".into(), template.hash())]),
            // part: web {
            app: Some(App {
                sources: text,
                files: BTreeMap::from([("index.html".into(), app)]),
            }),
            // part: web }
            functions: BTreeMap::from([(
                "notes-get".into(),
                Function {
                    sources: Sources::of_binary(&function),
                    artifact: function,
                },
            )]),
            ..Release::example(store.stage.as_ref(), number)
        };
        store.create_release(&release).await.unwrap();
        release
    }

    /// Returns the message of an error, and checks that it names an object and says what to do.
    fn changed_message(error: anyhow::Error, key: &str) -> String {
        let message = format!("{error:#}");
        let expected = format!("the object {key} in the bucket {BUCKET} was changed");
        assert!(message.contains(&expected), "{message}");
        assert!(message.contains("delete it"), "{message}");
        message
    }

    #[tokio::test]
    async fn all_objects_of_a_stage_are_below_its_name() {
        let s3 = S3Double::new();
        let release = stored_release(&s3.store("pr-1"), 12).await;
        assert!(
            s3.keys().iter().all(|key| key.starts_with("pr-1/")),
            "{:?}",
            s3.keys()
        );
        for key in [
            "pr-1/releases/000012.json".to_owned(),
            format!("pr-1/artifacts/templates/{}.json", release.stacks["stack"]),
            format!(
                "pr-1/artifacts/functions/{}.zip",
                release.functions["notes-get"].artifact
            ),
            // part: web {
            format!(
                "pr-1/artifacts/app/{}",
                release.app.unwrap().files["index.html"]
            ),
            // part: web }
        ] {
            assert!(s3.keys().contains(&key), "{key}");
        }
        assert_eq!(s3.store("pr-1").lock_key(), "pr-1/lock.json");
        assert_eq!(s3.store("pr-2").releases().await.unwrap().len(), 0);
        let stages = Store::stages(&s3.account()).await.unwrap();
        assert_eq!(stages, ["pr-1".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_changed_object_is_refused_by_every_operation_that_uses_it() {
        for &kind in KINDS {
            let s3 = S3Double::new();
            let (store, other) = (s3.store("dev"), s3.store("prod"));
            let (content, hash) = hashed("content");
            store
                .write_artifact(kind, &hash, content.clone())
                .await
                .unwrap();
            assert!(store.has(kind, &hash).await.unwrap());
            assert_eq!(store.read_artifact(kind, &hash).await.unwrap(), content);

            let key = kind.key(&store.stage, &hash);
            s3.overwrite(&key, b"other content");
            changed_message(store.has(kind, &hash).await.unwrap_err(), &key);
            changed_message(store.read_artifact(kind, &hash).await.unwrap_err(), &key);
            changed_message(other.copy(&store, kind, &hash).await.unwrap_err(), &key);
            let written = store.write_artifact(kind, &hash, content).await;
            changed_message(written.unwrap_err(), &key);
            assert_eq!(s3.content(&key).unwrap(), b"other content");
            assert_eq!(s3.content(&kind.key(&other.stage, &hash)), None);

            s3.delete(&key);
            let error = format!("{:#}", other.copy(&store, kind, &hash).await.unwrap_err());
            assert!(error.contains(&format!("{key} is missing")), "{error}");
            assert!(error.contains("deploy the stage dev again"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_changed_template_is_neither_read_nor_passed_to_cloudformation() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let release = stored_release(&store, 1).await;
        let templates = store.templates(&release.stacks).await.unwrap();
        assert_eq!(templates["stack"].hash(), release.stacks["stack"]);
        let key = Kind::Template.key(&store.stage, &release.stacks["stack"]);
        assert_eq!(
            s3.content(&key).unwrap(),
            templates["stack"].body().into_bytes()
        );

        s3.overwrite(&key, br#"{"Description":"forged"}"#);
        let error = store.templates(&release.stacks).await.unwrap_err();
        let message = changed_message(error, &key);
        assert!(
            message.contains("the template of the stack stack"),
            "{message}"
        );
        // CloudFormation would read the changed object from this URL.
        changed_message(
            store.template_url(&templates["stack"]).await.unwrap_err(),
            &key,
        );
        changed_message(store.has_artifacts(&release).await.unwrap_err(), &key);
    }

    // part: web {
    #[tokio::test]
    async fn a_changed_app_file_is_not_published() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let (content, hash) = hashed("page");
        store
            .write_artifact(Kind::AppFile, &hash, content)
            .await
            .unwrap();
        let key = Kind::AppFile.key(&store.stage, &hash);
        s3.overwrite(&key, b"forged page");
        let published = store
            .publish_app_file(&hash, "web", "index.html", PAGE)
            .await;
        changed_message(published.unwrap_err(), &key);
        assert_eq!(s3.content("index.html"), None);
        s3.delete(&key);
        store
            .write_artifact(Kind::AppFile, &hash, b"page".into())
            .await
            .unwrap();
        for is_new in [true, false] {
            let published = store
                .publish_app_file(&hash, "web", "index.html", PAGE)
                .await;
            assert_eq!(published.unwrap(), is_new);
        }
        assert_eq!(s3.content("index.html").unwrap(), b"page");
    }
    // part: web }

    #[tokio::test]
    async fn an_object_without_a_checksum_is_downloaded_and_compared() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let (content, hash) = hashed("content");
        let key = Kind::FunctionZip.key(&store.stage, &hash);
        s3.overwrite(&key, &content);
        assert!(store.has_code(&hash).await.unwrap());
        let downloads = |attempts: Vec<String>| {
            attempts
                .iter()
                .any(|attempt| *attempt == format!("GET {key}"))
        };
        assert!(downloads(s3.attempts()));

        let s3 = S3Double::new();
        let store = s3.store("dev");
        store
            .write_artifact(Kind::FunctionZip, &hash, content)
            .await
            .unwrap();
        assert!(store.has_code(&hash).await.unwrap());
        assert!(!downloads(s3.attempts()), "the checksum of S3 is enough");
    }

    #[tokio::test]
    async fn a_file_that_changed_since_the_build_is_not_uploaded() {
        let s3 = S3Double::new();
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("a.zip");
        fs::write(&zip, "changed").unwrap();
        let uploaded = s3.store("dev").upload_code(&hashed("built").1, &zip).await;
        let error = format!("{:#}", uploaded.unwrap_err());
        assert!(
            error.contains("a.zip has changed since it was built"),
            "{error}"
        );
        assert_eq!(s3.keys(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn artifacts_are_written_once_even_if_responses_are_lost_or_writes_conflict() {
        for faults in [
            vec![Fault::LostResponse],
            vec![Fault::Error(409, "ConditionalRequestConflict")],
            vec![Fault::Error(503, "SlowDown"), Fault::LostResponse],
        ] {
            let s3 = S3Double::new();
            let store = s3.store("dev");
            let (content, hash) = hashed("content");
            s3.fail("PUT", faults);
            store
                .write_artifact(Kind::Template, &hash, content.clone())
                .await
                .unwrap();
            let key = Kind::Template.key(&store.stage, &hash);
            assert_eq!(s3.content(&key).unwrap(), content);
        }
    }

    #[tokio::test]
    async fn a_record_is_never_overwritten_by_another_release_or_after_another_write() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let mut release = Release::example("dev", 1);
        release.outcome = Outcome::InProgress;
        let etag = store.create_release(&release).await.unwrap();
        let other = Release {
            actor: "someone else".into(),
            ..release.clone()
        };
        let error = format!("{:#}", store.create_release(&other).await.unwrap_err());
        assert!(
            error.contains("another process changed dev/releases/000001.json"),
            "{error}"
        );

        release.outcome = Outcome::Done;
        let etag = store.update_release(&release, &etag).await.unwrap();
        store.update_release(&other, &etag).await.unwrap();
        assert!(store.update_release(&release, &etag).await.is_err());
        let stored = store.releases().await.unwrap();
        assert_eq!(stored.first().unwrap().actor, "someone else");
    }

    #[tokio::test]
    async fn a_record_is_written_although_the_response_is_lost() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let mut release = Release::example("dev", 1);
        s3.fail("PUT", [Fault::LostResponse]);
        let etag = store.create_release(&release).await.unwrap();
        release.actor = "someone".into();
        s3.fail("PUT", [Fault::LostResponse]);
        let etag = store.update_release(&release, &etag).await.unwrap();
        release.actor = "someone else".into();
        store.update_release(&release, &etag).await.unwrap();
    }

    #[tokio::test]
    async fn the_digest_of_a_record_changes_with_every_byte_and_its_name_must_match() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        store
            .create_release(&Release::example("dev", 1))
            .await
            .unwrap();
        let records = store.records().await.unwrap();
        let digest = records.first().unwrap().digest.clone();
        let key = "dev/releases/000001.json";
        let content = s3.content(key).unwrap();
        assert_eq!(digest, sha256(&content));
        s3.overwrite(key, &[&content[..], b" "].concat());
        assert_ne!(
            store.records().await.unwrap().first().unwrap().digest,
            digest
        );

        // The record of another release is written over the record.
        for (stage, number) in [("dev", 2), ("pr-1", 1)] {
            let other = serde_json::to_vec(&Release::example(stage, number)).unwrap();
            s3.overwrite(key, &other);
            let error = format!("{:#}", store.records().await.unwrap_err());
            assert!(error.contains(key) && error.contains(BUCKET), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_bucket_is_an_empty_one_for_reads_and_an_error_for_writes() {
        let s3 = S3Double::without_bucket();
        let store = s3.store("dev");
        assert!(!store.exists().await.unwrap());
        assert!(store.releases().await.unwrap().is_empty());
        assert!(store.is_unused().await.unwrap());
        assert_eq!(Store::stages(&s3.account()).await.unwrap(), Vec::new());
        let created = store.create_release(&Release::example("dev", 1)).await;
        let error = format!("{:#}", created.unwrap_err());
        assert!(error.contains("NoSuchBucket"), "{error}");
        for condition in [WriteIf::Absent, WriteIf::Unchanged("\"1\"")] {
            assert!(
                store
                    .write("dev/lock.json", &Value::Null, condition)
                    .await
                    .is_err()
            );
        }
        assert!(S3Double::new().store("dev").exists().await.unwrap());
    }

    #[tokio::test]
    async fn a_denied_read_of_a_missing_object_finds_that_it_is_missing() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let denied = || [Fault::Error(403, "AccessDenied")];
        s3.fail("GET", denied());
        assert!(
            store
                .read::<Value>("dev/lock.json")
                .await
                .unwrap()
                .is_none()
        );
        s3.fail("HEAD", denied());
        assert!(!store.has_code("0a").await.unwrap());

        s3.overwrite("dev/lock.json", b"{}");
        s3.fail("GET", denied());
        assert!(store.read::<Value>("dev/lock.json").await.is_err());
        s3.overwrite("dev/artifacts/functions/0a.zip", b"");
        s3.fail("HEAD", denied());
        assert!(store.has_code("0a").await.is_err());
    }

    #[tokio::test]
    async fn only_unneeded_artifacts_of_the_own_stage_are_pruned() {
        let s3 = S3Double::new();
        let (dev, prod) = (s3.store("dev"), s3.store("prod"));
        let old = stored_release(&dev, 1).await;
        stored_release(&dev, 2).await;
        let of_prod = stored_release(&prod, 1).await;
        let artifacts = |stage: &str| {
            let folder = format!("{stage}/artifacts/");
            let keys = s3.keys().into_iter();
            keys.filter(|key| key.starts_with(&folder)).count()
        };
        dev.delete_release(&old).await.unwrap();
        dev.prune().await.unwrap();
        assert_eq!(artifacts("dev"), artifacts("prod"), "{:?}", s3.keys());
        assert!(prod.has_artifacts(&of_prod).await.unwrap());
        assert!(!dev.has_artifacts(&old).await.unwrap());

        prod.delete_release(&of_prod).await.unwrap();
        assert!(prod.is_unused().await.unwrap());
        prod.delete_artifacts().await.unwrap();
        assert!(s3.keys().iter().all(|key| key.starts_with("dev/")));
        assert!(!dev.is_unused().await.unwrap());
    }
}
