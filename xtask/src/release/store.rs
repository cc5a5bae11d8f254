//! What an account knows of its releases: a bucket with the code of functions, templates and records.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use aws_sdk_s3::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{head_object::HeadObjectOutput, put_object::PutObjectError},
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    account::Account,
    app::App,
    sources::Sources,
    table::{Architecture, Infrastructure, StageName},
    template::{Template, Templates, artefact_key},
};

/// The account's bucket.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    s3: aws_sdk_s3::Client,
    account: Account,
    bucket: String,
}

/// How a release ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// It has not, or what did it was killed.
    UnderWay,
    /// The stage runs it.
    Done,
    /// The stage runs what it ran before.
    Failed,
}

/// What was deployed to a stage, by whom, and from what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Release {
    /// The stage that it is of.
    pub(crate) stage: StageName,
    /// Counted from 1, for each stage.
    pub(crate) number: u32,
    /// When it began, in milliseconds since the epoch.
    pub(crate) at: u64,
    /// Who did it.
    pub(crate) who: String,
    /// The commit that it is made from.
    pub(crate) commit: Option<String>,
    /// The branch.
    pub(crate) branch: Option<String>,
    /// Whether there were changes that no commit has.
    pub(crate) dirty: bool,
    /// The release that this one is a copy of.
    pub(crate) from: Option<(StageName, u32)>,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// What was changed, or why nothing was.
    pub(crate) changes: Vec<String>,
    /// Of the functions.
    pub(crate) architecture: Architecture,
    /// Whose tables, bucket and users the stage works with.
    pub(crate) infrastructure: Infrastructure,
    /// The functions, by name.
    pub(crate) functions: BTreeMap<String, Function>,
    /// The browser app.
    pub(crate) app: Option<App>,
    /// The hashes of the templates, by the stacks' names.
    pub(crate) stacks: BTreeMap<String, String>,
    /// The same release for the stage that it may go to.
    pub(crate) promotes: Option<(StageName, BTreeMap<String, String>)>,
}

/// A function of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// The hash of its zip.
    pub(crate) artefact: String,
    /// What it was made from.
    pub(crate) sources: Sources,
}

impl Release {
    /// Whether its browser app was built from sources with this hash.
    pub(crate) fn has_app(&self, sources: &str) -> bool {
        self.app.as_ref().is_some_and(|app| app.sources == sources)
    }

    /// The names of all that the release needs to be deployed again.
    fn needs(&self) -> impl Iterator<Item = String> {
        let promoted = self.promotes.iter().flat_map(|(_, stacks)| stacks.values());
        let templates = self
            .stacks
            .values()
            .chain(promoted)
            .map(|hash| template_key(hash));
        let code = self
            .functions
            .values()
            .map(|function| artefact_key(&function.artefact));
        let files = self.app.iter().flat_map(|app| app.files.values());
        let files = files.map(|hash| file_key(hash));
        templates
            .chain(files)
            .chain(code)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// What a lock's object is called.
pub(crate) const LOCK: &str = "lock.json";

/// Milliseconds since the epoch.
pub(crate) fn now() -> u64 {
    UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis() as u64)
}

fn file_key(hash: &str) -> String {
    format!("artefacts/app/{hash}")
}

fn template_key(hash: &str) -> String {
    format!("artefacts/templates/{hash}.json")
}

fn release_key(stage: &StageName, number: u32) -> String {
    format!("releases/{stage}/{number:06}.json")
}

/// An object as it was read.
pub(crate) struct Read<T> {
    /// What it holds.
    pub(crate) value: T,
    /// Its version, for whoever writes it next.
    pub(crate) tag: String,
}

impl Store {
    /// The account's bucket, which has to be there before anything is kept in it.
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

    /// Whether the account has one.
    ///
    /// # Errors
    /// When S3 does not say.
    pub(crate) async fn exists(&self) -> Result<bool> {
        let head = self.s3.head_bucket().bucket(&self.bucket).send().await;
        let head =
            found(head).with_context(|| format!("the bucket {} cannot be read", self.bucket))?;
        Ok(head.is_some())
    }

