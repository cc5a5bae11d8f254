//! Idempotent operations: requests or messages with the same idempotency key take effect only once,
//! and each repeated request receives the stored response.
//!
//! Each attempt to perform an [`Operation`] first claims it with a conditional write. The
//! [`ClaimOutcome`] says what to do next: start, replay the stored response, retry later, or reject
//! a payload mismatch. An attempt that starts holds the claim until it calls
//! [`ClaimGuard::complete`] or [`ClaimGuard::release`]. The claim has a lease. The lease ends
//! shortly after the time at which Lambda stops the function. If an attempt crashes, its lease
//! ends, and the next attempt takes over with the **plan** of the first attempt. The plan is what
//! the first attempt chose before it started, such as the id of the item to create. If the work
//! depends only on the plan, and passes ids from the plan to other services, it takes effect once,
//! however many attempts there are.
//!
//! The terms follow Powertools for AWS Lambda
//! (<https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/>): a record is in
//! progress, completed or expired, and has a time to live.
//!
//! | module | contents |
//! |---|---|
//! | `operation` | the idempotency key, its scope, and the fingerprint of the payload |
//! | `claim` | the claim rules: claim, take over, complete, release |
//! | [`store`] | the idempotency record, and the DynamoDB table that stores the records |
//! | [`memory`] | a store in memory and a manual clock, for tests |
//! | [`http`] | the handling of the header `Idempotency-Key` |
//!
//! To handle a message only once, claim an operation whose idempotency key is the message's id:
//!
//! ```
//! # use std::time::SystemTime;
//! # use idempotency::{ClaimOutcome, Error, Idempotency, IdempotencyKey, Scope, store::Store};
//! # async fn send_reminder() -> Result<(), Error> { Ok(()) }
//! # #[derive(Debug, thiserror::Error)]
//! # enum RemindError {
//! #     #[error(transparent)] Store(#[from] Error),
//! #     #[error("another delivery is in progress")] InProgress,
//! # }
//! async fn remind(
//!     idempotency: &Idempotency<impl Store>,
//!     message: &IdempotencyKey,
//!     deadline: SystemTime,
//! ) -> Result<(), RemindError> {
//!     let operation = Scope::shared("reminders").operation(message, b"");
//!     match idempotency.claim::<(), ()>(&operation, deadline, ()).await? {
//!         ClaimOutcome::Start { guard, .. } => match send_reminder().await {
//!             Ok(()) => Ok(guard.complete(&()).await?),
//!             Err(error) => {
//!                 guard.release().await?;
//!                 Err(error.into())
//!             }
//!         },
//!         ClaimOutcome::Replay(()) => Ok(()),
//!         // An error makes the sender deliver the message again: the other delivery may still fail.
//!         ClaimOutcome::InProgress { .. } => Err(RemindError::InProgress),
//!         // Unreachable: the payload is always empty.
//!         ClaimOutcome::PayloadMismatch => Ok(()),
//!     }
//! }
//! ```

mod claim;
#[cfg(test)]
mod claim_tests;
mod error;
pub mod http;
pub mod memory;
mod operation;
pub mod store;

pub use claim::{ClaimGuard, ClaimOutcome, Idempotency};
pub use error::{Cause, Error};
pub use operation::{Fingerprint, IdempotencyKey, Operation, Scope};
pub use store::IdempotencyTable;
