//! The client of the Stripe API. It uses the request and response types of the crate async-stripe,
//! and requests the API version of these types. It sends the requests with the HTTP client of the
//! library `https`.

use std::{collections::BTreeMap, error, fmt, str::FromStr, time::Duration};

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use function::StartError;
use http::{HeaderValue, Method, Request, Uri, header};
use https::{Https, RootCertStore};
use miniserde::{Deserialize, json};
use secrets::{Secret, Secrets};
use serde::Serialize;
use stripe_client_core::{
    CustomizedStripeRequest, IdempotencyKey, RequestBuilder, RequestStrategy, StripeClient,
    StripeClientErr, StripeMethod, StripeRequest,
};
use stripe_core::payment_intent::{
    CancelPaymentIntent, RetrievePaymentIntent, SearchPaymentIntent,
};
use stripe_shared::{
    ApiErrors, ApiErrorsCode, ApiErrorsType, PaymentIntent, PaymentIntentStatus, version::VERSION,
};
use tokio::time::{Instant, sleep, timeout};

use super::{Cause, ChargeError, Error, Payments};
use crate::payment::{PaymentDetails, RefundedCharge};
use crate::{
    payment::{ClientSecret, Decline, IntentId, Payment},
    purchase::{Cents, PaymentSource, Purchase},
};

/// The timeout of one attempt of a call to Stripe. Stripe may still complete a request after its
/// timeout. The next attempt with the same idempotency key then gets the response to that request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(7);

/// The timeout of a call to Stripe with all its attempts. This time plus the time of a function's
/// other work must be less than the function's timeout.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The backoff before the second attempt of a call to Stripe. The backoff doubles before each
/// further attempt.
const INITIAL_BACKOFF: Duration = Duration::from_millis(250);

/// A client of the Stripe API.
pub struct Stripe {
    url: Uri,
    /// Returns the current secret key of the Stripe account.
    secret_key: Box<dyn Fn() -> Secret + Send + Sync>,
    https: Https,
}

impl Stripe {
    /// Creates a client from environment variables: `STRIPE_URL` is the URL of the API, and
    /// `SECRETS_PREFIX` is the path in SSM Parameter Store that contains the secret
    /// `stripe-secret-key`.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed, or the secret cannot be loaded. The error names
    /// the variable or the secret.
    pub async fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let BaseUrl(url) = function::setting("STRIPE_URL")?;
        let prefix = function::setting("SECRETS_PREFIX")?;
        let secrets = Secrets::load(aws, &prefix, ["stripe-secret-key"]).await?;
        let secret_key = move || {
            let [key] = secrets.current();
            key
        };
        Self::with_url(url, secret_key)
    }

    /// Creates a client of the API at `url`, such as `https://api.stripe.com`. `secret_key` returns
    /// the current secret key, and is called for each request.
    ///
    /// # Errors
    /// Fails if the URL is invalid or has a path, or the key cannot be sent in a header.
    pub fn new(
        url: &str,
        secret_key: impl Fn() -> Secret + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let BaseUrl(url) = url.parse()?;
        Self::with_url(url, secret_key)
    }

    fn with_url(
        url: Uri,
        secret_key: impl Fn() -> Secret + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        authorization(&secret_key())?;
        // Trust the root certificates of the public web, because Stripe advises against certificate
        // pinning.
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self {
            url,
            secret_key: Box::new(secret_key),
            https: Https::trusting(roots, ATTEMPT_TIMEOUT),
        })
    }

    /// Opens a connection to Stripe, so that the first call can reuse the connection.
    pub async fn warm_up(&self) {
        self.https.warm_up(self.url.clone()).await;
    }

    /// Converts a request of async-stripe to an HTTP request.
    fn request(
        &self,
        stripe_request: CustomizedStripeRequest,
    ) -> Result<Request<SdkBody>, CallError> {
        let (parts, options) = stripe_request.into_pieces();
        let mut url = format!("{}v1{}", self.url, parts.path);
        if let Some(query) = parts.query {
            url.push('?');
            url.push_str(&query);
        }
        let method = match parts.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, authorization(&(self.secret_key)())?)
            .header(header::USER_AGENT, "scratchpad")
            .header("stripe-version", VERSION.as_str());
        let strategy = options.request_strategy;
        if let Some(key) = strategy.and_then(|strategy| strategy.get_key()) {
            request = request.header("idempotency-key", key.as_str());
        }
        if parts.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = parts.body.map_or_else(SdkBody::empty, SdkBody::from);
        request.body(body).map_err(|_| CallError::InvalidRequest)
    }

    /// Sends a request. Retries the request as long as the error is retryable, and the next attempt
    /// can end within [`CALL_TIMEOUT`].
    async fn send<R>(&self, request: &R, strategy: RequestStrategy) -> Result<R::Output, CallError>
    where
        R: StripeRequest<Output: Deserialize + Send> + Sync,
    {
        let (started, mut backoff) = (Instant::now(), INITIAL_BACKOFF);
        loop {
            let attempt = request.customize().request_strategy(strategy.clone());
            let error = match attempt.send(self).await {
                Err(error) if error.is_retryable() => error,
                result => return result,
            };
            if started.elapsed() + backoff + ATTEMPT_TIMEOUT > CALL_TIMEOUT {
                return Err(error);
            }
            sleep(backoff).await;
            backoff *= 2;
        }
    }

    /// Reads the current state of the PaymentIntent `intent`.
    async fn read(&self, intent: &str) -> Result<PaymentIntent, CallError> {
        let retrieve = RetrievePaymentIntent::new(intent);
        self.send(&retrieve, RequestStrategy::Once).await
    }
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl StripeClient for Stripe {
    type Err = CallError;

    /// Sends the request once, without retries. Returns the body of the response if its status is
    /// 2xx, and an error otherwise.
    async fn execute(&self, stripe_request: CustomizedStripeRequest) -> Result<Bytes, CallError> {
        let request = self.request(stripe_request)?;
        let response = timeout(ATTEMPT_TIMEOUT, self.https.exchange(request)).await;
        let response = response
            .map_err(|_| CallError::Timeout)?
            .map_err(CallError::Unreachable)?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status().as_u16();
        let body = str::from_utf8(response.body()).map_err(CallError::deserialize_err)?;
        let body: stripe_shared::Error =
            json::from_str(body).map_err(CallError::deserialize_err)?;
        Err(CallError::Api(body.error, status))
    }
}

