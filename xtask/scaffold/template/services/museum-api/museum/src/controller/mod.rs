//! The business rules, a folder per resource and a file per function. The rules use services through traits, and do not
//! depend on Lambda, HTTP or AWS.

pub mod specimens;

/// An error of a business rule.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A resource does not exist or cannot be written, or a service call failed.
    #[error(transparent)]
    Resource(#[from] resources::Error),
}
