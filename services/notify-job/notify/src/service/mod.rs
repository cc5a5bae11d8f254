//! The service that sends SMS: a trait, next to its implementation with SNS.

#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod phone;

pub use domain::ServiceError as Error;
pub use phone::{Phone, Sms};