/// Builds the `Authorization` header. The value is marked as sensitive, so that debug output does
/// not show the secret key.
fn authorization(key: &Secret) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose()))
        .map_err(|_| CallError::InvalidRequest)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URL of the Stripe API, without a path.
struct BaseUrl(Uri);

impl FromStr for BaseUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let parsed = url.parse::<Uri>().ok();
        let valid = parsed.filter(|url| {
            let is_http = matches!(url.scheme_str(), Some("http" | "https"));
            is_http && url.path() == "/" && url.query().is_none()
        });
        valid
            .map(Self)
            .ok_or("it must be a URL without a path, such as https://api.stripe.com")
    }
}

/// The request that creates and confirms a PaymentIntent
/// (<https://docs.stripe.com/api/payment_intents/create>). The type of async-stripe for this
/// request does not support tokens.
#[derive(Serialize)]
struct CreatePaymentIntent<'a> {
    amount: Cents,
    currency: &'static str,
    confirm: bool,
    description: &'a str,
    metadata: Metadata<'a>,
    automatic_payment_methods: BTreeMap<&'static str, &'static str>,
    #[serde(flatten)]
    payment_method: PaymentMethodParam<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    user_id: &'a str,
    purchase_id: String,
}

/// The parameter for the payment source: `payment_method` for a payment method, or
/// `payment_method_data` for a token.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PaymentMethodParam<'a> {
    PaymentMethod(&'a str),
    PaymentMethodData {
        r#type: &'static str,
        card: Card<'a>,
    },
}

#[derive(Serialize)]
struct Card<'a> {
    token: &'a str,
}

