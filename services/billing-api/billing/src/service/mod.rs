//! What is outside: one trait per thing, and its AWS implementation beside it.

pub mod announcer;
#[cfg(test)]
pub(crate) mod memory;
pub mod payments;
pub mod purchases;
pub mod stream;

pub use announcer::{Announcer, NotePurchased};
pub use payments::{ChargeError, Payments};
pub use purchases::{PurchaseStore, PurchasesTable};

/// A service that did not do what it was asked. Its text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses work at the moment; later it may not. The call may have been carried out.
    #[error("a service refuses work at the moment")]
    Busy(#[source] Cause),
    /// It failed.
    #[error("a service failed")]
    Failed(#[source] Cause),
}

/// What went wrong, in the service's own words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<dynamodb::Error> for Error {
    fn from(error: dynamodb::Error) -> Self {
        if error.is_busy() {
            Self::Busy(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}
