//! The test double's clock, which tests can move forward.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// A clock that shows the time of the system clock plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: watch::Sender<Duration>,
}

impl Clock {
    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + *self.offset.borrow()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset
            .send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Waits until the clock shows `time`, either because the time has passed or because
    /// [`Clock::advance`] has moved the clock.
    pub(crate) async fn wait_until(&self, time: SystemTime) {
        let mut offset = self.offset.subscribe();
        while let Ok(remaining) = time.duration_since(self.now()) {
            if remaining.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(remaining) => {}
                _ = offset.changed() => {}
            }
        }
    }
}

/// Converts `time` to seconds since the Unix epoch. 0 for a time before the epoch.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