impl<'a> CreatePaymentIntent<'a> {
    fn new(purchase: &'a Purchase, source: &'a PaymentSource) -> Self {
        let source = source.as_str();
        let payment_method = match source.starts_with("pm_") {
            true => PaymentMethodParam::PaymentMethod(source),
            false => PaymentMethodParam::PaymentMethodData {
                r#type: "card",
                card: Card { token: source },
            },
        };
        Self {
            amount: purchase.amount,
            currency: "usd",
            confirm: true,
            description: &purchase.description,
            metadata: Metadata {
                user_id: purchase.key.user_id.as_str(),
                purchase_id: purchase.key.purchase_id.to_string(),
            },
            // The customer authenticates within the page, because the app does not support
            // redirects.
            automatic_payment_methods: [("enabled", "true"), ("allow_redirects", "never")].into(),
            payment_method,
        }
    }
}

impl StripeRequest for CreatePaymentIntent<'_> {
    type Output = PaymentIntent;

    fn build(&self) -> RequestBuilder {
        RequestBuilder::new(StripeMethod::Post, "/payment_intents").form(self)
    }
}

impl Payments for Stripe {
    #[tracing::instrument(name = "Stripe charge", skip_all)]
    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let create = CreatePaymentIntent::new(purchase, source);
        let key = IdempotencyKey::new(purchase.key.purchase_id.to_string());
        let key = key.map_err(|error| ChargeError::Unknown(error.into()))?;
        let intent = match self.send(&create, RequestStrategy::Idempotent(key)).await {
            Ok(intent) => intent,
            Err(CallError::Api(error, 400 | 402)) => {
                return payment_from_error(error)
                    .map_err(|error| ChargeError::Unknown(error.into()));
            }
            Err(error) => return Err(ChargeError::Unknown(error.into())),
        };
        let intent = match intent.status {
            // This may be the stored response to an earlier attempt, and the customer may have
            // authenticated since then.
            PaymentIntentStatus::RequiresAction | PaymentIntentStatus::Processing => {
                self.read(&intent.id).await.unwrap_or(intent)
            }
            _ => intent,
        };
        payment_from_intent(intent).map_err(ChargeError::Unknown)
    }

    #[tracing::instrument(name = "Stripe search", skip_all)]
    async fn find_payments(&self, purchase: &Purchase) -> Result<Vec<Payment>, Error> {
        let id = purchase.key.purchase_id;
        let search = SearchPaymentIntent::new(format!("metadata['purchaseId']:'{id}'"));
        let found = self.send(&search, RequestStrategy::Once).await;
        let found = found.map_err(service_error)?.data.into_iter();
        let payments: Result<_, _> = found.map(payment_from_intent).collect();
        payments.map_err(Error::Failed)
    }

    fn is_live(&self) -> bool {
        false
    }

    async fn retrieve(&self, intent: &IntentId) -> Result<Option<PaymentDetails>, Error> {
        let _ = intent;
        Err(Error::Failed("not implemented".into()))
    }

    async fn refund(&self, intent: &IntentId) -> Result<RefundedCharge, Error> {
        let _ = intent;
        Err(Error::Failed("not implemented".into()))
    }

    #[tracing::instrument(name = "Stripe cancel", skip_all)]
    async fn cancel(&self, intent: &IntentId) -> Result<Payment, Error> {
        let cancel = CancelPaymentIntent::new(intent.as_str());
        let canceled = self.send(&cancel, RequestStrategy::Once).await;
        let current = match canceled {
            // The intent is already final, or cannot be canceled in its current status.
            Err(CallError::Api(_, 400)) => self.read(intent.as_str()).await,
            canceled => canceled,
        };
        payment_from_intent(current.map_err(service_error)?).map_err(Error::Failed)
    }
}

/// Converts a PaymentIntent to a [`Payment`]. Fails if the id is malformed, the status is unknown,
/// or the PaymentIntent requires authentication but has no client secret.
fn payment_from_intent(intent: PaymentIntent) -> Result<Payment, Cause> {
    let id = IntentId::try_from(intent.id.to_string())?;
    Ok(match intent.status {
        PaymentIntentStatus::Succeeded => Payment::Succeeded { intent: id },
        PaymentIntentStatus::Canceled => Payment::Canceled {
            intent: id,
            decline: None,
        },
        PaymentIntentStatus::Processing => Payment::Processing { intent: id },
        PaymentIntentStatus::RequiresAction => Payment::RequiresAction {
            intent: id,
            client_secret: ClientSecret::from(
                intent
                    .client_secret
                    .ok_or("the PaymentIntent has no client secret")?,
            ),
        },
        PaymentIntentStatus::RequiresPaymentMethod | PaymentIntentStatus::RequiresConfirmation => {
            let error = intent.last_payment_error.map(|error| *error);
            Payment::Declined {
                intent: Some(id),
                decline: error.map_or_else(Decline::unfinished, decline_from_error),
            }
        }
        other => return Err(format!("unexpected PaymentIntent status {}", other.as_str()).into()),
    })
}

