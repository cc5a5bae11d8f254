//! One effect per key, however often it is asked for: what is asked twice is done once, and
//! answered twice.
//!
//! Who is to act on an [`Operation`] claims it first, by one conditional write, and is told what to
//! do next by the [`Claim`]: start, give the answer that is stored, come back later, or refuse. Who
//! starts holds the claim under a lease, as long as Lambda lets the function run, and ends it with
//! [`ClaimGuard::complete`] or [`ClaimGuard::release`]. Who crashes loses it when the lease ends, and the next
//! one takes over, with the first one's **plan**: what it chose before it began, such as the id of
//! what it makes. Work that is a function of its plan, and whose calls to others carry ids from the
//! plan, has one effect however many attempts it takes.
//!
//! | module | knows |
//! |---|---|
//! | `operation` | what is to have one effect, and how its repetition is known |
//! | `claim` | who may act on it: the rules |
//! | [`store`] | where claims are kept: one conditional write, and the table Idempotency |
//! | [`memory`] | the same in memory, with a clock that is told to move, for tests |
//! | [`http`] | `Idempotency-Key` on a route |
//!
//! A message is handled once by claiming its id:
//!
//! ```
//! # use std::time::SystemTime;
//! # use idempotency::{Claim, Error, Idempotency, IdempotencyKey, Scope, store::Store};
//! # async fn send_sms() -> Result<(), Error> { Ok(()) }
//! # #[derive(Debug, thiserror::Error)]
//! # enum NotifyError {
//! #     #[error(transparent)] Store(#[from] Error),
//! #     #[error("another delivery is being handled")] InProgress,
//! # }
//! async fn notify(
//!     idempotency: &Idempotency<impl Store>,
//!     purchase: &IdempotencyKey,
//!     deadline: SystemTime,
//! ) -> Result<(), NotifyError> {
//!     let operation = Scope::shared("notify").operation(purchase, b"");
//!     match idempotency.claim::<(), ()>(&operation, deadline, ()).await? {
//!         Claim::Start { held, .. } => match send_sms().await {
//!             Ok(()) => Ok(held.complete(&()).await?),
//!             Err(error) => {
//!                 held.release().await?;
//!                 Err(error.into())
//!             }
//!         },
//!         Claim::Replay(()) => Ok(()),
//!         // An error has the message delivered again: the other delivery may yet fail.
//!         Claim::InProgress { .. } => Err(NotifyError::InProgress),
//!         // There is no body that could differ.
//!         Claim::Mismatch => Ok(()),
//!     }
//! }
//! ```

mod claim;
pub mod http;
pub mod memory;
mod operation;
pub mod store;

pub use claim::{Cause, ClaimGuard, ClaimOutcome, Error, Idempotency};
pub use operation::{Fingerprint, IdempotencyKey, Operation, Scope};
pub use store::IdempotencyTable;
