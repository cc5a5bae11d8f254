//! The HTTP edge that every route shares: what a request is, what an answer is, and what a client
//! is told when it cannot have one.
//!
//! A route's handler is a function from [`Request`] to [`Result`]; [`serve`] starts it.

mod etag;
mod fields;
mod list;
mod problem;
mod request;
mod response;
mod serve;

pub use etag::IfMatch;
pub use fields::{Body, Fields};
pub use http::StatusCode;
pub use list::{List, Page};
pub use problem::{FieldError, Problem};
pub use request::Request;
pub use response::Response;
pub use serve::serve;

/// What a handler answers with.
pub type Result<T = Response> = std::result::Result<T, Problem>;
