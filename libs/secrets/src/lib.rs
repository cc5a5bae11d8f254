//! Secrets of a stage, kept in SSM as SecureStrings: read at init in one call, never logged, and
//! kept fresh without making a request wait.
//!
//! ```no_run
//! # async fn init() -> Result<(), Box<dyn std::error::Error>> {
//! let aws = aws::Stack::from_env()?;
//! let prefix: secrets::Prefix = "/scratchpad/dev".parse()?;
//! let names = ["stripe-secret-key", "stripe-webhook-secret"];
//! let secrets = secrets::Secrets::load(&aws, &prefix, names).await?;
//!
//! // In a request
//! let [stripe_key, webhook_secret] = secrets.current();
//! # let _ = (stripe_key.expose(), webhook_secret.expose());
//! # Ok(())
//! # }
//! ```

mod secret;
mod ssm;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

pub use secret::Secret;
pub use ssm::{Prefix, Ssm};

/// How old a secret may be before it is read again.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(5 * 60);

/// How long a refresh has before the next reader begins another: longer than a call to AWS with all
/// its retries, so that there is one at a time, and a pause after one that failed.
pub const BACKOFF: Duration = Duration::from_secs(30);

/// Why secrets can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// These parameters don't exist; their full names.
    #[error("missing in SSM: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// SSM gave no answer, or refused one.
    #[error("the secrets can't be read from SSM")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where secrets come from: [`Ssm`], or in a test anything.
pub trait Source<const N: usize>: Send + Sync + 'static {
    /// All secrets as they are now, in the order of their names.
    fn fetch(&self) -> impl Future<Output = Result<[Secret; N], Error>> + Send;
}

/// The `N` secrets of a function. A clone shares them.
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
    /// When the next reader is to begin a refresh.
    refresh_at: Instant,
}

impl<const N: usize> Secrets<N> {
    /// Reads the secrets `names` under `prefix` in one call. For init.
    ///
    /// # Errors
    ///
    /// When SSM can't be asked, or [`Error::Missing`] with all that it doesn't have.
    pub async fn load(aws: &aws::Stack, prefix: &Prefix, names: [&str; N]) -> Result<Self, Error> {
        Self::load_from(Ssm::new(aws, prefix, names)).await
    }
}

impl<const N: usize, S: Source<N>> Secrets<N, S> {
    /// As [`Secrets::load`], from any source.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn load_from(source: S) -> Result<Self, Error> {
        let cached = Mutex::new(Cached::new(source.fetch().await?));
        Ok(Self(Arc::new(Shared { source, cached })))
    }

    /// The secrets in the order of their names, without waiting.
    ///
    /// Past their time to live they are still given, and one refresh begins in the background.
    /// Lambda freezes it together with the function when the answer has been given; it goes on
    /// with the next request, and if it was cut off for good a later reader begins another. One
    /// that fails is logged, and the earlier secrets stay in use.
    pub fn current(&self) -> [Secret; N] {
        let mut cached = self.0.lock();
        if Instant::now() >= cached.refresh_at
            && let Ok(runtime) = Handle::try_current()
        {
            cached.refresh_at = Instant::now() + BACKOFF;
            // No part of the request that happened to begin it, hence outside of its span
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
        // Nothing can panic between taking and giving back
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
            "secrets not refreshed, the earlier ones stay in use"
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

    /// Gives `version 1`, `version 2` and so on, each when it is let
    struct Versions {
        fetched: AtomicUsize,
        let_through: Semaphore,
        broken: Mutex<bool>,
    }

    impl Source<1> for Arc<Versions> {
        async fn fetch(&self) -> Result<[Secret; 1], Error> {
            let version = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
            self.let_through.acquire().await.unwrap().forget();
            match *self.broken.lock().unwrap() {
                true => Err(Error::Unreadable("no answer".into())),
                false => Ok([Secret::from(format!("version {version}"))]),
            }
        }
    }

    impl Versions {
        fn fetched(&self) -> usize {
            self.fetched.load(Ordering::SeqCst)
        }

        /// Lets one fetch end, and what waits for it go on
        async fn answer(&self) {
            self.let_through.add_permits(1);
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
            let_through: Semaphore::new(1),
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
    async fn within_their_time_to_live_secrets_are_read_once() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE - Duration::from_millis(1)).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn past_it_every_reader_gets_the_old_value_at_once_and_one_refresh_begins() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE).await;
        for _ in 0..5 {
            assert_eq!(value(&secrets), "version 1");
            run_all().await;
        }
        assert_eq!(source.fetched(), 2);

        source.answer().await;
        assert_eq!(value(&secrets), "version 2");
        advance(TIME_TO_LIVE - Duration::from_millis(1)).await;
        assert_eq!(value(&secrets), "version 2");
        run_all().await;
        assert_eq!(source.fetched(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_refresh_keeps_the_old_value_and_is_tried_again_after_a_pause() {
        let (source, secrets) = loaded().await;
        *source.broken.lock().unwrap() = true;
        advance(TIME_TO_LIVE).await;
        value(&secrets);
        run_all().await;
        source.answer().await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 2);

        *source.broken.lock().unwrap() = false;
        advance(BACKOFF).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        source.answer().await;
        assert_eq!(value(&secrets), "version 3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_never_ends_makes_no_reader_wait_and_is_followed_by_another() {
        let (source, secrets) = loaded().await;
        advance(TIME_TO_LIVE).await;
        value(&secrets);
        run_all().await;
        advance(BACKOFF).await;
        assert_eq!(value(&secrets), "version 1");
        run_all().await;
        assert_eq!(source.fetched(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn secrets_that_cannot_be_read_at_init_are_an_error() {
        let (source, _) = loaded().await;
        *source.broken.lock().unwrap() = true;
        source.let_through.add_permits(1);
        assert!(matches!(
            Secrets::load_from(source).await,
            Err(Error::Unreadable(_))
        ));
    }

    #[test]
    fn no_formatting_shows_a_secret() {
        let secret = Secret::from("sk_live_1".to_owned());
        assert_eq!(secret.expose(), "sk_live_1");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
    }
}
