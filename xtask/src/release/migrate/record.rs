//! The record of a migration: the object `STAGE/migrations/NAME.json` in the account's bucket of releases. It
//! contains the progress, so that the next run of an interrupted migration continues where that one stopped.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::dynamodb::{Item, text};
use crate::release::{
    clock::now,
    provenance::actor,
    store::{Store, Versioned, WriteIf},
};

/// The progress of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// The user who started the migration.
    pub(super) actor: String,
    /// When the migration was started, in milliseconds since the Unix epoch.
    pub(super) started_at: u64,
    /// The number of the pass over the table, from 1.
    pub(super) pass: u32,
    /// The key of the last item that this pass has handled, with which the next page starts (`ExclusiveStartKey`). `None` at
    /// the start of a pass.
    pub(super) after: Option<BTreeMap<String, String>>,
    /// How many items this pass has read.
    pub(super) read: u64,
    /// How many of these items needed the migration.
    pub(super) found: u64,
    /// How many items all passes have changed. If a run was killed, the items that it changed after its last write of
    /// the record are missing.
    pub(super) changed: u64,
    /// When a pass found nothing to do, in milliseconds since the Unix epoch. `None` until then.
    pub(super) done_at: Option<u64>,
}

impl Progress {
    /// The progress of a migration that starts now.
    pub(super) fn start() -> Self {
        Self {
            actor: actor(),
            started_at: now(),
            pass: 1,
            after: None,
            read: 0,
            found: 0,
            changed: 0,
            done_at: None,
        }
    }

    /// The progress of a migration of tables that were created empty by a release that does not need the migration.
    pub(super) fn not_needed() -> Self {
        Self {
            pass: 0,
            done_at: Some(now()),
            ..Self::start()
        }
    }

    /// Starts the next pass.
    pub(super) fn next_pass(&mut self) {
        self.pass += 1;
        self.after = None;
        self.read = 0;
        self.found = 0;
    }

    /// The key after which the next page starts.
    pub(super) fn start_key(&self) -> Option<Item> {
        let key = self.after.as_ref()?.iter();
        Some(
            key.map(|(name, value)| (name.clone(), text(value)))
                .collect(),
        )
    }

    /// Sets the key of the last item of the last completed page. `None` if it was the last page.
    ///
    /// # Errors
    /// Fails if an attribute of the key is not a string.
    pub(super) fn set_last_key(&mut self, key: Option<Item>) -> Result<()> {
        let Some(key) = key else {
            self.after = None;
            return Ok(());
        };
        let attributes = key.into_iter().map(|(name, value)| match value.as_s() {
            Ok(value) => Ok((name, value.clone())),
            Err(_) => bail!("the attribute {name} of a key is not a string"),
        });
        self.after = Some(attributes.collect::<Result<_>>()?);
        Ok(())
    }
}

/// The record of a migration of a stage.
#[derive(Debug)]
pub(super) struct Record {
    store: Store,
    name: &'static str,
    /// The ETag of the stored record. `None` if there is no record.
    etag: Option<String>,
}

impl Record {
    /// Reads the record of the migration `name`. Returns its progress, or `None` if the migration was never started.
    ///
    /// # Errors
    /// Fails if the record cannot be read.
    pub(super) async fn read(
        store: &Store,
        name: &'static str,
    ) -> Result<(Self, Option<Progress>)> {
        let found: Option<Versioned<Progress>> = store.read(&store.migration_key(name)).await?;
        let (etag, progress) = found.map(|found| (found.etag, found.value)).unzip();
        let record = Self {
            store: store.clone(),
            name,
            etag,
        };
        Ok((record, progress))
    }

    /// Writes the record if nobody else has changed it.
    ///
    /// # Errors
    /// Fails if another process has changed the record, or the S3 request fails.
    pub(super) async fn write(&mut self, progress: &Progress) -> Result<()> {
        let key = self.store.migration_key(self.name);
        let condition = match &self.etag {
            Some(etag) => WriteIf::Unchanged(etag),
            None => WriteIf::Absent,
        };
        if let Some(etag) = self.store.write(&key, progress, condition).await? {
            self.etag = Some(etag);
            return Ok(());
        }
        // If the response to a write is lost, the SDK repeats the write, and the condition does not hold any more.
        let found: Option<Versioned<Progress>> = self.store.read(&key).await?;
        let written = found.filter(|found| found.value == *progress);
        let written = written.with_context(|| {
            format!(
                "another process changed the record of the migration {}: wait until that process has finished, and run the command again",
                self.name
            )
        })?;
        self.etag = Some(written.etag);
        Ok(())
    }
}
