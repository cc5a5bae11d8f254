//! Converts between HTTP and the domain types: parses request bodies, and builds response bodies and problem documents
//! (RFC 9457). A file per resource.

pub mod specimens;

use api::Problem;

use crate::controller::Error;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Resource(error) => error.into(),
        }
    }
}
