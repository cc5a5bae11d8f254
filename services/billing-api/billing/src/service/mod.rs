//! The external services: one trait per service, next to its AWS or Stripe implementation.

pub mod dead_letters;
pub mod memory;
pub mod orders;
pub mod payments;
pub mod publisher;
pub mod purchases;
pub mod stream;
pub mod stripe;

pub use dead_letters::DeadLetterQueue;
pub use domain::{Cause, ServiceError as Error};
pub use orders::{Buyer, Opened, OrderStore, OrderTables};
pub use payments::{ChargeError, Payments};
pub use publisher::{NotePurchased, Publisher, Topic};
pub use purchases::{DueKey, DuePage, PurchaseStore, PurchasesTable, SettleIf, Settled};
pub use stripe::{BaseUrl, Stripe, StripeUntil};
