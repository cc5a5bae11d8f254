use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{FromJson, json::from_string};

/// A day of the Gregorian calendar, from 0001-01-01 to 9999-12-31. It has no time and no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Date(time::Date);

const EXPECTED: &str = "must be a date such as 2026-01-31";

impl Date {
    /// Creates a date from its year (1 to 9999), month and day. Returns None if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let month = time::Month::try_from(month).ok()?;
        let date = time::Date::from_calendar_date(year.into(), month, day).ok()?;
        (1..=9999).contains(&year).then_some(Self(date))
    }
}

impl FromStr for Date {
    type Err = &'static str;

    /// Parses `YYYY-MM-DD`, the form of RFC 3339.
    /// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let [year, month, day] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let lengths = [year.len(), month.len(), day.len()];
            let is_form = lengths == [4, 2, 2] && [year, month, day].into_iter().all(digits);
            is_form.then_some(())?;
            Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
        };
        parse().ok_or(EXPECTED)
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(str::to_owned)
    }
}

impl FromJson for Date {
    fn from_json(value: Value) -> Result<Self, String> {
        from_string(value, EXPECTED)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_real_day_is_a_date_and_is_shown_as_it_was_written() {
        let mut days = 0;
        for year in [1, 1900, 2000, 2023, 2024, 9999] {
            for (month, day) in (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day))) {
                let text = format!("{year:04}-{month:02}-{day:02}");
                if let Ok(date) = text.parse::<Date>() {
                    assert_eq!(date.to_string(), text);
                    days += 1;
                }
            }
        }
        // 2000 and 2024 are leap years, 1900 is none.
        assert_eq!(days, 6 * 365 + 2);
    }

    #[test]
    fn a_day_that_does_not_exist_or_another_form_is_refused() {
        for text in [
            "",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-00-01",
            "2026-13-01",
            "2026-01-00",
            "2026-01-32",
            "0000-01-01",
            "10000-01-01",
            "2026-1-31",
            "26-01-31",
            "2026-01-31 ",
            "2026-01-31T00:00:00Z",
            "2026-01-31-01",
            "2026/01/31",
            "+026-01-31",
            "2026-+1-31",
            "٢٠٢٦-01-31",
        ] {
            assert_eq!(text.parse::<Date>(), Err(EXPECTED), "{text}");
        }
        for other in [json!(null), json!(20_260_131), json!(["2026-01-31"])] {
            assert_eq!(Date::from_json(other), Err(EXPECTED.to_owned()));
        }
    }

    #[test]
    fn dates_are_ordered_by_time() {
        let dates = ["0999-12-31", "2025-12-31", "2026-01-30", "2026-01-31"];
        let dates = dates.map(|date| date.parse::<Date>().unwrap());
        assert!(dates.is_sorted());
    }
}
