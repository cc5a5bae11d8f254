//! What `cargo xtask` does to stages in the cloud, on the accounts of the stage table as this machine plays them: it
//! is run as a developer runs it, in copies of the checkout, and what AWS's APIs say afterwards is what counts. Run by
//! `cargo xtask test --stages`.
//!
//! | module | is |
//! |---|---|
//! | [`checkout`] | copies of the checkout, and the tool run in them |
//! | [`account`] | what is in an account |
//! | [`people`] | people of a stage, who call its API |
//! | [`deploy`] | a stage made what the sources say, and nothing done twice |
//! | [`plan`] | what a change of the sources would do |
//! | [`together`] | stages side by side in an account, and one that links to another |
//! | [`promote`] | a release put on the next stage, that fails and that does not, and put back |
//! | [`exports`] | what stacks import from each other, renamed and dropped |
//! | [`killed`] | the tool killed at any moment |
//! | [`lock`] | two that deploy the same stage |
//! | [`data`] | changes that would cost data |
//! | [`access`] | accounts, secrets, and what is protected |

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod access;
mod account;
mod checkout;
mod data;
mod deploy;
mod exports;
mod killed;
mod lock;
mod people;
mod plan;
mod promote;
mod together;
