//! The lock of a stage, which only one process can hold. A lock is an object in the account's bucket of releases. The lock
//! expires unless the process that holds it renews it.

use std::{fs, time::Duration};

use anyhow::{Context, Error, Result, anyhow, bail};
use console::style;
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    advice::is_expired,
    clock::now,
    provenance::actor,
    store::{Store, Versioned, WriteIf, error_code},
};
use crate::{process, ui};

/// The time from the last renewal of a lock until the lock expires. If a process that holds a lock is killed, processes
/// on other machines must wait up to this long for the lock.
const DURATION: Duration = Duration::from_secs(60);

/// The time between two renewals of a lock.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(15);

/// The time from a failed renewal until the next attempt, and the time limit of each attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How often this process tries to take a lock that other processes take and release at the same time.
const ATTEMPTS: usize = 20;

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
        let holder = Self {
            id: Uuid::now_v7(),
            actor: actor(),
            purpose: purpose.into(),
            machine: format!("{host} {}", boot.trim()),
            host,
            process: std::process::id().try_into()?,
            since: now(),
            expires: 0,
        };
        Ok(holder.renewed())
    }

    /// Returns a copy that expires after [`DURATION`].
    fn renewed(&self) -> Self {
        Self {
            expires: now() + DURATION.as_millis() as u64,
            ..self.clone()
        }
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
    id: Uuid,
    /// The task that renews the lock. It ends only if this process has lost the lock, and then returns the reason.
    renewal: JoinHandle<Error>,
}

impl Lease {
    /// Takes the lock of the store's stage. Does not wait if another process holds the lock. `purpose` is what this
    /// process does with the lock, such as "a deploy".
    ///
    /// # Errors
    /// Fails if another process holds the lock. The message says which user runs the other process, on which host, for
    /// what purpose, and since when.
    pub(crate) async fn take(store: &Store, purpose: &str) -> Result<Self> {
        let (key, stage) = (store.lock_key(), store.stage());
        let new = Holder::new(purpose)?;
        for _ in 0..ATTEMPTS {
            let found: Option<Versioned<Holder>> = store.read(&key).await?;
            let condition = match &found {
                None => WriteIf::Absent,
                // This process has written the lock, but the response to the request was lost.
                Some(Versioned { value, etag }) if value.id == new.id => {
                    return Ok(Self::held(store, value.clone(), etag.clone()));
                }
                Some(Versioned { value, etag }) if value.is_gone(&new.machine) => {
                    WriteIf::Unchanged(etag)
                }
                Some(Versioned { value: holder, .. }) => {
                    let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
                    bail!(
                        "{stage} is locked: {} on {} began {} {} s ago. Try again when that process has finished; if it \
                         was killed, the lock expires in {} s",
                        holder.actor,
                        holder.host,
                        holder.purpose,
                        seconds(holder.since, now()),
                        seconds(now(), holder.expires)
                    )
                }
            };
            let holder = new.renewed();
            if let Some(etag) = store.write(&key, &holder, condition).await? {
                return Ok(Self::held(store, holder, etag));
            }
            // Another process wrote the lock first, so read it again.
            sleep(Duration::from_millis(50)).await;
        }
        bail!("cannot lock {stage}: other processes take its lock at the same time; try again")
    }

    fn held(store: &Store, holder: Holder, etag: String) -> Self {
        Self {
            store: store.clone(),
            id: holder.id,
            renewal: tokio::spawn(renew(store.clone(), holder, etag)),
        }
    }

