//! What is outside: one trait per thing, and its AWS implementation beside it.

pub mod announcer;
pub mod failures;
#[cfg(test)]
pub(crate) mod memory;
pub mod payments;
pub mod purchases;
pub mod stream;
pub mod stripe;

pub use announcer::{Announcer, NotePurchased, Topic};
pub use domain::{Cause, ServiceError as Error};
pub use failures::FailuresQueue;
pub use payments::{ChargeError, Payments};
pub use purchases::{PurchaseStore, PurchasesTable};
pub use stripe::Stripe;
