//! A clock that tests can move forward.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// The system clock plus an offset.
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

    /// Waits until the clock reaches `time`, by the passing of time or by [`Clock::advance`].
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

/// Seconds since the Unix epoch. 0 for a time before it.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
