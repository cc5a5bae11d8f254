//! The one AWS client stack: whatever a function calls of AWS, it calls by the [`Stack`] that is
//! built once, at init.
//!
//! It does what cold starts pay for and no more: settings come from the environment that Lambda
//! fills, never from profile files or a provider chain; cryptography is ring's; the only
//! certificate authorities trusted are Amazon's own, so that no system bundle is loaded.

mod client;
mod objects;
mod presign;
mod stack;
mod transient;

pub use client::{Client, SdkError};
pub use objects::{Object, Objects};
pub use presign::{Method, PresignError, Presigner};
pub use stack::{Error, Stack, https};
pub use transient::{failed, is_transient};
