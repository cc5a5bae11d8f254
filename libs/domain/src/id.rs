use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A version 7 UUID that identifies a resource, such as a note. Ids sort by the time of their
/// creation.
///
/// `Kind` is a marker type, so that ids of different kinds of resources have different types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Id<Kind> {
    uuid: Uuid,
    kind: PhantomData<Kind>,
}

impl<Kind> Id<Kind> {
    const fn new(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// Generates a unique id. Its first 48 bits are the current time in milliseconds.
    pub fn generate() -> Self {
        Self::new(Uuid::now_v7())
    }

    /// The bytes of the UUID.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// Creates an id from the bytes of a UUID. Does not check that the UUID has version 7.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::new(Uuid::from_bytes(bytes))
    }
}

impl<Kind> FromStr for Id<Kind> {
    type Err = &'static str;

    /// Parses a UUID in the form that has hyphens and 36 characters. Rejects other forms of a UUID,
    /// so that a resource does not have several URLs.
    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let parsed = Uuid::try_parse(id).ok().filter(|_| id.len() == 36);
        parsed.map(Self::new).ok_or("not a UUID")
    }
}

impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.hyphenated().fmt(f)
    }
}

impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum TestKind {}

    type TestId = Id<TestKind>;

    const TEXT: &str = "018f4e8a-7b2c-7def-8123-456789abcdef";

    #[test]
    fn later_ids_are_greater() {
        let ids: Vec<_> = (0..1000).map(|_| TestId::generate()).collect();
        assert!(ids.is_sorted());
        let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
    }

    #[test]
    fn only_ids_with_hyphens_are_parsed_and_case_is_ignored() {
        assert_eq!(TEXT.parse::<TestId>().unwrap().to_string(), TEXT);
        let upper = TEXT.to_uppercase();
        assert_eq!(upper.parse::<TestId>().unwrap().to_string(), TEXT);
        for other in [
            "018f4e8a7b2c7def8123456789abcdef",
            "{018f4e8a-7b2c-7def-8123-456789abcdef}",
            "",
            "1",
        ] {
            assert!(other.parse::<TestId>().is_err(), "{other}");
        }
    }

    #[test]
    fn bytes_and_json_convert_back_to_the_same_id() {
        let id: TestId = TEXT.parse().unwrap();
        assert!(TestId::from_bytes(*id.as_bytes()) == id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{TEXT}\""));
        assert!(serde_json::from_str::<TestId>(&json).unwrap() == id);
    }
}
