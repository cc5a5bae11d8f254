//! Tests of the alarms of a deployed stage: each failure raises the alarm that names it, and no other. A minute of the
//! stage's CloudWatch lasts half a second. `cargo xtask test --alarms` runs the tests.
//!
//! | module | contents |
//! |---|---|
//! | [`watch`] | causes a failure, and checks the alarms that it raises |
//! | [`requests`] | failures of requests: permissions, throttled tables, slow answers |
// part: billing {
//! | [`money`] | failures of payments: keys, secrets, purchases that stay PENDING, surplus charges |
//! | [`events`] | failures of events: a stuck stream, unreadable messages |
// part: billing }
// part: notify {
//! | [`sms`] | SMS that are not delivered |
// part: notify }

// Clippy does not treat helpers outside test functions as test code.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod events; // part: billing
mod money; // part: billing
mod requests;
mod sms; // part: notify
mod watch;
