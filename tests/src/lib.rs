//! What the scenarios of `tests/` stand on.
//!
//! | module | is |
//! |---|---|
//! | [`functions`] | what the manifests say of the functions, and where their binaries are |
//! | [`stage`] | the stage that the end-to-end scenarios run against, and people who signed up there |
//! | [`owner`] | what the account's owner sees and does there, past the API |
//! | [`stripe`] | the double that the stage takes for Stripe, and what people buy by it |
//! | [`http`] | requests, signed as AWS wants them, and their answers |
//!
//! It panics where a test would: on whatever stands between the scenario and what it is about.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

pub mod functions;
pub mod http;
pub mod owner;
pub mod stage;
pub mod stripe;

/// The checkout's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
