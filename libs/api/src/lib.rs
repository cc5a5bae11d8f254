//! HTTP for the functions behind API Gateway: requests, responses, and the error documents that
//! clients get.
//!
//! The handler of a route is a function that receives a [`Request`] and returns a [`Result`].
//! [`serve`] runs the handler.

mod etag;
mod fields;
mod list;
mod problem;
mod request;
mod response;
mod serve;

pub use etag::IfMatch;
pub use fields::{Body, Fields, integer, string, value};
pub use http::StatusCode;
pub use list::{List, PageRequest};
pub use problem::{FieldError, Problem};
pub use request::Request;
pub use response::Response;
pub use serve::serve;
pub use values::to_integer;

/// The result of a route's handler: a successful response, or a problem that becomes an error
/// response.
pub type Result<T = Response> = std::result::Result<T, Problem>;
