//! The error responses of Stripe's API (<https://docs.stripe.com/api/errors>).

use serde_json::{Value, json};

use crate::card::Decline;
use crate::json::str_field;

/// An error response of the API: the HTTP status, and the error object in the body.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    error: Value,
}

impl ApiError {
    fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let error = json!({"type": kind, "message": message.into()});
        Self { status, error }
    }

    /// Status 400: the request is invalid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// Status 404: the API has no route with this method and path.
    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!("Unrecognized request URL ({method}: {path})."),
        )
    }

    /// Status 404: the object `id` does not exist. The id is in the URL or in a pagination
    /// parameter.
    pub(crate) fn missing(kind: &str, id: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!("No such {kind}: '{id}'"),
        )
        .code("resource_missing")
        .param("id")
    }

    /// Status 400: the object `id`, which is in the request parameter `param`, does not exist.
    pub(crate) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        Self::invalid(format!("No such {kind}: '{id}'"))
            .code("resource_missing")
            .param(param)
    }

    /// Status 400: the charge was already refunded in full
    /// (<https://docs.stripe.com/error-codes#charge-already-refunded>).
    pub(crate) fn already_refunded(charge: &str) -> Self {
        Self::invalid(format!("Charge {charge} has already been refunded."))
            .code("charge_already_refunded")
    }

    /// Status 400: the charge is disputed, so its amount is not available for a refund
    /// (<https://docs.stripe.com/error-codes#charge-disputed>).
    pub(crate) fn charge_disputed(charge: &str) -> Self {
        Self::invalid(format!(
            "Charge {charge} has been charged back; cannot issue a refund."
        ))
        .code("charge_disputed")
    }

    /// Status 402: a server sent a card number. Only browsers may send card numbers.
    pub(crate) fn raw_card_number() -> Self {
        Self::new(
            402,
            "invalid_request_error",
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We \
             suggest you use test tokens that map to the test card you are using, see \
             https://stripe.com/docs/testing.",
        )
    }

    /// Status 401: the API key is missing, unknown, or does not permit the call.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "invalid_request_error", message)
    }

    /// Status 400: the idempotency key was used for another request before.
    pub(crate) fn reused_key(message: impl Into<String>) -> Self {
        Self::new(400, "idempotency_error", message)
    }

    /// Status 409: the first request with the idempotency key `key` is still in progress.
    pub(crate) fn key_in_use(key: &str) -> Self {
        Self::new(
            409,
            "invalid_request_error",
            format!(
                "There is currently another in-progress request using this Idempotent Key (that \
                 probably means you submitted twice, and the other request is still going \
                 through): {key}. Please try again later."
            ),
        )
        .code("idempotency_key_in_use")
    }

    /// Status 402: the card details are invalid.
    pub(crate) fn card(code: &str, param: &str, message: &str) -> Self {
        Self::new(402, "card_error", message)
            .code(code)
            .param(param)
    }

    /// Status 402: the card is declined.
    pub(crate) fn declined(decline: &Decline) -> Self {
        let error = Self::new(402, "card_error", decline.message)
            .code(decline.code)
            .with("decline_code", decline.decline_code);
        match decline.param {
            Some(param) => error.param(param),
            None => error,
        }
    }

    /// The cardholder failed the 3-D Secure challenge. A PaymentIntent stores this error as its
    /// `last_payment_error`. The API never responds with it.
    pub(crate) fn authentication_failed() -> Self {
        Self::invalid(
            "The provided PaymentMethod has failed authentication. You can provide \
             payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent \
             again.",
        )
        .code("payment_intent_authentication_failure")
    }

    /// The error that the API responds with if an injected fault has the status `status`.
    pub(crate) fn injected(status: u16) -> Self {
        match status {
            429 => Self::new(
                429,
                "invalid_request_error",
                "Request rate limit exceeded. Learn more about rate limits here \
                 https://stripe.com/docs/rate-limits.",
            )
            .code("rate_limit"),
            409 => Self::new(
                409,
                "invalid_request_error",
                "This object cannot be accessed right now because another API request or Stripe \
                 process is currently accessing it.",
            )
            .code("lock_timeout"),
            400..500 => Self::new(
                status,
                "invalid_request_error",
                "An injected fault rejected the request.",
            ),
            _ => Self::new(
                status,
                "api_error",
                "An unknown error occurred. It has been reported to the Stripe team.",
            ),
        }
    }

    pub(crate) fn code(self, code: &str) -> Self {
        let url = format!(
            "https://stripe.com/docs/error-codes/{}",
            code.replace('_', "-")
        );
        self.with("code", code).with("doc_url", url)
    }

    pub(crate) fn param(self, param: &str) -> Self {
        self.with("param", param)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(error) = &mut self.error {
            error.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Replaces the PaymentIntent in the error with the result of `map`. Changes nothing if the
    /// error contains no PaymentIntent.
    pub(crate) fn map_intent(mut self, map: impl FnOnce(&Value) -> Value) -> Self {
        if let Some(intent) = self.error.get_mut("payment_intent") {
            *intent = map(intent);
        }
        self
    }

    /// The error object without the outer object of the response body, as in `last_payment_error`
    /// of a PaymentIntent.
    pub(crate) fn error(&self) -> &Value {
        &self.error
    }

    /// Returns the body of the error response to the request `request_id`.
    pub(crate) fn body(self, request_id: &str) -> Value {
        let url = format!("https://dashboard.stripe.com/test/logs/{request_id}");
        json!({"error": self.with("request_log_url", url).error})
    }
}

/// The error of [`Stripe::authenticate`](crate::Stripe::authenticate) and
/// [`Stripe::process`](crate::Stripe::process): the PaymentIntent does not exist or has another
/// status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatusError(pub(crate) String);

impl From<ApiError> for StatusError {
    fn from(error: ApiError) -> Self {
        Self(str_field(&error.error, "message").to_owned())
    }
}