/// Converts an API error that reports a decline to [`Payment::Declined`]. Every other error stays
/// an error.
fn payment_from_error(mut error: Box<ApiErrors>) -> Result<Payment, CallError> {
    if let Some(intent) = error.payment_intent.take() {
        let declined = |intent| Payment::Declined {
            intent: Some(intent),
            decline: decline_from_error(*error),
        };
        return IntentId::try_from(intent.id.to_string())
            .map(declined)
            .map_err(CallError::deserialize_err);
    }
    let param = error.param.as_deref().unwrap_or_default();
    if param == "payment_method" || param.starts_with("payment_method_data") {
        return Ok(Payment::Declined {
            intent: None,
            decline: decline_from_error(*error),
        });
    }
    Err(CallError::Api(error, 400))
}

/// Converts an API error to the reason of a decline. Stripe's message is used only for card errors,
/// because only these messages are meant for customers
/// (<https://docs.stripe.com/api/errors#errors-message>). Other errors get a message that this
/// function defines.
fn decline_from_error(error: ApiErrors) -> Decline {
    let code = error.code.as_ref().map(|code| code.as_str());
    let card_message = error
        .message
        .filter(|_| error.type_ == ApiErrorsType::CardError);
    let default_message = match error.code {
        Some(ApiErrorsCode::PaymentIntentAuthenticationFailure) => {
            "Your bank could not confirm that this card is yours. Your card was not charged."
        }
        _ => "This card cannot be used. Enter its details again.",
    };
    Decline {
        code: code.unwrap_or("card_declined").into(),
        decline_code: error.decline_code,
        message: card_message.unwrap_or_else(|| default_message.into()),
    }
}

fn service_error(error: CallError) -> Error {
    if error.is_retryable() {
        Error::Unavailable(error.into())
    } else {
        Error::Failed(error.into())
    }
}

/// The error of a call to Stripe. The text of the error is for the log. It does not contain
/// Stripe's response, because the response may contain a client secret.
pub enum CallError {
    /// Stripe responded with this API error and this HTTP status.
    Api(Box<ApiErrors>, u16),
    /// The connection to Stripe failed, or the response is incomplete.
    Unreachable(https::Failure),
    /// Stripe did not respond within 7 s, the timeout of one attempt.
    Timeout,
    /// Stripe's response cannot be parsed.
    InvalidResponse,
    /// The secret key is not a valid header value, or the HTTP request cannot be built.
    InvalidRequest,
}

impl CallError {
    /// Whether a retry may succeed. True if there was no valid response, or if Stripe responded
    /// with a server error (5xx), throttled the request (429), or is still processing an earlier
    /// attempt (409). <https://docs.stripe.com/error-low-level>
    fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout | Self::InvalidResponse => true,
            Self::Api(_, status) => matches!(status, 409 | 429 | 500..),
            Self::InvalidRequest => false,
        }
    }
}

impl StripeClientErr for CallError {
    fn deserialize_err(_: impl fmt::Display) -> Self {
        Self::InvalidResponse
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(error, status) => {
                let code = error.code.as_ref().map(|code| code.as_str());
                let kind = error.type_.as_str();
                write!(
                    f,
                    "Stripe responded {status} {kind} {}",
                    code.unwrap_or_default()
                )
            }
            Self::Unreachable(_) => write!(f, "Stripe cannot be reached"),
            Self::Timeout => write!(f, "Stripe did not respond within {ATTEMPT_TIMEOUT:?}"),
            Self::InvalidResponse => write!(f, "the response of Stripe cannot be parsed"),
            Self::InvalidRequest => write!(f, "the request to Stripe cannot be built"),
        }
    }
}

impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for CallError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreachable(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_use_the_api_version_that_tools_check() {
        assert_eq!(VERSION.as_str(), domain::stripe::API_VERSION);
    }
}
