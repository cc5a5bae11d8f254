use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FromJson, json::from_string};

/// A text of 1 to `MAX` characters.
///
/// A DynamoDB item has at most 400 KiB. A text of 100,000 characters fits into an item even if each
/// character has four bytes, so no `MAX` is greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX: usize = 1000>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const { assert!(MAX >= 1 && MAX <= 100_000) };
        // Counting stops at the limit, so that it takes no longer for a text that is too long.
        match text.chars().take(MAX + 1).count() {
            0 => Err("must not be empty".into()),
            count if count > MAX => Err(format!("must have at most {MAX} characters")),
            _ => Ok(Self(text)),
        }
    }
}

impl<const MAX: usize> FromJson for Text<MAX> {
    fn from_json(value: Value) -> Result<Self, String> {
        from_string(value, "must be a string")
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_limit_counts_characters_not_bytes() {
        let text = |text: String| Text::<3>::try_from(text);
        for valid in ["a", " ", "\0", "😀😀😀"] {
            assert_eq!(text(valid.into()).unwrap().as_str(), valid);
        }
        assert_eq!(text(String::new()).unwrap_err(), "must not be empty");
        for long in ["abcd", "😀😀😀😀", &"x".repeat(1_000_000)] {
            let error = text(long.into()).unwrap_err();
            assert_eq!(error, "must have at most 3 characters");
        }
        assert!(Text::<100_000>::try_from("😀".repeat(100_000)).is_ok());
        assert!(Text::<100_000>::try_from("x".repeat(100_001)).is_err());
    }

    #[test]
    fn only_a_json_string_is_a_text() {
        for other in [json!(null), json!(1), json!(true), json!(["x"]), json!({})] {
            let error = Text::<3>::from_json(other).unwrap_err();
            assert_eq!(error, "must be a string");
        }
    }
}
