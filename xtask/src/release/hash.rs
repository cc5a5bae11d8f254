//! SHA-256 hashes in hexadecimal.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Formats bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 hash of bytes.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 hash of a value's JSON.
pub(crate) fn json_hash(value: &impl Serialize) -> String {
    sha256(serde_json::to_vec(value).unwrap_or_default())
}

/// The first 12 digits of [`json_hash`]. That is enough to distinguish a few thousand values.
pub(crate) fn short_json_hash(value: &impl Serialize) -> String {
    json_hash(value).chars().take(12).collect()
}
