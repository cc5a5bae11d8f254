//! End-to-end tests of the API on a deployed stage. `cargo xtask test --e2e` runs them.

// Clippy does not treat helpers outside test functions as test code.
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
mod billing_orders;
mod billing_pages;
mod billing_reconcile;
mod notes;
mod notify;
mod operations;
mod pages;
mod secrets;
mod storage;
mod sub;
mod webhook;

/// Returns the path of a note in the API: `/notes/{noteId}`.
fn path_of(note: &serde_json::Value) -> String {
    format!("/notes/{}", note["noteId"].as_str().unwrap())
}

/// Returns the sample event of a function. `function` is the name of the function's crate.
fn sample(function: &str) -> serde_json::Value {
    test_support::functions::named(function).event()
}
