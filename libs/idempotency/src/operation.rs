//! What is to have one effect, and how its repetition is known.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use domain::Id;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A name for one effect, chosen by who asks for it: a client in the header `Idempotency-Key`, or
/// the sender of a message as its id.
///
/// It is 1 to 255 printable ASCII characters, which is what a header can carry and Stripe takes
/// (<https://docs.stripe.com/api/idempotent_requests>). It is not interpreted: the quotes that
/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/> puts around it are
/// part of it, and clients that send none are served as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The request header that carries it.
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

/// The id of a message is the idempotency key of its processing.
impl<Kind> From<Id<Kind>> for IdempotencyKey {
    fn from(id: Id<Kind>) -> Self {
        Self(id.to_string())
    }
}

/// Where a key counts: one key in two scopes names two effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    name: &'static str,
    caller: &'a str,
}

impl<'a> Scope<'a> {
    /// What one caller asks for, such as `POST /notes`.
    pub const fn of(name: &'static str, caller: &'a str) -> Self {
        Self { name, caller }
    }

    /// What comes from one source that gives no key twice, such as Stripe's events.
    pub const fn shared(name: &'static str) -> Self {
        Self { name, caller: "" }
    }

    /// The effect that `key` names here, asked for with `body`.
    ///
    /// The body counts byte by byte, as the client sent it: that a retry repeats it is what makes
    /// it a retry, and a release that reads bodies in another way takes no retry for a new request.
    /// For a message whose id says all there is, it is empty.
    pub fn operation(self, key: &IdempotencyKey, body: &[u8]) -> Operation {
        let Self { name, caller } = self;
        let [scope, caller] = [name.as_bytes(), caller.as_bytes()];
        let id = digest([scope, caller, key.as_str().as_bytes()]);
        Operation {
            // In the clear is the scope alone, for people and for policies (dynamodb:LeadingKeys).
            id: format!("{name}#{id}"),
            fingerprint: Fingerprint(digest([scope, caller, body])),
        }
    }
}

/// What is to have one effect: a key in its scope, and what was asked for under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub(crate) id: String,
    pub(crate) fingerprint: Fingerprint,
}

/// What tells one request from another under the same key: a SHA-256 of scope, caller and body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(String);

/// A SHA-256 of the parts, in Base64. Each part's length comes before it, so that no two lists of
/// parts are hashed alike.
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
    fn one_key_in_two_scopes_or_of_two_callers_names_two_effects() {
        let ids: HashSet<_> = [
            Scope::of("POST /notes", "ada").operation(&key("k"), b""),
            Scope::of("POST /notes", "bob").operation(&key("k"), b""),
            Scope::of("POST /billing", "ada").operation(&key("k"), b""),
            Scope::shared("POST /notes").operation(&key("k"), b""),
            // What would be the same text if the parts were only joined.
            Scope::of("POST /notes", "ad").operation(&key("ak"), b""),
        ]
        .map(|operation| operation.id)
        .into();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_fingerprint_is_of_the_body_and_its_caller() {
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
    fn what_is_stored_names_the_scope_and_shows_neither_key_nor_body() {
        let scope = Scope::of("POST /notes", "us-east-1:ada");
        let operation = scope.operation(&key("ada@example.com"), b"a secret");
        assert!(operation.id.starts_with("POST /notes#"), "{operation:?}");
        let text = format!("{operation:?}");
        for hidden in ["ada", "secret"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }

    /// A release that computes another id would do again what the last one did.
    #[test]
    fn an_operation_is_the_same_in_every_release() {
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
