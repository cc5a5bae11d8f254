//! Tests of `cargo xtask new` and `init` on copies of this checkout: the commands of the tutorial, random sequences of commands, and
//! the removal of each part.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod parts;
#[path = "../../../xtask/scaffold/tests/sequence/mod.rs"]
mod sequence;
mod sequences;
mod tutorial;
