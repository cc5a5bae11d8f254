//! The current time, and the time since a timestamp as text.

use std::time::UNIX_EPOCH;

/// The current time in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis() as u64)
}

/// Formats the time since `at` as text, such as "  5 min ago". `at` is in milliseconds since the Unix epoch.
pub(crate) fn age(at: u64) -> String {
    let seconds = now().saturating_sub(at) / 1000;
    match seconds {
        0..120 => format!("{seconds:>3} s ago"),
        120..7200 => format!("{:>3} min ago", seconds / 60),
        7200..172_800 => format!("{:>3} h ago", seconds / 3600),
        _ => format!("{:>3} d ago", seconds / 86_400),
    }
}