    /// Runs `work` while this process holds the lock, then releases the lock. If the lock cannot be released, prints a
    /// warning, because the lock expires by itself.
    ///
    /// # Errors
    /// Returns the error of `work`. Also fails if this process loses the lock during `work`: if another process takes
    /// the lock because this machine was suspended, if the lock cannot be renewed until it expires, or if the
    /// credentials expire.
    pub(crate) async fn during<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let result = tokio::select! {
            result = work => result,
            // Return without releasing the lock, because another process may hold it now.
            lost = &mut self.renewal => return Err(lost.unwrap_or_else(Error::from)),
        };
        self.renewal.abort();
        if let Err(error) = self.release().await {
            ui::say(format!(
                "{} the lock of {} was not released; it expires in {} s: {error:#}",
                style("!").yellow(),
                self.store.stage(),
                DURATION.as_secs()
            ));
        }
        result
    }

    async fn release(&self) -> Result<()> {
        let key = self.store.lock_key();
        let found: Option<Versioned<Holder>> = self.store.read(&key).await?;
        match found {
            Some(found) if found.value.id == self.id => self.store.delete(&key).await,
            _ => Ok(()),
        }
    }
}

/// Renews a lock at regular intervals. Returns only if this process has lost the lock or its credentials. A renewal that
/// fails for another reason, such as throttling, is repeated until the lock expires.
async fn renew(store: Store, mut holder: Holder, mut etag: String) -> Error {
    let mut interval = RENEWAL_INTERVAL;
    loop {
        sleep(interval).await;
        let renewal = timeout(RETRY_INTERVAL, renew_once(&store, &holder, &etag));
        let failure = match renewal.await {
            Ok(Ok(Some(renewed))) => {
                (holder, etag) = (renewed.value, renewed.etag);
                interval = RENEWAL_INTERVAL;
                continue;
            }
            Ok(Ok(None)) => {
                return anyhow!(
                    "another process took the lock of {}, because this process did not renew it in time: wait until \
                     that process has finished, and run the command again to continue",
                    store.stage()
                );
            }
            Ok(Err(error)) => error,
            Err(_) => anyhow!("S3 did not respond within {} s", RETRY_INTERVAL.as_secs()),
        };
        if error_code(&failure).is_some_and(is_expired) {
            return failure.context(
                "the AWS credentials are not valid any more: sign in again, and run the command again to continue",
            );
        }
        // The next attempt would end after the lock has expired.
        if now() + 2 * RETRY_INTERVAL.as_millis() as u64 > holder.expires {
            return failure.context(format!(
                "cannot renew the lock of {}, and it expires now: run the command again to continue",
                store.stage()
            ));
        }
        interval = RETRY_INTERVAL;
    }
}

