//! SHA-256 hashes as hexadecimal text.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Formats bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 hash of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the SHA-256 hash of a value's JSON, in hexadecimal.
pub(crate) fn json_hash(value: &impl Serialize) -> String {
    sha256(serde_json::to_vec(value).unwrap_or_default())
}

/// Returns the first 12 digits of [`json_hash`], which are enough to distinguish a few thousand values.
pub(crate) fn short_json_hash(value: &impl Serialize) -> String {
    json_hash(value).chars().take(12).collect()
}
