//! Stripe's errors (<https://docs.stripe.com/api/errors>).

use serde_json::{Value, json};

use crate::card::Decline;
use crate::ledger::text;

/// An error as Stripe answers it.
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

    /// The request itself is wrong: 400.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// The request is for something that the API does not have: 404.
    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!("Unrecognized request URL ({method}: {path})."),
        )
    }

    /// What the request is about is not there: 404.
    pub(crate) fn missing(kind: &str, id: &str) -> Self {
        Self::new(
            404,
            "invalid_request_error",
            format!("No such {kind}: '{id}'"),
        )
        .code("resource_missing")
        .param("id")
    }

    /// What a parameter names is not there: 400.
    pub(crate) fn no_such(kind: &str, id: &str, param: &str) -> Self {
        Self::invalid(format!("No such {kind}: '{id}'"))
            .code("resource_missing")
            .param(param)
    }

    /// A server sent a card's number, which it is not to know: 402.
    pub(crate) fn refused_number() -> Self {
        Self::new(
            402,
            "invalid_request_error",
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We \
             suggest you use test tokens that map to the test card you are using, see \
             https://stripe.com/docs/testing.",
        )
    }

    /// The caller is not known: 401.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "invalid_request_error", message)
    }

    /// The key has been used for something else: 400.
    pub(crate) fn reused_key(message: impl Into<String>) -> Self {
        Self::new(400, "idempotency_error", message)
    }

    /// The key is being used for a request that has not ended: 409.
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

    /// Something is wrong with what was typed of a card: 402.
    pub(crate) fn card(code: &str, param: &str, message: &str) -> Self {
        Self::new(402, "card_error", message)
            .code(code)
            .param(param)
    }

    /// The card is refused: 402.
    pub(crate) fn declined(decline: &Decline) -> Self {
        let error = Self::new(402, "card_error", decline.message)
            .code(decline.code)
            .with("decline_code", decline.decline_code);
        match decline.param {
            Some(param) => error.param(param),
            None => error,
        }
    }

    /// The holder did not prove who they are. Part of an intent, never an answer of its own.
    pub(crate) fn authentication_failed() -> Self {
        Self::invalid(
            "The provided PaymentMethod has failed authentication. You can provide \
             payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent \
             again.",
        )
        .code("payment_intent_authentication_failure")
    }

    /// What Stripe says with a status for no reason of the request's.
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
            400..500 => Self::new(status, "invalid_request_error", "Refused on request."),
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

    /// Shows the intent that the error is about as `show` does.
    pub(crate) fn show_intent(mut self, show: impl FnOnce(&Value) -> Value) -> Self {
        if let Some(intent) = self.error.get_mut("payment_intent") {
            *intent = show(intent);
        }
        self
    }

    /// The error without its envelope, as an intent holds its last one.
    pub(crate) fn error(&self) -> &Value {
        &self.error
    }

    /// The answer's body.
    pub(crate) fn body(self, request_id: &str) -> Value {
        let url = format!("https://dashboard.stripe.com/test/logs/{request_id}");
        json!({"error": self.with("request_log_url", url).error})
    }
}

/// Why the holder of a card can't answer a challenge.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoChallenge(pub(crate) String);

impl From<ApiError> for NoChallenge {
    fn from(error: ApiError) -> Self {
        Self(text(&error.error, "message").to_owned())
    }
}