    /// The releases of a stage, the newest first.
    ///
    /// # Errors
    /// When S3 does not give them.
    pub(crate) async fn releases(&self, stage: &StageName) -> Result<Vec<Release>> {
        let mut keys = self.list(&format!("releases/{stage}/")).await?;
        keys.retain(|key| !key.ends_with(LOCK));
        let read = join_all(keys.iter().rev().map(|key| self.read::<Release>(key))).await;
        let read: Vec<_> = read.into_iter().collect::<Result<_>>()?;
        Ok(read.into_iter().flatten().map(|read| read.value).collect())
    }

    /// The stages that have releases.
    ///
    /// # Errors
    /// When S3 does not give them.
    pub(crate) async fn stages(&self) -> Result<Vec<StageName>> {
        let keys = self.list("releases/").await?;
        let mut stages: Vec<StageName> = keys
            .iter()
            .filter(|key| !key.ends_with(LOCK))
            .filter_map(|key| key.split('/').nth(1)?.parse().ok())
            .collect();
        stages.dedup();
        Ok(stages)
    }

    /// Writes a release down.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn record(&self, release: &Release) -> Result<()> {
        self.write(&release_key(&release.stage, release.number), release, None)
            .await?;
        Ok(())
    }

    /// Forgets a release. What it needs stays, for others may need it.
    ///
    /// # Errors
    /// When S3 does not delete it.
    pub(crate) async fn forget(&self, release: &Release) -> Result<()> {
        self.delete(&release_key(&release.stage, release.number))
            .await
    }

    /// Whether there is neither a release nor a lock of any stage.
    ///
    /// # Errors
    /// When S3 does not say.
    pub(crate) async fn is_unused(&self) -> Result<bool> {
        Ok(self.list("releases/").await?.is_empty())
    }

