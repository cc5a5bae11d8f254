//! What is outside: one trait per thing, and its AWS implementation beside it.

pub mod announcer;
#[cfg(test)]
pub(crate) mod memory;
pub mod payments;
pub mod purchases;
pub mod stream;

pub use announcer::{Announcer, NotePurchased};
pub use domain::{Cause, ServiceError as Error};
pub use payments::{ChargeError, Payments};
pub use purchases::{PurchaseStore, PurchasesTable};
