use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// Converts `time`, rounded down to milliseconds. A time before the Unix epoch becomes the
    /// epoch.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_millis() as u64)
    }

    /// Creates the time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds from the Unix epoch to this time.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time that is `delay` later than this time.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay.as_millis() as u64))
    }

    /// Returns the duration from `earlier` to this time. Returns zero if `earlier` is later than
    /// this time.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_down_to_milliseconds_and_is_never_before_the_epoch() {
        let time = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(Timestamp::of(time), Timestamp::from_millis(1));
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::of(before), Timestamp::from_millis(0));
    }

    #[test]
    fn the_time_since_a_later_time_is_zero() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(7));
        assert_eq!(late.since(early), Duration::from_millis(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.after(Duration::from_millis(2)), late);
    }
}
