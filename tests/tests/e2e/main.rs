//! What somebody who uses the API sees, on a stage that is deployed. Run by `cargo xtask test --e2e`.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod access;
mod attachments;
mod bad_input;
mod notes;
mod pages;

/// Where a note is, below the API.
fn address(note: &serde_json::Value) -> String {
    format!("/notes/{}", note["noteId"].as_str().unwrap())
}
