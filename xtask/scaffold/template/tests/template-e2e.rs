//! Compiles the end-to-end tests from which `cargo xtask new` generates others. They need a stage that has their functions.

// Clippy does not treat helpers outside test functions as test code.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "tests/e2e/museum_specimens.rs"]
mod museum_specimens;
