//! The progress of a migration or a restore: the object `STAGE/migrations/NAME.json` in the account's bucket of releases.
//! The next run of an interrupted command continues where that one stopped.

use std::marker::PhantomData;

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};

use super::store::{Store, Versioned, WriteIf};

/// The stored progress of a command. It contains a `T`.
#[derive(Debug)]
pub(super) struct Record<T> {
    store: Store,
    name: String,
    /// The ETag of the stored record. `None` if there is no record.
    etag: Option<String>,
    content: PhantomData<T>,
}

impl<T: DeserializeOwned + PartialEq + Serialize> Record<T> {
    /// Reads the record of the command `name`. Returns its progress, or `None` if it was never started.
    ///
    /// # Errors
    /// Fails if the record cannot be read.
    pub(super) async fn read(store: &Store, name: &str) -> Result<(Self, Option<T>)> {
        let found: Option<Versioned<T>> = store.read(&store.migration_key(name)).await?;
        let (etag, progress) = found.map(|found| (found.etag, found.value)).unzip();
        let record = Self {
            store: store.clone(),
            name: name.to_owned(),
            etag,
            content: PhantomData,
        };
        Ok((record, progress))
    }

    /// Writes the record if nobody else has changed it.
    ///
    /// # Errors
    /// Fails if another process has changed the record, or the S3 request fails.
    pub(super) async fn write(&mut self, progress: &T) -> Result<()> {
        let key = self.store.migration_key(&self.name);
        let condition = match &self.etag {
            Some(etag) => WriteIf::Unchanged(etag),
            None => WriteIf::Absent,
        };
        if let Some(etag) = self.store.write(&key, progress, condition).await? {
            self.etag = Some(etag);
            return Ok(());
        }
        // If the response to a write is lost, the SDK repeats the write, and the condition does not hold any more.
        let found: Option<Versioned<T>> = self.store.read(&key).await?;
        let written = found.filter(|found| found.value == *progress);
        let written = written.with_context(|| {
            format!(
                "another process changed the record of {}: wait until that process has finished, and run the command again",
                self.name
            )
        })?;
        self.etag = Some(written.etag);
        Ok(())
    }
    /// Deletes the record, as if the command had never been started.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(super) async fn delete(&mut self) -> Result<()> {
        self.store
            .delete(&self.store.migration_key(&self.name))
            .await?;
        self.etag = None;
        Ok(())
    }
}
