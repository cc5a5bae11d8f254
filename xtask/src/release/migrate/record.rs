//! The record of a migration: the object `STAGE/migrations/NAME.json` in the account's bucket of releases. It
//! contains the progress, so that the next run of an interrupted migration continues where that one stopped.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::release::{
    clock::now,
    dynamodb::{Item, item_of, strings_of},
    progress,
    provenance::actor,
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
        self.after.as_ref().map(item_of)
    }

    /// Sets the key of the last item of the last completed page. `None` if it was the last page.
    ///
    /// # Errors
    /// Fails if an attribute of the key is not a string.
    pub(super) fn set_last_key(&mut self, key: Option<Item>) -> Result<()> {
        self.after = key.map(strings_of).transpose()?;
        Ok(())
    }
}

/// The record of a migration of a stage.
pub(super) type Record = progress::Record<Progress>;
