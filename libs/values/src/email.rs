use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FromJson, json::from_string};

/// An email address, with at most 254 characters. It is stored as the client sent it.
///
/// The rule is that of the form fields of browsers, so that a form and the API accept the same addresses:
/// <https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Email(String);

/// The longest address to which mail can be sent.
/// <https://www.rfc-editor.org/errata/eid1690>
const MAX: usize = 254;

const EXPECTED: &str = "must be an email address";

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = String;

    fn try_from(address: String) -> Result<Self, Self::Error> {
        if address.len() > MAX {
            return Err(format!("must have at most {MAX} characters"));
        }
        let is_valid = address
            .split_once('@')
            .is_some_and(|(name, domain)| is_name(name) && domain.split('.').all(is_label));
        is_valid.then_some(Self(address)).ok_or(EXPECTED.into())
    }
}

fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Whether a part of a domain has 1 to 63 letters, digits and hyphens, and neither begins nor ends with a hyphen.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromJson for Email {
    fn from_json(value: Value) -> Result<Self, String> {
        from_string(value, EXPECTED)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_addresses_that_browsers_accept_are_accepted() {
        for valid in [
            "ada@a.example",
            "Ada.Lovelace+notes@mail.a.example",
            "a@localhost",
            ".!#$%&'*+/=?^_`{|}~-@a-b.example",
            &format!("a@{}.example", "x".repeat(63)),
        ] {
            let email = Email::try_from(valid.to_owned());
            assert_eq!(email.unwrap().as_str(), valid);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for invalid in [
            "",
            "ada",
            "@a.example",
            "ada@",
            "ada@@a.example",
            "ada@b@a.example",
            "ada lovelace@a.example",
            "ada@a..example",
            "ada@.example",
            "ada@a.example.",
            "ada@-a.example",
            "ada@a-.example",
            "ada@a_b.example",
            "ada@a.example ",
            "ada@a.example\r\nBcc: b@a.example",
            "Ada <ada@a.example>",
            "adä@a.example",
            &format!("a@{}.example", "x".repeat(64)),
        ] {
            let error = Email::try_from(invalid.to_owned()).unwrap_err();
            assert_eq!(error, EXPECTED, "{invalid}");
        }
        for other in [json!(null), json!(1), json!(["ada@a.example"])] {
            assert_eq!(Email::from_json(other), Err(EXPECTED.to_owned()));
        }
    }

    #[test]
    fn an_address_has_at_most_254_characters() {
        let address = |length: usize| format!("{}@a.example", "x".repeat(length - 10));
        assert!(Email::try_from(address(254)).is_ok());
        let error = Email::try_from(address(255)).unwrap_err();
        assert_eq!(error, "must have at most 254 characters");
    }
}
