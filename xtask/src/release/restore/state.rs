//! The progress of a restore.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::options::{RestoreOptions, Time};
use crate::release::{clock::now, provenance::actor, table::StageName};

/// What a restore has still to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Phase {
    Copy,
    Verify,
    /// Delete the temporary table.
    CleanUp,
}

/// The progress of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// The user who started the restore.
    pub(super) actor: String,
    /// When the restore was started, in milliseconds since the Unix epoch.
    pub(super) started_at: u64,
    pub(super) from: StageName,
    pub(super) to: Time,
    pub(super) overwrite: bool,
    /// The name of the temporary table.
    pub(super) temporary: String,
    pub(super) phase: Phase,
    /// The key of the last item that this phase has handled. `None` at its start.
    pub(super) after: Option<BTreeMap<String, String>>,
    /// How many items this phase has read.
    pub(super) read: u64,
    /// How many of these items had expired.
    pub(super) expired: u64,
    /// How many of the other items the stage's table lacks.
    pub(super) missing: u64,
}

impl Progress {
    /// The progress of a restore that starts now. `source` is the name of the table whose state is restored.
    pub(super) fn start(options: &RestoreOptions, source: &str) -> Self {
        let started_at = now();
        Self {
            actor: actor(),
            started_at,
            from: options.stage.clone(),
            to: options.to,
            overwrite: options.overwrite,
            temporary: format!("{source}-restore-{}", started_at / 1000),
            phase: Phase::Copy,
            after: None,
            read: 0,
            expired: 0,
            missing: 0,
        }
    }

    /// Begins a phase.
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.after = None;
        (self.read, self.expired, self.missing) = (0, 0, 0);
    }

    /// Whether the same command started this restore.
    pub(super) fn is_of(&self, options: &RestoreOptions) -> bool {
        (&self.from, self.to, self.overwrite) == (&options.stage, options.to, options.overwrite)
    }
}
