//! Helpers for the tests in `tests/` and for the benchmark harness.
//!
//! | module | contents |
//! |---|---|
//! | [`checkout`] | copies of the checkout, in which tests run commands that change the sources |
//! | [`functions`] | the functions that the services' manifests list, with their binaries and sample events |
//! | [`samples`] | request bodies, from the sample events |
//! | [`stage`] | the stage under test, and users who sign up there |
//! | [`monitoring`] | the alarms and metrics of the stage, and faults that raise alarms |
//! | [`owner`] | access to the stage's AWS resources with the credentials of the AWS account's owner, without the API |
// part: billing {
//! | [`stripe`] | the stage's local Stripe, and the users' purchases |
// part: billing }
// part: notify {
//! | [`sms`] | the SMS to the owner of the product |
// part: notify }
//! | [`http`] | requests signed with AWS Signature Version 4, and their responses |
//! | [`prices`] | the prices of the product |
//! | [`proxy`] | an HTTP proxy in the process of a test |
//! | [`workspace`] | the path of the checkout |
//!
//! Helpers panic if a result is unexpected, as assertions in tests do.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod checkout;
pub mod functions;
pub mod http;
pub mod monitoring;
pub mod owner;
pub mod prices; // part: billing
pub mod proxy;
pub mod samples;
pub mod sms; // part: notify
pub mod stage;
pub mod stripe; // part: billing
pub mod workspace;

pub use workspace::root;