    /// Deletes what no release needs any more, but for those of a stage that goes. Nobody may be about to release
    /// anything.
    ///
    /// # Errors
    /// When S3 does not delete it.
    pub(crate) async fn tidy(&self, going: Option<&StageName>) -> Result<()> {
        let mut needed = BTreeSet::new();
        let mut stages = self.stages().await?;
        stages.retain(|stage| Some(stage) != going);
        for stage in stages {
            needed.extend(self.releases(&stage).await?.iter().flat_map(Release::needs));
        }
        for prefix in [
            "artefacts/app/",
            "artefacts/functions/",
            "artefacts/templates/",
        ] {
            for key in self.list(prefix).await? {
                if !needed.contains(&key) {
                    self.delete(&key).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes all code of functions but this.
    ///
    /// # Errors
    /// When S3 does not delete it.
    pub(crate) async fn keep_only(&self, artefacts: &BTreeSet<&str>) -> Result<()> {
        let wanted: BTreeSet<String> = artefacts
            .iter()
            .map(|artefact| artefact_key(artefact))
            .collect();
        for key in self.list("artefacts/functions/").await? {
            if !wanted.contains(&key) {
                self.delete(&key).await?;
            }
        }
        Ok(())
    }

    /// Keeps the code of a function.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn keep_code(&self, artefact: &str, zip: &Path) -> Result<()> {
        if self.has_code(artefact).await? {
            return Ok(());
        }
        let content = fs::read(zip).with_context(|| format!("{} cannot be read", zip.display()))?;
        self.put_hashed(&artefact_key(artefact), artefact, content)
            .await
    }

    /// Whether it has the code of a function, and that is what its name says: S3 has counted it itself.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    ///
    /// # Errors
    /// When S3 does not say.
    pub(crate) async fn has_code(&self, artefact: &str) -> Result<bool> {
        self.has_hashed(&self.bucket, &artefact_key(artefact), artefact)
            .await
    }

    async fn has_hashed(&self, bucket: &str, key: &str, hash: &str) -> Result<bool> {
        let head = self.head(bucket, key).await?;
        Ok(head.is_some_and(|head| head.checksum_sha256() == Some(&checksum(hash))))
    }

    /// Keeps the files of the browser app.
    ///
    /// # Errors
    /// When S3 does not take them.
    pub(crate) async fn keep_app(&self, app: &App, folder: &Path) -> Result<()> {
        for (path, hash) in &app.files {
            let key = file_key(hash);
            let path = folder.join(path);
            if !self.has_hashed(&self.bucket, &key, hash).await? {
                let content = fs::read(&path)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                self.put_hashed(&key, hash, content).await?;
            }
        }
        Ok(())
    }

    /// Whether it has all files of the browser app.
    ///
    /// # Errors
    /// When S3 does not say.
    pub(crate) async fn has_app(&self, app: &App) -> Result<bool> {
        for hash in app.files.values() {
            if !self.has_hashed(&self.bucket, &file_key(hash), hash).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a file of the browser app into the bucket that it is served from. Returns whether it was not there.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn publish(
        &self,
        hash: &str,
        bucket: &str,
        path: &str,
        kind: &str,
    ) -> Result<bool> {
        if self.has_hashed(bucket, path, hash).await? {
            return Ok(false);
        }
        let copy = self.s3.copy_object().bucket(bucket).key(path);
        let copy = copy
            .copy_source(format!("{}/{}", self.bucket, file_key(hash)))
            .metadata_directive(MetadataDirective::Replace)
            .content_type(kind)
            .checksum_algorithm(ChecksumAlgorithm::Sha256);
        copy.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("{path} cannot be put into {bucket}"))?;
        Ok(true)
    }

    /// Puts a file into another bucket.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn put_in(
        &self,
        bucket: &str,
        path: &str,
        content: Vec<u8>,
        kind: &str,
    ) -> Result<()> {
        let put = self.s3.put_object().bucket(bucket).key(path);
        let put = put.content_type(kind).body(ByteStream::from(content));
        put.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("{path} cannot be put into {bucket}"))?;
        Ok(())
    }

    async fn put_hashed(&self, key: &str, hash: &str, content: Vec<u8>) -> Result<()> {
        let put = self.s3.put_object().bucket(&self.bucket).key(key);
        // S3 takes no other bytes than those that the name is the hash of.
        let put = put
            .checksum_sha256(checksum(hash))
            .body(ByteStream::from(content));
        put.send()
            .await
            .map_err(aws_sdk_s3::Error::from)
            .with_context(|| format!("{key} cannot be kept in {}", self.bucket))?;
        Ok(())
    }

    /// Takes over the code of a function from another account.
    ///
    /// # Errors
    /// When one of the two does not give or take it.
    pub(crate) async fn copy_code(&self, from: &Self, artefact: &str) -> Result<()> {
        if self.bucket != from.bucket && !self.has_code(artefact).await? {
            let key = artefact_key(artefact);
            let content = from.get(&key).await?;
            let content = content.with_context(|| format!("{} has no {key}", from.bucket))?;
            self.put_hashed(&key, artefact, content.value).await?;
        }
        Ok(())
    }

    /// Takes over the browser app from another account.
    ///
    /// # Errors
    /// When one of the two does not give or take it.
    pub(crate) async fn copy_app(&self, from: &Self, app: &App) -> Result<()> {
        for hash in app.files.values() {
            let key = file_key(hash);
            if self.bucket != from.bucket && !self.has_hashed(&self.bucket, &key, hash).await? {
                let content = from.get(&key).await?;
                let content = content.with_context(|| format!("{} has no {key}", from.bucket))?;
                self.put_hashed(&key, hash, content.value).await?;
            }
        }
        Ok(())
    }

    /// Keeps templates. Returns their hashes.
    ///
    /// # Errors
    /// When S3 does not take them.
    pub(crate) async fn keep_templates(
        &self,
        templates: &Templates,
    ) -> Result<BTreeMap<String, String>> {
        let mut hashes = BTreeMap::new();
        for (stack, template) in templates {
            let hash = template.hash();
            let key = template_key(&hash);
            if !self.holds(&key).await? {
                self.put(&key, template.body().into_bytes(), None).await?;
            }
            hashes.insert(stack.clone(), hash);
        }
        Ok(hashes)
    }

    /// Templates that were kept.
    ///
    /// # Errors
    /// When S3 does not give them.
    pub(crate) async fn templates(&self, hashes: &BTreeMap<String, String>) -> Result<Templates> {
        let mut templates = Templates::new();
        for (stack, hash) in hashes {
            let template = self.read::<Template>(&template_key(hash)).await?;
            let template = template
                .with_context(|| format!("the template of {stack} is not kept any more"))?;
            templates.insert(stack.clone(), template.value);
        }
        Ok(templates)
    }

    /// Where CloudFormation finds a template, which it takes up to 1 MB of from S3 and 51,200 bytes of otherwise.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn template_url(&self, template: &Template) -> Result<String> {
        let key = template_key(&template.hash());
        if !self.holds(&key).await? {
            self.put(&key, template.body().into_bytes(), None).await?;
        }
        Ok(self.account.object_url(&self.bucket, &key))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// When S3 does not give it, or it is not what it should be.
    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Read<T>>> {
        let Some(Read { value, tag }) = self.get(key).await? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&value)
            .with_context(|| format!("{key} in {} is damaged", self.bucket))?;
        Ok(Some(Read { value, tag }))
    }

    /// Writes an object.
    ///
    /// # Errors
    /// When S3 does not take it.
    pub(crate) async fn write(
        &self,
        key: &str,
        value: &impl Serialize,
        tag: Option<&str>,
    ) -> Result<Option<String>> {
        self.put(key, serde_json::to_vec_pretty(value)?, tag).await
    }

    /// Writes an object that nobody has written since it was read: its tag is the same, or it was not there ("").
    /// Returns the new tag; none when somebody has.
    async fn put(&self, key: &str, content: Vec<u8>, tag: Option<&str>) -> Result<Option<String>> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(content));
        let put = match tag {
            None => put,
            Some("") => put.if_none_match("*"),
            Some(tag) => put.if_match(tag),
        };
        match put.send().await {
            Ok(put) => Ok(Some(put.e_tag.unwrap_or_default())),
            Err(error) if tag.is_some() && is_conflict(&error) => Ok(None),
            Err(error) => Err(aws_sdk_s3::Error::from(error))
                .with_context(|| format!("{key} cannot be kept in {}", self.bucket)),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Read<Vec<u8>>>> {
        let get = self.s3.get_object().bucket(&self.bucket).key(key);
        let object = found(get.send().await)
            .with_context(|| format!("{key} cannot be read from {}", self.bucket))?;
        let Some(object) = object else {
            return Ok(None);
        };
        let value = object.body.collect().await;
        let value = value.with_context(|| format!("{key} cannot be read to its end"))?;
        Ok(Some(Read {
            value: value.to_vec(),
            tag: object.e_tag.unwrap_or_default(),
        }))
    }

    async fn holds(&self, key: &str) -> Result<bool> {
        Ok(self.head(&self.bucket, key).await?.is_some())
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<HeadObjectOutput>> {
        let head = self.s3.head_object().bucket(bucket).key(key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await;
        found(head).with_context(|| format!("{key} cannot be looked for in {bucket}"))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// When S3 does not.
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
            .with_context(|| format!("{key} cannot be deleted from {}", self.bucket))?;
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
            let page = page
                .map_err(aws_sdk_s3::Error::from)
                .with_context(|| format!("{} cannot be listed", self.bucket))?;
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

/// A hash as S3 writes it.
fn checksum(artefact: &str) -> String {
    let digits = artefact.as_bytes().chunks(2);
    let bytes = digits.filter_map(|byte| u8::from_str_radix(str::from_utf8(byte).ok()?, 16).ok());
    STANDARD.encode(bytes.collect::<Vec<_>>())
}

/// What S3 has, or that there is no such thing.
fn found<T, E>(answer: Result<T, SdkError<E>>) -> Result<Option<T>>
where
    E: ProvideErrorMetadata,
    aws_sdk_s3::Error: From<SdkError<E>>,
{
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.code(), Some("NotFound" | "NoSuchKey")) => Ok(None),
        Err(error) => Err(aws_sdk_s3::Error::from(error).into()),
    }
}

/// Whether somebody else has written the object.
fn is_conflict(error: &SdkError<PutObjectError>) -> bool {
    error
        .raw_response()
        .is_some_and(|response| [404, 409, 412].contains(&response.status().as_u16()))
}

/// Deletes all that is in a bucket, in all its versions.
///
/// # Errors
/// When S3 does not.
pub(crate) async fn empty(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<()> {
    loop {
        let page = s3
            .list_object_versions()
            .bucket(bucket)
            .send()
            .await
            .map_err(aws_sdk_s3::Error::from);
        let page = match page {
            Err(error) if error.code() == Some("NoSuchBucket") => return Ok(()),
            page => page.with_context(|| format!("{bucket} cannot be listed"))?,
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
            .with_context(|| format!("{bucket} cannot be emptied"))?;
        if let Some(error) = deleted.errors().first() {
            anyhow::bail!(
                "{bucket} cannot be emptied: {}",
                error.message().unwrap_or("S3 does not say why")
            );
        }
    }
}
