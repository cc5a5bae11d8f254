//! The identity of an operation: its idempotency key, the scope of the key, and the fingerprint of
//! the request.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::Id;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An idempotency key. A client chooses the key and sends it in the header `Idempotency-Key`. For a
/// message, the key is the id of the message.
///
/// A key has 1 to 255 printable ASCII characters. HTTP headers can contain these characters, and
/// other services accept such keys. The IETF draft requires quotes around the
/// key (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>). This type
/// does not require quotes: if the client sends quotes, they are part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The name of the request header that contains the key.
    pub const HEADER: &str = "Idempotency-Key";

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        if (1..=255).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(Self(key.into()))
        } else {
            Err("must be 1 to 255 printable ASCII characters")
        }
    }
}

/// Uses an id, such as the id of a message, as an idempotency key.
impl<Kind> From<Id<Kind>> for IdempotencyKey {
    fn from(id: Id<Kind>) -> Self {
        Self(id.to_string())
    }
}

/// The namespace of idempotency keys. The same key in two scopes identifies two operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    name: &'static str,
    caller: &'a str,
}

impl<'a> Scope<'a> {
    /// Creates the scope of the keys that `caller` sends to the route `name`, such as `POST
    /// /notes`.
    pub const fn of(name: &'static str, caller: &'a str) -> Self {
        Self { name, caller }
    }

    /// Creates a scope that has no caller. Use it for a single source that creates unique keys,
    /// such as the ids of a service's events.
    pub const fn shared(name: &'static str) -> Self {
        Self { name, caller: "" }
    }

    /// Returns the operation that `key` identifies in this scope. `body` is the body of the
    /// request.
    ///
    /// The fingerprint of the operation is computed from the bytes of the body as the client sent
    /// them, so it does not depend on how a release parses bodies. For a message, pass an empty
    /// body if the id alone identifies the message.
    pub fn operation(self, key: &IdempotencyKey, body: &[u8]) -> Operation {
        let Self { name, caller } = self;
        let [scope, caller] = [name.as_bytes(), caller.as_bytes()];
        let id = digest([scope, caller, key.as_str().as_bytes()]);
        Operation {
            // The name of the scope is not hashed, so that people and IAM policies
            // (dynamodb:LeadingKeys) can read it.
            id: format!("{name}#{id}"),
            fingerprint: Fingerprint(digest([scope, caller, body])),
        }
    }
}

/// An operation that must take effect only once. Contains an id, computed from the key and its
/// scope, and the fingerprint of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub(crate) id: String,
    pub(crate) fingerprint: Fingerprint,
}

impl Operation {
    /// The id of the operation's record: the name of the scope and a hash of the key.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The SHA-256 hash of the scope, the caller and the body of a request. A request with a key that
/// was used before counts as a repetition only if its fingerprint is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(String);

/// The SHA-256 hash of `parts`, in Base64url. The length of each part is hashed before the part, so
/// that different lists of parts have different hashes.
fn digest<const N: usize>(parts: [&[u8]; N]) -> String {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| {
        hash.chain_update((part.len() as u64).to_be_bytes())
            .chain_update(part)
    });
    BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(key: &str) -> IdempotencyKey {
        key.parse().unwrap()
    }

    #[test]
    fn a_key_is_1_to_255_printable_characters() {
        for good in ["k", &"k".repeat(255), "\"8e03978e\"", " a~", "evt_1#2"] {
            assert_eq!(key(good).as_str(), good);
        }
        for bad in ["", &"k".repeat(256), "a\n", "\t", "\u{7f}", "é", "\u{0}"] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_same_key_in_another_scope_or_of_another_caller_is_another_operation() {
        let ids: HashSet<_> = [
            Scope::of("POST /notes", "ada").operation(&key("k"), b""),
            Scope::of("POST /notes", "bob").operation(&key("k"), b""),
            Scope::of("POST /files", "ada").operation(&key("k"), b""),
            Scope::shared("POST /notes").operation(&key("k"), b""),
            // Would equal the first operation if the parts were hashed without their lengths.
            Scope::of("POST /notes", "ad").operation(&key("ak"), b""),
        ]
        .map(|operation| operation.id)
        .into();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_fingerprint_depends_on_body_and_caller() {
        let fingerprint = |caller, body| {
            let scope = Scope::of("POST /notes", caller);
            scope.operation(&key("k"), body).fingerprint
        };
        assert_eq!(fingerprint("ada", b"{}"), fingerprint("ada", b"{}"));
        assert_ne!(fingerprint("ada", b"{}"), fingerprint("ada", b"{ }"));
        assert_ne!(fingerprint("ada", b"{}"), fingerprint("bob", b"{}"));
        assert_ne!(fingerprint("ada", b"a"), fingerprint("adaa", b""));
    }

    #[test]
    fn a_stored_operation_shows_its_scope_but_neither_key_nor_body() {
        let scope = Scope::of("POST /notes", "us-east-1:ada");
        let operation = scope.operation(&key("ada@example.com"), b"a secret");
        assert!(operation.id.starts_with("POST /notes#"), "{operation:?}");
        let text = format!("{operation:?}");
        for hidden in ["ada", "secret"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }

    /// The ids must not change between releases: with a different id, a release does not find an
    /// operation that the previous release completed, and performs it again.
    #[test]
    fn ids_and_fingerprints_are_stable_across_releases() {
        let operation = Scope::of("POST /notes", "us-east-1:ada").operation(&key("k"), b"{}");
        assert_eq!(
            operation.id,
            "POST /notes#DiLlFm6YrVX1exeVGZOgAzYw3Ul2J-NmKA0SKVAlNgo"
        );
        assert_eq!(
            operation.fingerprint.0,
            "ujD-rU_WkjKXrUQ2M3JaaVjze2zeNAt7VIX98SMIeDQ"
        );
    }
}
