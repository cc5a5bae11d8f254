//! A lock that does not outlive who holds it: an object in the account's bucket, which has to be renewed.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use uuid::Uuid;

use super::store::{LOCK, Read, Store, now};
use crate::process;

/// How long a lock holds without being renewed. Whoever was killed on another machine blocks others for no longer.
const LEASE: Duration = Duration::from_secs(60);

/// By what a process of this machine is known for one of ours.
const MARK: &str = "xtask";

/// Who has a lock, for what, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    id: Uuid,
    who: String,
    what: String,
    host: String,
    /// The host since it was started.
    machine: String,
    process: i32,
    /// Milliseconds since the epoch.
    since: u64,
    until: u64,
}

impl Holder {
    fn new(what: &str) -> Result<Self> {
        let host = uname().nodename().to_string_lossy().into_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            id: Uuid::now_v7(),
            who: super::who(),
            what: what.into(),
            machine: format!("{host} {}", boot.trim()),
            host,
            process: std::process::id().try_into()?,
            since: now(),
            until: now() + LEASE.as_millis() as u64,
        })
    }

    /// Whether nobody holds it any more: its time is over, or it was a process of this machine that has ended.
    fn is_gone(&self, machine: &str) -> bool {
        now() > self.until
            || (self.machine == machine && process::running(self.process, MARK).is_none())
    }
}

/// A lock that is held until this is released. It is renewed meanwhile.
pub(crate) struct Lease {
    store: Store,
    key: String,
    renewal: JoinHandle<()>,
    lost: Arc<Notify>,
}

impl Lease {
    /// Takes the lock that is kept at a path in the account's bucket.
    ///
    /// # Errors
    /// Says who has it, since when and for what.
    pub(crate) async fn take(store: &Store, name: &str, what: &str) -> Result<Self> {
        match Self::try_take(store, name, what).await? {
            Ok(lease) => Ok(lease),
            Err(Holder {
                who,
                what,
                host,
                since,
                until,
                ..
            }) => {
                let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
                bail!(
                    "{} is locked: {who} on {host} began {what} {} s ago. Try again when it is over; if it was \
                     killed, the lock ends in {} s",
                    name.trim_start_matches("releases/"),
                    seconds(since, now()),
                    seconds(now(), until)
                )
            }
        }
    }

    /// Takes a lock that others hold for moments alone, and waits for them.
    ///
    /// # Errors
    /// When S3 cannot be reached.
    pub(crate) async fn wait(store: &Store, name: &str, what: &str) -> Result<Self> {
        loop {
            if let Ok(lease) = Self::try_take(store, name, what).await? {
                return Ok(lease);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_take(store: &Store, name: &str, what: &str) -> Result<Result<Self, Holder>> {
        let key = format!("{name}/{LOCK}");
        loop {
            let mut holder = Holder::new(what)?;
            let found: Option<Read<Holder>> = store.read(&key).await?;
            let before = match &found {
                None => "",
                Some(Read { value, tag }) if value.is_gone(&holder.machine) => tag,
                Some(Read { value, .. }) => return Ok(Err(value.clone())),
            };
            // Somebody else may have been quicker: then they have it.
            let Some(mut tag) = store.write(&key, &holder, Some(before)).await? else {
                continue;
            };
            let lost = Arc::new(Notify::new());
            let renewal = {
                let (store, key, lost) = (store.clone(), key.clone(), lost.clone());
                async move {
                    loop {
                        sleep(LEASE / 4).await;
                        holder.until = now() + LEASE.as_millis() as u64;
                        match store.write(&key, &holder, Some(&tag)).await {
                            Ok(Some(renewed)) => tag = renewed,
                            // Somebody has it now.
                            Ok(None) => return lost.notify_one(),
                            // The next try may do, in time.
                            Err(_) => {}
                        }
                    }
                }
            };
            return Ok(Ok(Self {
                store: store.clone(),
                key,
                renewal: tokio::spawn(renewal),
                lost,
            }));
        }
    }

    /// Does work for as long as the lock is held.
    ///
    /// # Errors
    /// With the work's, or when the lock is lost, as when this machine slept.
    pub(crate) async fn during<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            result = work => result,
            // It is not ours to release.
            () = self.lost.notified() => bail!("the lock was lost to somebody else: look at what they do, and try again"),
        };
        self.renewal.abort();
        let released = self
            .store
            .delete(&self.key)
            .await
            .context("the lock cannot be released; it ends by itself");
        let result = result?;
        released?;
        Ok(result)
    }
}
