//! The service that sends SMS: a trait, next to its implementation with SNS.

#[cfg(test)]
pub(crate) mod memory;
pub mod phone;

pub use domain::ServiceError as Error;
pub use phone::{Phone, Sms};
