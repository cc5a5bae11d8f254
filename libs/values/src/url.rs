use std::fmt;

use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FromJson, json::from_string};

/// An absolute URL of the scheme https or http, with at most 2048 characters. It is stored as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Url(String);

const MAX: usize = 2048;

const EXPECTED: &str = "must be a URL that begins with https:// or http://";

impl Url {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        if url.len() > MAX {
            return Err(format!("must have at most {MAX} characters"));
        }
        // Only ASCII, as in RFC 3986. Other characters are percent-encoded.
        let is_printable = url.bytes().all(|byte| byte.is_ascii_graphic());
        let parsed = url.parse::<Uri>().ok().filter(|_| is_printable);
        let is_valid = parsed.is_some_and(|parsed| {
            let host = parsed.host().is_some_and(|host| !host.is_empty());
            host && matches!(parsed.scheme_str(), Some("https" | "http")) && has_valid_port(&parsed)
        });
        is_valid.then_some(Self(url)).ok_or(EXPECTED.into())
    }
}

/// Whether the URL has no port or a port from 0 to 65535. `Uri` parses other ports as well.
fn has_valid_port(uri: &Uri) -> bool {
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host_and_port = authority.and_then(|authority| authority.rsplit('@').next());
    let host_and_port = host_and_port.unwrap_or_default();
    // An IPv6 address is in brackets and contains colons.
    let after_host = host_and_port.rsplit(']').next().unwrap_or_default();
    !after_host.contains(':') || uri.port_u16().is_some()
}

impl FromJson for Url {
    fn from_json(value: Value) -> Result<Self, String> {
        from_string(value, EXPECTED)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_absolute_url_of_the_web_is_stored_as_it_was_sent() {
        for valid in [
            "https://a.example",
            "http://localhost:8080/",
            "HTTPS://A.example/B%20C?d=%C3%A9&e#f",
            "https://user@a.example:443/",
            "http://[::1]/",
            "http://[::1]:80/",
            "https://127.0.0.1",
        ] {
            let url = Url::try_from(valid.to_owned());
            assert_eq!(url.unwrap().as_str(), valid);
        }
    }

    #[test]
    fn a_relative_or_malformed_url_and_other_schemes_are_refused() {
        for invalid in [
            "",
            "a.example",
            "/path",
            "//a.example",
            "https:",
            "https://",
            "https:///path",
            "https://:80/",
            "https://a.example:99999",
            "https://a.example:x",
            "https://a b.example",
            "https://a.example/b c",
            "https://a.example/é",
            "https://a.example/\n",
            " https://a.example",
            "ftp://a.example",
            "javascript:alert(1)",
            "javascript://a.example/%0Aalert(1)",
            "data:text/html,x",
            "*",
        ] {
            let error = Url::try_from(invalid.to_owned()).unwrap_err();
            assert_eq!(error, EXPECTED, "{invalid}");
        }
        for other in [json!(null), json!(1), json!(["https://a.example"])] {
            assert_eq!(Url::from_json(other), Err(EXPECTED.to_owned()));
        }
    }

    #[test]
    fn a_url_has_at_most_2048_characters() {
        let url = |length| format!("{:x<length$}", "https://a.example/");
        assert!(Url::try_from(url(2048)).is_ok());
        let error = Url::try_from(url(2049)).unwrap_err();
        assert_eq!(error, "must have at most 2048 characters");
    }
}
