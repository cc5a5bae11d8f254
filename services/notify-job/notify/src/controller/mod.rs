//! The business rule: the owner of the product gets one SMS per notice about a purchase. The rule
//! does not depend on Lambda or AWS.

mod send;

pub use send::{Error, send};
