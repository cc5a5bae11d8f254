//! Tests of the `cargo xtask` commands that deploy stages. The tests run xtask in copies of the checkout, as a
//! developer does, against emulated accounts, and check the result through the AWS APIs. `cargo xtask test --stages`
//! runs them.
//!
//! | module | contents |
//! |---|---|
//! | [`checkout`] | copies of the checkout, and xtask run in them |
//! | [`account`] | an emulated AWS account: its stacks, functions and releases |
//! | [`roles`] | the roles of the workflows, and the AWS calls that commands make with them |
//! | [`inventory`] | a list of every resource in an account |
//! | [`users`] | users of a deployed stage, who call its API |
//! | [`deploy`] | the order of stacks, and repeated deploys |
//! | [`plan`] | the functions that a change affects |
//! | [`isolation`] | several stages in one account |
//! | [`promote`] | promotions, failed promotions and rollbacks |
//! | [`exports`] | renamed and removed exports |
//! | [`interruption`] | killed commands |
//! | [`lock`] | concurrent commands on one stage |
//! | [`failed_requests`], [`unreliable_aws`] | requests to AWS that fail |
//! | [`data`] | changes that would delete data |
//! | [`branch`] | attacks by a branch with the role of previews, and the removal of a preview |
//! | [`access`] | wrong accounts, secrets, stage lists and protected stages |

// Clippy does not treat helpers outside test functions as test code.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod access;
mod account;
mod branch;
mod checkout;
mod data;
mod deploy;
mod exports;
mod failed_requests;
mod interruption;
mod inventory;
mod isolation;
mod lock;
mod plan;
mod promote;
mod roles;
mod unreliable_aws;
mod users;
