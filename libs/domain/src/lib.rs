//! The words that all services share. Types that cannot be wrong.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A person: the id of the Cognito identity behind a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(String);

impl UserId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = &'static str;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::try_from(id.to_owned())
    }
}

/// <https://docs.aws.amazon.com/cognitoidentity/latest/APIReference/API_GetId.html>: at most 55
/// characters, a region, a colon, and hexadecimal digits with dashes.
impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':');
        if (1..=55).contains(&id.len()) && id.chars().all(plain) {
            Ok(Self(id))
        } else {
            Err("not the id of a Cognito identity")
        }
    }
}

/// A moment, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// This moment.
    pub fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// That moment, cut to whole milliseconds.
    pub fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_millis() as u64)
    }

    /// The moment that many milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment that much later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_millis() as u64))
    }

    /// How long it is since `earlier`; nothing if that is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A service that did not do what it was asked. Its text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It refuses work at the moment; later it may not. The call may have been carried out.
    #[error("a service refuses work at the moment")]
    Unavailable(#[source] Cause),
    /// It failed.
    #[error("a service failed")]
    Failed(#[source] Cause),
}

/// What went wrong, in the service's own words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_identity_is_nobody() {
        assert!(
            "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48"
                .parse::<UserId>()
                .is_ok()
        );
        for id in ["", "us-east-1:a/b", "us-east-1:a b", &"x".repeat(56)] {
            assert!(id.parse::<UserId>().is_err(), "{id}");
        }
    }

    #[test]
    fn a_moment_is_cut_to_milliseconds_and_never_before_the_epoch() {
        let moment = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(Timestamp::of(moment), Timestamp::from_millis(1));
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::of(before), Timestamp::from_millis(0));
    }

    #[test]
    fn nothing_has_passed_since_what_is_yet_to_come() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(7));
        assert_eq!(late.since(early), Duration::from_millis(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.after(Duration::from_millis(2)), late);
    }
}
