//! Error responses.
//!
//! The client and the log need different texts for an error. The client gets a problem document
//! (RFC 9457). It says what to change, and contains no internal details. The log gets the cause of
//! the error. The document and the log line contain the id of the request. A [`Problem`] contains
//! the document's text and the cause, so that both are written where the error is detected:
//!
//! - For an error that the client can correct, use the constructor for its status, such as
//!   [`Problem::bad_request`]. Such a problem has no cause.
//! - For other errors, use [`Problem::internal`] or [`Problem::unavailable`]. The client gets a
//!   fixed sentence, and only the log gets the cause.

use std::{collections::BTreeMap, error::Error, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

/// A failed request: the error response for the client and the cause for the log.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    members: BTreeMap<&'static str, Value>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// A field of the request that the client must correct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The name of the field. Empty if the body as a whole is invalid.
    pub field: String,
    /// What the field must be, such as `must be a string`.
    pub detail: String,
}

/// The JSON of a problem document, as RFC 9457 defines it.
/// <https://www.rfc-editor.org/rfc/rfc9457#section-3.1>
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: &'a BTreeMap<&'static str, Value>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            members: BTreeMap::new(),
            retry_after: None,
            cause: None,
        }
    }

    /// 400: the request cannot be parsed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: the caller is not signed in.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    // part: billing {
    /// 402: the payment failed, or the cardholder must confirm it (3-D Secure).
    pub fn payment_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, detail)
    }
    // part: billing }

    /// 404: the resource does not exist, or belongs to another user.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: a conflicting request is in progress, and the client can retry later. Or the request conflicts with the state of a
    /// resource: then the document has a `code`.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 412: the resource does not have the entity tag that `If-Match` requires.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413: the body is longer than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {limit} bytes. Send a smaller body."),
        )
    }

    /// 415: the `Content-Type` is not JSON.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with Content-Type: application/json.",
        )
    }

    /// 422: fields of the request are missing or invalid.
    pub fn unprocessable(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| match error.field.as_str() {
                "" => error.detail.clone(),
                field => format!("{field}: {}", error.detail),
            })
            .collect::<Vec<_>>()
            .join("; ");
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// 422: one field of the request is missing or invalid.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::unprocessable(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    /// 429: the caller must wait before the next request.
    pub fn too_many_requests(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// 500: an internal error. Only the log gets `cause`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "An internal error occurred. Try again. If the error persists, report the requestId.",
            )
        }
    }

    /// 503: a service that the function depends on is unavailable. Only the log gets `cause`.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is temporarily unavailable. Try again in a few seconds.",
            )
        }
    }

    /// Replaces the member `detail` of the problem document: the sentence for the client.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// Adds an extension member to the problem document: a field, such as `code`, for client
    /// programs. RFC 9457 does not define the names of these fields.
    /// <https://www.rfc-editor.org/rfc/rfc9457#section-3.2>
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(member, value.into());
        self
    }

    /// Adds the fields of the request that caused the problem.
    pub fn fields(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// Sets the header `Retry-After` to `wait`, rounded up to seconds. The client can retry after
    /// this time. <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The HTTP status of the error response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields of the request that the client must correct.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The cause of the error, for the log. None if the client can correct the error.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// The headers of the error response: `Content-Type`, and `Retry-After` if
    /// [`Problem::retry_after`] was called.
    pub fn headers(&self) -> HeaderMap {
        let json = HeaderValue::from_static("application/problem+json");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        if let Some(wait) = self.retry_after {
            // In whole seconds, rounded up, so that the client does not retry too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        headers
    }

    /// The body of the error response: a problem document, as JSON.
    pub(crate) fn document(&self, request_id: &str) -> String {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
            members: &self.members,
        };
        // Serialization cannot fail, because a document contains only strings and numbers.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_internal_error_is_not_in_the_document() {
        let problem = Problem::internal("password of the database is hunter2");
        assert!(!problem.document("r-1").contains("hunter2"));
        assert!(problem.cause().unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn a_problem_can_have_extension_members() {
        let problem = Problem::conflict("You have 100 notes and may have 100.");
        let problem = problem.with("code", "storage_full").with("used", 100);
        let document: Value = serde_json::from_str(&problem.document("r-1")).unwrap();
        assert_eq!(document["status"], 409);
        assert_eq!(document["code"], "storage_full");
        assert_eq!(document["used"], 100);
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (wait, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::conflict("busy").retry_after(Duration::from_millis(wait));
            assert_eq!(problem.headers()["retry-after"], seconds);
        }
        let without = Problem::conflict("busy").headers();
        assert!(!without.contains_key("retry-after"));
    }

    #[test]
    fn a_document_has_the_members_of_rfc_9457_and_the_request_id() {
        let problem = Problem::unprocessable(vec![
            FieldError {
                field: "content".into(),
                detail: "must not be empty".into(),
            },
            FieldError {
                field: "attachment".into(),
                detail: "must be a string".into(),
            },
        ]);
        let document: serde_json::Value = serde_json::from_str(&problem.document("r-1")).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "content: must not be empty; attachment: must be a string",
                "requestId": "r-1",
                "errors": [
                    {"field": "content", "detail": "must not be empty"},
                    {"field": "attachment", "detail": "must be a string"},
                ],
            })
        );
    }
}
