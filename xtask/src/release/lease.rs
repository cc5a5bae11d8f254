//! Locks between processes. A lock is an object in the account's bucket of releases. The lock expires unless the
//! process that holds it renews it.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use uuid::Uuid;

use super::{
    clock::now,
    provenance::actor,
    store::{LOCK, Store, Versioned, WriteIf},
};
use crate::process;

/// The time from the last renewal of a lock until the lock expires. If a process that holds a lock is killed, processes
/// on other machines must wait up to this long for the lock.
const DURATION: Duration = Duration::from_secs(60);

/// A text that is in the command line of every process that can hold a lock. If no running process has both the
/// holder's process ID and this text, the holder has exited.
const PROCESS_NAME: &str = "xtask";

/// The content of a lock's object in the bucket: which process holds the lock, and until when.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    id: Uuid,
    #[serde(rename = "who")]
    actor: String,
    #[serde(rename = "what")]
    purpose: String,
    host: String,
    /// The name and the boot ID of the holder's host. Only a process with the same `machine` can check whether the
    /// holder still runs.
    machine: String,
    process: i32,
    /// When the lock was taken, in milliseconds since the Unix epoch.
    since: u64,
    /// When the lock expires unless it is renewed, in milliseconds since the Unix epoch.
    #[serde(rename = "until")]
    expires: u64,
}

impl Holder {
    fn new(purpose: &str) -> Result<Self> {
        let host = uname().nodename().to_string_lossy().into_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            id: Uuid::now_v7(),
            actor: actor(),
            purpose: purpose.into(),
            machine: format!("{host} {}", boot.trim()),
            host,
            process: std::process::id().try_into()?,
            since: now(),
            expires: now() + DURATION.as_millis() as u64,
        })
    }

    /// Whether the lock has expired, or the holder is a process of this machine that has exited. `machine` identifies
    /// this machine.
    fn is_gone(&self, machine: &str) -> bool {
        now() > self.expires
            || (self.machine == machine && process::running(self.process, PROCESS_NAME).is_none())
    }
}

/// A lock that this process holds. A background task renews the lock.
pub(crate) struct Lease {
    store: Store,
    key: String,
    renewal: JoinHandle<()>,
    lost: Arc<Notify>,
}

impl Lease {
    /// Takes the lock at `path` in the account's bucket. Does not wait if another process holds the lock. `purpose` is
    /// what this process does with the lock, such as "a deploy".
    ///
    /// # Errors
    /// Fails if another process holds the lock. The message says which user runs the other process, on which host, for
    /// what purpose, and since when.
    pub(crate) async fn take(store: &Store, path: &str, purpose: &str) -> Result<Self> {
        match Self::try_take(store, path, purpose).await? {
            Ok(lease) => Ok(lease),
            Err(holder) => {
                let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
                bail!(
                    "{} is locked: {} on {} began {} {} s ago. Try again when that process has finished; if it was \
                     killed, the lock expires in {} s",
                    path.trim_start_matches("releases/"),
                    holder.actor,
                    holder.host,
                    holder.purpose,
                    seconds(holder.since, now()),
                    seconds(now(), holder.expires)
                )
            }
        }
    }

    /// Waits until the lock at `path` is free, and takes it. For locks that processes hold for only a few seconds.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn wait(store: &Store, path: &str, purpose: &str) -> Result<Self> {
        loop {
            if let Ok(lease) = Self::try_take(store, path, purpose).await? {
                return Ok(lease);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_take(store: &Store, path: &str, purpose: &str) -> Result<Result<Self, Holder>> {
        let key = format!("{path}/{LOCK}");
        loop {
            let holder = Holder::new(purpose)?;
            let found: Option<Versioned<Holder>> = store.read(&key).await?;
            let condition = match &found {
                None => WriteIf::Absent,
                Some(Versioned { value, etag }) if value.is_gone(&holder.machine) => {
                    WriteIf::Unchanged(etag)
                }
                Some(Versioned { value, .. }) => return Ok(Err(value.clone())),
            };
            // If another process wrote the lock first, read it again.
            let Some(etag) = store.write(&key, &holder, condition).await? else {
                continue;
            };
            let lost = Arc::new(Notify::new());
            let renewal = renew(store.clone(), key.clone(), holder, etag, lost.clone());
            return Ok(Ok(Self {
                store: store.clone(),
                key,
                renewal: tokio::spawn(renewal),
                lost,
            }));
        }
    }

    /// Runs `work` while this process holds the lock, then releases the lock.
    ///
    /// # Errors
    /// Returns the error of `work`. Also fails if the lock cannot be released, or if another process takes the lock
    /// during `work`, for example because this machine was suspended and the lock expired.
    pub(crate) async fn during<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            result = work => result,
            // Return without deleting the lock, because another process holds it now.
            () = self.lost.notified() => bail!(
                "another process took the lock, because this process did not renew it in time; wait until that process has finished, and try again"
            ),
        };
        self.renewal.abort();
        let released = self
            .store
            .delete(&self.key)
            .await
            .context("cannot release the lock; it expires by itself");
        let result = result?;
        released?;
        Ok(result)
    }
}

/// Renews a lock at regular intervals. When another process has taken the lock, notifies `lost` and returns.
async fn renew(store: Store, key: String, mut holder: Holder, mut etag: String, lost: Arc<Notify>) {
    loop {
        sleep(DURATION / 4).await;
        holder.expires = now() + DURATION.as_millis() as u64;
        match store.write(&key, &holder, WriteIf::Unchanged(&etag)).await {
            Ok(Some(renewed)) => etag = renewed,
            Ok(None) => return lost.notify_one(),
            // Ignore the error: up to three more attempts follow before the lock expires.
            Err(_) => {}
        }
    }
}
