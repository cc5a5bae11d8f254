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
mod billing; // part: billing
mod billing_access; // part: billing
mod billing_operations; // part: billing
mod billing_orders; // part: billing
mod billing_pages; // part: billing
mod billing_reconcile; // part: billing
mod billing_secrets; // part: billing
mod billing_sub; // part: billing
mod credits; // part: billing
mod dead_letters; // part: billing
mod notes;
mod notify; // part: notify
mod operations;
mod pages;
mod storage;
mod sub;
mod webhook; // part: billing

/// Returns the path of a note in the API: `/notes/{noteId}`.
fn path_of(note: &serde_json::Value) -> String {
    format!("/notes/{}", note["noteId"].as_str().unwrap())
}

// part: billing {
/// Returns the sample event of a function. `function` is the name of the function's crate.
fn sample(function: &str) -> serde_json::Value {
    test_support::functions::named(function).event()
}
// part: billing }
