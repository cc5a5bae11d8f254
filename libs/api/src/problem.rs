//! What a client is told when it cannot have what it asked for.
//!
//! An error has two readers. The client gets a problem document (RFC 9457) that says what to
//! change, and never the inside. The log gets the cause, under the same request id. A [`Problem`]
//! carries both, so that neither is made up far from where the error was understood:
//!
//! - what the client can mend: a constructor with a sentence for the client, no cause;
//! - what the client cannot mend: [`Problem::internal`] or [`Problem::unavailable`], whose
//!   sentence is fixed and whose cause goes to the log alone.

use std::{collections::BTreeMap, error::Error, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

/// An error answer: the client's part and the log's.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    members: BTreeMap<&'static str, String>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// One field that the client has to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name, with dots for what is nested; empty for the body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// The document of RFC 9457. <https://www.rfc-editor.org/rfc/rfc9457#section-3.1>
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
    members: &'a BTreeMap<&'static str, String>,
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

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: nobody is known to be asking.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 402: the payment was not made.
    pub fn payment_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, detail)
    }

    /// 404: there is no such thing, or it is not the caller's.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it cannot be done now, but perhaps later.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 412: the thing is no longer what `If-Match` says.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }

    /// 413: the body is longer than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {limit} bytes. Send a smaller one."),
        )
    }

    /// 415: the body is not JSON by its `Content-Type`.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with Content-Type: application/json.",
        )
    }

    /// 422: the request can be read, but these fields of it cannot be used.
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

    /// 422 for one field.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::unprocessable(vec![FieldError {
            field: field.into(),
            detail: detail.into(),
        }])
    }

    /// 500: our fault. The cause goes to the log.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong on our side. Try again; if it goes on, tell us the requestId.",
            )
        }
    }

    /// 503: what we depend on refuses work at the moment. The cause goes to the log.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The service is overloaded at the moment. Try again in a few seconds.",
            )
        }
    }

    /// Says something else to the client than the fixed sentence.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// Adds a member of the problem's own, for the client's program.
    /// <https://www.rfc-editor.org/rfc/rfc9457#section-3.2>
    pub fn with(mut self, member: &'static str, value: impl Into<String>) -> Self {
        self.members.insert(member, value.into());
        self
    }

    /// Tells the client when to ask again.
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>
    pub fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields that the client has to change.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What the log gets.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// The headers that the client gets.
    pub fn headers(&self) -> HeaderMap {
        let json = HeaderValue::from_static("application/problem+json");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        if let Some(wait) = self.retry_after {
            // Whole seconds, and none of them too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        headers
    }

    /// The document that the client gets.
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
        // Strings and numbers alone: this cannot fail.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_of_an_error_is_not_in_the_document() {
        let problem = Problem::internal("password of the database is hunter2");
        assert!(!problem.document("r-1").contains("hunter2"));
        assert!(problem.cause().unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn a_problem_can_have_members_of_its_own() {
        let problem = Problem::payment_required("Your card was declined.");
        let document = problem.with("code", "card_declined").document("r-1");
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["status"], 402);
        assert_eq!(document["code"], "card_declined");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_none_of_them_too_early() {
        for (wait, seconds) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::conflict("busy").retry_after(Duration::from_millis(wait));
            assert_eq!(problem.headers()["retry-after"], seconds);
        }
        let without = Problem::conflict("busy").headers();
        assert!(!without.contains_key("retry-after"));
    }

    #[test]
    fn a_document_has_the_fields_of_rfc_9457_and_the_request_id() {
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
