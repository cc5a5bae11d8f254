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
mod billing;
mod billing_access;
mod billing_pages;
mod billing_reconcile;
mod notes;
mod notify;
mod pages;
mod secrets;
mod webhook;

/// Where a note is, below the API.
fn address(note: &serde_json::Value) -> String {
    format!("/notes/{}", note["noteId"].as_str().unwrap())
}

/// The sample event of a function, by the name of its crate.
fn sample(function: &str) -> serde_json::Value {
    let functions = e2e::functions::all();
    let mut functions = functions.iter();
    let known = functions.find(|known| known.name == function);
    known
        .unwrap_or_else(|| panic!("{function} is no function"))
        .event()
}
