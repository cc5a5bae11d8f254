//! The API's responses: status, JSON body, and the headers that Stripe's clients need, such as
//! `Stripe-Should-Retry` and `Idempotent-Replayed`.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE};
use serde_json::Value;

use crate::error::ApiError;

/// The response to an API call. Idempotency records store responses to replay them.
#[derive(Clone, Debug)]
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    body: Value,
    /// The id of the request whose execution led to this response.
    request_id: String,
}

impl ApiResponse {
    pub(crate) fn ok(body: Value, request_id: &str) -> Self {
        Self {
            status: 200,
            body,
            request_id: request_id.to_owned(),
        }
    }

    pub(crate) fn error(error: ApiError, request_id: &str) -> Self {
        Self {
            status: error.status,
            body: error.body(request_id),
            request_id: request_id.to_owned(),
        }
    }

    /// Creates the HTTP response to the request `request_id`. If `replayed` is true, this request
    /// is a retry, and the response is that of the first request with the same idempotency key.
    pub(crate) fn into_http(
        self,
        request_id: &str,
        version: &str,
        replayed: bool,
    ) -> Response<Full<Bytes>> {
        let mut response = Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, "application/json")
            .header("Request-Id", request_id)
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
            .header(ACCESS_CONTROL_EXPOSE_HEADERS, "Request-Id")
            .header("Stripe-Version", version);
        // A retry would not change the result of a replayed response or of a rejected request
        // (https://docs.stripe.com/error-low-level#retries).
        let should_retry = match self.status {
            409 => Some("true"),
            _ if replayed => Some("false"),
            400..=404 => Some("false"),
            _ => None,
        };
        if let Some(should_retry) = should_retry {
            response = response.header("Stripe-Should-Retry", should_retry);
        }
        if replayed {
            response = response
                .header("Idempotent-Replayed", "true")
                .header("Original-Request", self.request_id);
        }
        let body = Full::from(self.body.to_string());
        // Cannot fail, because the headers are generated ids and a validated version.
        response.body(body).unwrap_or_default()
    }
}