/// Renews a lock once. Returns `None` if another process has taken the lock.
async fn renew_once(
    store: &Store,
    holder: &Holder,
    etag: &str,
) -> Result<Option<Versioned<Holder>>> {
    let (key, renewed) = (store.lock_key(), holder.renewed());
    let written = store
        .write(&key, &renewed, WriteIf::Unchanged(etag))
        .await
        .context("cannot renew the lock")?;
    if let Some(etag) = written {
        let value = renewed;
        return Ok(Some(Versioned { value, etag }));
    }
    // The response to an earlier renewal may have been lost, so that its ETag is not known.
    let found: Option<Versioned<Holder>> = store.read(&key).await?;
    Ok(found.filter(|found| found.value.id == holder.id))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::release::s3_double::{Fault, S3Double};

    const KEY: &str = "dev/lock.json";

    fn holder(s3: &S3Double) -> Holder {
        serde_json::from_slice(&s3.content(KEY).unwrap()).unwrap()
    }

    /// Takes the lock and holds it for `seconds`. Returns an error if this process loses the lock during this time.
    async fn hold(s3: &S3Double, seconds: u64) -> Result<()> {
        let lease = Lease::take(&s3.store("dev"), "a deploy").await?;
        let work = async {
            sleep(Duration::from_secs(seconds)).await;
            Ok(())
        };
        lease.during(work).await
    }

    #[tokio::test]
    async fn only_one_process_holds_the_lock() {
        let s3 = S3Double::new();
        let lease = Lease::take(&s3.store("dev"), "a deploy").await.unwrap();
        // Without this change, the lock would count as abandoned, because the test process is not xtask.
        let mut elsewhere = holder(&s3);
        elsewhere.machine = "elsewhere".into();
        s3.overwrite(KEY, &serde_json::to_vec(&elsewhere).unwrap());
        let error = Lease::take(&s3.store("dev"), "a removal")
            .await
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("dev is locked: "), "{error}");
        assert!(error.to_string().contains("began a deploy"), "{error}");
        Lease::take(&s3.store("prod"), "a deploy").await.unwrap();

        lease.during(async { Ok(()) }).await.unwrap();
        assert_eq!(s3.content(KEY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_bucket_is_an_error_instead_of_an_endless_wait() {
        let s3 = S3Double::without_bucket();
        let error = Lease::take(&s3.store("dev"), "a deploy")
            .await
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("NoSuchBucket"), "{error:#}");

        let s3 = S3Double::new();
        s3.fail("PUT", [Fault::Error(404, "NoSuchBucket"); 9]);
        let error = Lease::take(&s3.store("dev"), "a deploy")
            .await
            .err()
            .unwrap();
        assert!(format!("{error:#}").contains("NoSuchBucket"), "{error:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_taken_although_the_response_is_lost_or_the_write_conflicts() {
        for fault in [
            Fault::LostResponse,
            Fault::Error(409, "ConditionalRequestConflict"),
        ] {
            let s3 = S3Double::new();
            s3.fail("PUT", [fault]);
            hold(&s3, 0).await.unwrap();
            assert_eq!(s3.content(KEY), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn throttled_and_lost_renewals_are_repeated() {
        let s3 = S3Double::new();
        let lease = Lease::take(&s3.store("dev"), "a deploy").await.unwrap();
        s3.fail("PUT", [Fault::Error(503, "SlowDown"); 20]);
        s3.fail("PUT", [Fault::LostResponse, Fault::LostResponse]);
        let work = async {
            sleep(Duration::from_secs(600)).await;
            Ok(())
        };
        lease.during(work).await.unwrap();
        let writes = s3.attempts();
        let writes = writes
            .iter()
            .filter(|attempt| *attempt == "PUT dev/lock.json");
        assert!(writes.count() > 40);
        assert_eq!(s3.content(KEY), None);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_credentials_end_the_work_with_a_message_that_says_what_to_do() {
        let s3 = S3Double::new();
        let lease = Lease::take(&s3.store("dev"), "a deploy").await.unwrap();
        s3.fail("PUT", [Fault::Error(400, "ExpiredToken")]);
        let error = lease.during(pending::<Result<()>>()).await.unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.contains("sign in again, and run the command again"),
            "{message}"
        );
        assert!(message.contains("ExpiredToken"), "{message}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_stops_and_keeps_the_lock_of_another_process_that_took_it() {
        let s3 = S3Double::new();
        let lease = Lease::take(&s3.store("dev"), "a deploy").await.unwrap();
        let mut other = holder(&s3);
        other.id = Uuid::now_v7();
        let other = serde_json::to_vec(&other).unwrap();
        s3.overwrite(KEY, &other);
        let error = lease.during(pending::<Result<()>>()).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("another process took the lock of dev"),
            "{error}"
        );
        assert_eq!(s3.content(KEY).unwrap(), other);
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_renewed_ends_the_work_before_it_expires() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let mut expiring = Holder::new("a deploy").unwrap();
        expiring.expires = now() + 1000;
        let etag = store
            .write(KEY, &expiring, WriteIf::Absent)
            .await
            .unwrap()
            .unwrap();
        s3.fail("PUT", [Fault::Error(503, "SlowDown"); 100]);
        tokio::time::pause();
        let error = renew(store, expiring, etag).await;
        assert!(
            error.to_string().contains("cannot renew the lock of dev"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_cannot_be_released_does_not_fail_the_command() {
        let s3 = S3Double::new();
        s3.fail("DELETE", [Fault::Error(403, "AccessDenied")]);
        hold(&s3, 1).await.unwrap();
        assert!(s3.content(KEY).is_some());
    }
}
