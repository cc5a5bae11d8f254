//! The ledger: what the users asked for and what the stage acknowledged, in a file outside the stage.
//!
//! The file has one JSON object per line. A line with an intent is written before the first request of an operation. A line
//! with an outcome is written, and forced to the disk, after the response that acknowledges it. An operation without an
//! outcome may or may not have happened.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The number of an operation. It is unique in a ledger.
pub(crate) type Number = u64;

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The operation that the line is about.
    pub(crate) operation: Number,
    /// The time of the line, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// What the line says about the operation.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What a line says about its operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The operation is about to be sent.
    Intent {
        /// The ID of the user's identity.
        user: String,
        /// What the user wants.
        action: Action,
    },
    /// The stage has acknowledged the operation.
    Outcome(Outcome),
}

/// What a user wants to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::enum_variant_names)] // without the part billing, all actions are about notes
pub(crate) enum Action {
    /// Create a note. The content begins with the number of this operation.
    CreateNote {
        content: String,
        /// The file of the note, which is uploaded.
        file: Option<Attachment>,
    },
    /// Replace the content of the note with this ID.
    UpdateNote { note: String, content: String },
    /// Delete the note with this ID.
    DeleteNote { note: String },
    // part: billing {
    /// Buy storage for `storage` notes for `amount` cents. No two orders of a user have the same `storage`.
    Order { storage: u64, amount: u64 },
    /// Cancel the open order with this ID.
    Cancel { purchase: String },
    // part: billing }
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    /// The key of the file in S3.
    pub(crate) key: String,
    /// The CRC-32 checksum of the content.
    pub(crate) checksum: u32,
}

/// How an acknowledged operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The operation took effect. `id` is the ID of what was created or changed.
    Done { id: String },
    // part: billing {
    /// The card was not charged. The purchase with this ID has failed.
    NotPaid { id: String },
    // part: billing }
    /// The operation was refused, and changed nothing.
    Refused,
}

/// A ledger that is open for writing.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    file: Arc<Mutex<File>>,
    last: Arc<AtomicU64>,
}

impl Ledger {
    /// Creates an empty ledger. Replaces an existing file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(Mutex::new(File::create(path)?)),
            last: Arc::default(),
        })
    }

    /// Returns the number for a new operation.
    pub(crate) fn next(&self) -> Number {
        self.last.fetch_add(1, Relaxed) + 1
    }

    /// Writes the intent of an operation.
    pub(crate) async fn intend(
        &self,
        operation: Number,
        user: &str,
        action: Action,
    ) -> io::Result<()> {
        let user = user.to_owned();
        self.write(operation, What::Intent { user, action }, false)
            .await
    }

    /// Writes the outcome of an acknowledged operation. Returns after the file is on the disk.
    pub(crate) async fn acknowledge(&self, operation: Number, outcome: Outcome) -> io::Result<()> {
        self.write(operation, What::Outcome(outcome), true).await
    }

    async fn write(&self, operation: Number, what: What, sync: bool) -> io::Result<()> {
        let at = now();
        let mut line = serde_json::to_vec(&Entry {
            operation,
            at,
            what,
        })?;
        line.push(b'\n');
        let file = Arc::clone(&self.file);
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&line)?;
            if sync { file.sync_data() } else { Ok(()) }
        };
        tokio::task::spawn_blocking(write)
            .await
            .map_err(io::Error::other)?
    }
}

/// The current time, in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Reads all lines of a ledger.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ledger_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path).unwrap();
        let (first, second) = (ledger.next(), ledger.next());
        let action = Action::DeleteNote { note: "n".into() };
        ledger.intend(first, "ada", action.clone()).await.unwrap();
        ledger.acknowledge(first, Outcome::Refused).await.unwrap();
        ledger.intend(second, "bob", action.clone()).await.unwrap();
        let read = read(&path).unwrap();
        let intent = |user: &str| What::Intent {
            user: user.into(),
            action: action.clone(),
        };
        let expected = [
            (first, intent("ada")),
            (first, What::Outcome(Outcome::Refused)),
            (second, intent("bob")),
        ];
        let read: Vec<_> = read
            .into_iter()
            .map(|entry| (entry.operation, entry.what))
            .collect();
        assert_eq!(read, expected);
    }
}
