//! Reads the secrets of a stage. A secret is a SecureString parameter in SSM Parameter Store. A function reads its
//! secrets at init in one call. Secrets are never logged. They are refreshed in the background, without delaying a
//! request.
//!
//! ```no_run
//! # async fn init() -> Result<(), Box<dyn std::error::Error>> {
//! let aws = aws::Stack::from_env()?;
//! let prefix: secrets::Prefix = "/scratchpad/dev".parse()?;
//! let names = ["api-key", "signing-secret"];
//! let secrets = secrets::Secrets::load(&aws, &prefix, names).await?;
//!
//! // While handling a request
//! let [api_key, signing_secret] = secrets.current();
//! # let _ = (api_key.expose(), signing_secret.expose());
//! # Ok(())
//! # }
//! ```

mod secret;
mod source;
mod ssm;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

pub use secret::Secret;
pub use source::{Error, Source};
pub use ssm::{Prefix, Ssm};

/// The age at which cached secrets are refreshed.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(5 * 60);

/// The minimum time between the starts of two refreshes. It is longer than an AWS call with all its retries, so that
/// refreshes do not overlap, and so that the function waits after a failed refresh.
pub const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// The cached secrets of a function. `N` is their number. Clones share the cache.
#[derive(Debug)]
pub struct Secrets<const N: usize, S = Ssm<N>>(Arc<Shared<N, S>>);

#[derive(Debug)]
struct Shared<const N: usize, S> {
    source: S,
    cached: Mutex<Cached<N>>,
}

#[derive(Debug)]
struct Cached<const N: usize> {
    secrets: [Secret; N],
    /// The time from which the next call of [`Secrets::current`] starts a refresh.
    refresh_at: Instant,
}

impl<const N: usize> Secrets<N> {
    /// Reads the secrets with the given `names` below the path `prefix`, in one call. Functions call this at init.
    ///
    /// # Errors
    /// Returns [`Error::Missing`] with the names of all parameters that do not exist, or [`Error::Unreadable`] if the
    /// call fails.
    pub async fn load(aws: &aws::Stack, prefix: &Prefix, names: [&str; N]) -> Result<Self, Error> {
        Self::load_from(Ssm::new(aws, prefix, names)).await
    }
}

impl<const N: usize, S: Source<N>> Secrets<N, S> {
    /// Reads the secrets from `source`. Later refreshes also read from `source`.
    ///
    /// # Errors
    /// Fails if the source fails.
    pub async fn load_from(source: S) -> Result<Self, Error> {
        let cached = Mutex::new(Cached::new(source.fetch().await?));
        Ok(Self(Arc::new(Shared { source, cached })))
    }

    /// Returns the cached secrets in the order of their names, without waiting.
    ///
    /// If the secrets are older than [`TIME_TO_LIVE`], this method still returns them, and starts one refresh in the
    /// background. If the function responds before the refresh has finished, Lambda freezes the function, and the
    /// refresh continues during the next request. If a refresh does not finish within [`MIN_REFRESH_INTERVAL`], a later
    /// call starts another refresh. If a refresh fails, the failure is logged and the cached secrets stay in use.
    pub fn current(&self) -> [Secret; N] {
        let mut cached = self.0.lock();
        if Instant::now() >= cached.refresh_at
            && let Ok(runtime) = Handle::try_current()
        {
            cached.refresh_at = Instant::now() + MIN_REFRESH_INTERVAL;
            // Without the span of the current request, because the refresh is not part of it
            runtime.spawn(refresh(Arc::clone(&self.0)));
        }
        cached.secrets.clone()
    }
}

impl<const N: usize, S> Clone for Secrets<N, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<const N: usize, S> Shared<N, S> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Cached<N>> {
        // The lock is never poisoned, because no code panics while it holds the lock
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize> Cached<N> {
    fn new(secrets: [Secret; N]) -> Self {
        Self {
            secrets,
            refresh_at: Instant::now() + TIME_TO_LIVE,
        }
    }
}

async fn refresh<const N: usize, S: Source<N>>(shared: Arc<Shared<N, S>>) {
    match shared.source.fetch().await {
        Ok(secrets) => *shared.lock() = Cached::new(secrets),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "refresh of secrets failed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    /// A source whose values are `version 1`, `version 2` and so on. Each fetch waits until the test adds a permit.
    struct Versions {
        fetched: AtomicUsize,
        permits: Semaphore,
        broken: Mutex<bool>,
    }

    impl Source<1> for Arc<Versions> {
        async fn fetch(&self) -> Result<[Secret; 1], Error> {
            let version = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
            self.permits.acquire().await.unwrap().forget();
            match *self.broken.lock().unwrap() {
                true => Err(Error::Unreadable("unavailable".into())),
                false => Ok([Secret::from(format!("version {version}"))]),
            }
        }
    }

    impl Versions {
        fn fetched(&self) -> usize {
            self.fetched.load(Ordering::SeqCst)
        }

        /// Lets one waiting fetch finish, and then runs the tasks of the tokio runtime, such as the refresh.
        async fn finish_fetch(&self) {
            self.permits.add_permits(1);
            run_all().await;
        }
    }

    async fn run_all() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    async fn loaded() -> (Arc<Versions>, Secrets<1, Arc<Versions>>) {
        let source = Arc::new(Versions {
            fetched: AtomicUsize::new(0),
            permits: Semaphore::new(1),
            broken: Mutex::new(false),
        });
        let secrets = Secrets::load_from(Arc::clone(&source)).await.unwrap();
        (source, secrets)
    }

    fn value(secrets: &Secrets<1, Arc<Versions>>) -> String {
        let [secret] = secrets.current();
        secret.expose().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn secrets_are_read_once_within_their_time_to_live() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE - Duration::from_millis(1)).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_secrets_are_returned_at_once_while_one_refresh_runs() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE).await;
        for _ in 0..5 {
            assert_eq!(value(&secrets), "version 1");
            run_all().await;
        }
        assert_eq!(source.fetched(), 2);

        source.finish_fetch().await;
        assert_eq!(value(&secrets), "version 2");
        advance(TIME_TO_LIVE - Duration::from_millis(1)).await;
        assert_eq!(value(&secrets), "version 2");
        run_all().await;
        assert_eq!(source.fetched(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_refresh_keeps_the_old_value_and_is_repeated_after_a_pause() {
        let (source, secrets) = loaded().await;
        *source.broken.lock().unwrap() = true;
        advance(TIME_TO_LIVE).await;
        value(&secrets);
        run_all().await;
        source.finish_fetch().await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 2);

        *source.broken.lock().unwrap() = false;
        advance(MIN_REFRESH_INTERVAL).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        source.finish_fetch().await;
        assert_eq!(value(&secrets), "version 3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_never_finishes_delays_no_reader_and_a_new_refresh_follows() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE).await;
        value(&secrets);
        run_all().await;
        advance(MIN_REFRESH_INTERVAL).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn load_fails_if_the_source_fails() {
        let (source, _) = loaded().await;
        *source.broken.lock().unwrap() = true;
        source.permits.add_permits(1);
        assert!(matches!(
            Secrets::load_from(source).await,
            Err(Error::Unreadable(_))
        ));
    }

    #[test]
    fn formatting_does_not_show_a_secret() {
        let secret = Secret::from("sk_live_1".to_owned());
        assert_eq!(secret.expose(), "sk_live_1");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
    }
}
