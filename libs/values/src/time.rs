use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FromJson, to_integer};

/// A point in time, in milliseconds since the Unix epoch, which is negative before it. In the range of
/// JavaScript's `Date`: about 270,000 years before and after the epoch.
/// <https://tc39.es/ecma262/#sec-time-values-and-time-range>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Time(i64);

const LIMIT: i64 = 8_640_000_000_000_000;

const EXPECTED: &str = "must be a time in milliseconds since 1970";

impl Time {
    /// The milliseconds from the Unix epoch to this time.
    pub fn as_millis(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Time {
    type Error = String;

    fn try_from(millis: i64) -> Result<Self, Self::Error> {
        let is_valid = (-LIMIT..=LIMIT).contains(&millis);
        is_valid.then_some(Self(millis)).ok_or(EXPECTED.into())
    }
}

impl FromJson for Time {
    fn from_json(value: Value) -> Result<Self, String> {
        to_integer(&value).ok_or(EXPECTED)?.try_into()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_an_integer_in_the_range_of_javascripts_date() {
        for valid in [-LIMIT, -1, 0, 1_763_632_800_000, LIMIT] {
            assert_eq!(Time::from_json(json!(valid)).unwrap().as_millis(), valid);
        }
        for invalid in [
            json!(LIMIT + 1),
            json!(-LIMIT - 1),
            json!(1e300),
            json!(0.5),
            json!("1763632800000"),
            json!("2026-01-31T00:00:00Z"),
            json!(null),
            json!([]),
        ] {
            let error = Time::from_json(invalid.clone()).unwrap_err();
            assert_eq!(error, EXPECTED, "{invalid}");
        }
    }
}
