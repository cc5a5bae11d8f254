//! Requests to Stripe's API.

use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use domain::stripe::API_VERSION;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    request,
};
use https::{Https, RootCertStore};
use serde_json::Value;
use tokio::time::timeout;

use super::failure::Failure;

/// The time limit of a request, including its connection.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A client of Stripe's API. The caller passes the key of each request.
#[derive(Debug, Clone)]
pub(crate) struct StripeApi {
    url: String,
    https: Https,
}

/// A response from Stripe: a success, or an error about the key or the request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    /// The body. Null if it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// Whether the request succeeded.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Whether Stripe does not know the key.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// Whether the key is valid but has no permission for the request, as restricted keys may.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// Whether Stripe has no such object for the key.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The code of the error.
    pub(crate) fn code(&self) -> &str {
        self.text("/error/code")
    }

    /// The message of the error.
    pub(crate) fn message(&self) -> &str {
        self.text("/error/message")
    }

    /// The text at a JSON pointer. Empty if there is none.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        let value = self.body.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    /// The failure of a request whose response the caller did not expect.
    pub(crate) fn failure(&self) -> Failure {
        Failure::new(&format!(
            "Stripe responded with {}: {}",
            self.status,
            self.message()
        ))
    }
}

impl StripeApi {
    /// Creates a client of the API at `url`.
    pub(crate) fn new(url: &str) -> Self {
        // The root certificates of the public web, because Stripe advises against certificate pinning.
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self {
            url: url.trim_end_matches('/').to_owned(),
            https: Https::trusting(roots, TIMEOUT),
        }
    }

    /// Sends a GET request. `path` includes the query.
    ///
    /// # Errors
    /// Fails if Stripe does not respond, throttles the request, or responds with a server error.
    pub(crate) async fn get(&self, path: &str, key: &str) -> Result<Answer, Failure> {
        let request = Request::get(format!("{}{path}", self.url));
        self.send(request, String::new(), key).await
    }

    /// Sends a POST request with a form. Stripe executes requests with the same idempotency key once.
    ///
    /// # Errors
    /// Fails if Stripe does not respond, throttles the request, or responds with a server error. Stripe may have executed
    /// the request nevertheless, so a repetition must have the same idempotency key.
    pub(crate) async fn post(
        &self,
        path: &str,
        form: String,
        key: &str,
        idempotency_key: &str,
    ) -> Result<Answer, Failure> {
        let request = Request::post(format!("{}{path}", self.url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("idempotency-key", idempotency_key);
        self.send(request, form, key).await
    }

    async fn send(
        &self,
        request: request::Builder,
        body: String,
        key: &str,
    ) -> Result<Answer, Failure> {
        let authorization = HeaderValue::try_from(format!("Bearer {key}"));
        let mut authorization = authorization
            .map_err(|_| Failure::new("the key has characters that no header can have"))?;
        authorization.set_sensitive(true);
        let request = request
            .header(AUTHORIZATION, authorization)
            .header("stripe-version", API_VERSION)
            .body(SdkBody::from(body))
            .map_err(|error| Failure::from_error(&error))?;
        let response = match timeout(TIMEOUT, self.https.exchange(request)).await {
            Ok(response) => response.map_err(|error| Failure::from_error(&error))?,
            Err(_) => return Err(Failure::new("Stripe did not respond within 15 s")),
        };
        let answer = Answer {
            status: response.status(),
            body: serde_json::from_slice(response.body()).unwrap_or_default(),
        };
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(answer.failure());
        }
        Ok(answer)
    }
}
