//! The rate limit of a migration or a restore. It adapts to throttling, because live traffic uses the same capacity.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The lowest rate that throttling leads to, in items per second.
const MINIMUM: f64 = 1.0;

/// The time between two changes of the rate. Requests that were throttled at the same time reduce the rate once.
const INTERVAL: Duration = Duration::from_secs(1);

/// A rate limit. DynamoDB's throttling halves the rate. Without throttling, the rate then increases again up to its
/// limit.
#[derive(Debug)]
pub(super) struct Pace {
    /// The highest rate, in items per second.
    limit: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: f64,
    /// When the next items may be processed.
    next: Instant,
    /// When the rate was last changed.
    changed: Instant,
}

impl Pace {
    /// Creates a limit of `limit` items per second.
    pub(super) fn new(limit: u32) -> Self {
        let limit = f64::from(limit.max(1));
        let now = Instant::now();
        Self {
            limit,
            state: Mutex::new(State {
                rate: limit,
                next: now,
                changed: now,
            }),
        }
    }

    /// Waits until `items` more items may be processed.
    pub(super) async fn take(&self, items: f64) {
        let start = {
            let mut state = self.state();
            let now = Instant::now();
            if state.rate < self.limit && now >= state.changed + INTERVAL {
                state.rate = (state.rate * 1.2).min(self.limit);
                state.changed = now;
            }
            let start = state.next.max(now);
            state.next = start + Duration::from_secs_f64(items / state.rate);
            start
        };
        sleep_until(start).await;
    }

    /// Reduces the rate, because a request was throttled.
    pub(super) fn throttled(&self) {
        let mut state = self.state();
        let now = Instant::now();
        let is_first = state.rate >= self.limit;
        if is_first || now >= state.changed + INTERVAL {
            state.rate = (state.rate / 2.0).max(MINIMUM);
            state.changed = now;
        }
    }

    /// The current rate, in items per second.
    pub(super) fn rate(&self) -> f64 {
        self.state().rate
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn items_are_processed_at_most_at_the_limit() {
        let pace = Pace::new(100);
        let started = Instant::now();
        for _ in 0..51 {
            pace.take(10.0).await;
        }
        assert_eq!(started.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_once_per_second_and_the_rate_recovers() {
        let pace = Pace::new(1000);
        for _ in 0..10 {
            pace.throttled();
        }
        assert_eq!(pace.rate(), 500.0);
        tokio::time::advance(INTERVAL).await;
        pace.throttled();
        assert_eq!(pace.rate(), 250.0);
        for _ in 0..20 {
            tokio::time::advance(INTERVAL).await;
            pace.take(1.0).await;
        }
        assert_eq!(pace.rate(), 1000.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_never_becomes_zero() {
        let pace = Pace::new(4);
        for _ in 0..20 {
            tokio::time::advance(INTERVAL).await;
            pace.throttled();
        }
        assert_eq!(pace.rate(), MINIMUM);
    }
}
