//! The AWS clients of a function. Each function creates one [`Stack`] at init, and calls all AWS services through it.
//!
//! The stack keeps cold starts short. It reads region and credentials from the environment variables that Lambda sets,
//! not from profile files or a chain of credentials providers. It uses the crate ring for cryptography. It trusts only
//! Amazon's root certificates. The binary contains them, so the stack does not load the system's certificate bundle.

mod client;
mod objects;
mod presign;
mod stack;
mod transient;

pub use client::{Client, SdkError};
pub use objects::{Object, Objects};
pub use presign::{Method, PresignError, Presigner};
pub use stack::{Error, Stack, https};
pub use transient::{is_transient, service_error};
