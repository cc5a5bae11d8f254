//! Tests of `cargo xtask new` on copies of this checkout: the commands of the tutorial, and random sequences of commands.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod sequences;
mod tutorial;
