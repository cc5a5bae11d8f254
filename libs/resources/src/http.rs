//! The headers of requests for resources, and the problem documents of their errors.

use api::{FieldError, IfMatch, Problem, Request};
use domain::{Author, ServiceError};

use crate::{Error, Precondition};

/// Reads the caller of a request who writes a resource.
///
/// # Errors
/// Returns a problem with the status 401 if the caller is not signed in.
pub fn author(request: &Request) -> api::Result<Author> {
    Ok(Author {
        id: request.caller()?,
        sub: request.sub(),
    })
}

/// Parses the precondition in the `If-Match` header of a request. If the header is absent or `*`, there is none.
///
/// # Errors
/// Returns a problem with the status 400 if the header is neither `*` nor a list of entity tags.
pub fn precondition(request: &Request) -> api::Result<Precondition> {
    Ok(match request.if_match()? {
        IfMatch::Absent | IfMatch::Any => Precondition::Any,
        // A tag that is not a version matches no resource, so it is dropped.
        IfMatch::Tags(tags) => {
            Precondition::OneOf(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
        }
    })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found("You have no resource with this id."),
            Error::Changed => Self::precondition_failed(
                "The resource has changed since you read it. Read it again, and repeat your change.",
            ),
            Error::Taken(fields) => {
                let detail = fields.iter().map(|field| {
                    format!("{field}: another resource of yours already has this value")
                });
                let detail = detail.collect::<Vec<_>>().join("; ");
                let errors = fields.into_iter().map(|field| FieldError {
                    field: field.into(),
                    detail: "must be unique among your resources".into(),
                });
                Self::conflict(detail).fields(errors.collect())
            }
            Error::Service(error @ ServiceError::Unavailable(_)) => Self::unavailable(error),
            Error::Service(error @ ServiceError::Failed(_)) => Self::internal(error),
        }
    }
}
