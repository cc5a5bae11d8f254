//! The client of the Stripe API. It uses the request and response types of the crate async-stripe,
//! and requests the API version of these types. It sends the requests with the HTTP client of the
//! library `https`.

use std::{
    collections::BTreeMap,
    error, fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use function::StartError;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use https::{Https, RootCertStore};
use miniserde::{Deserialize, json};
use secrets::{Secret, Secrets};
use serde::Serialize;
use stripe_client_core::{
    CustomizedStripeRequest, IdempotencyKey, RequestBuilder, RequestStrategy, StripeClient,
    StripeClientErr, StripeMethod, StripeRequest,
};
use stripe_core::payment_intent::{CancelPaymentIntent, ListPaymentIntent, RetrievePaymentIntent};
use stripe_shared::{
    ApiErrors, ApiErrorsCode, ApiErrorsType, PaymentIntent, PaymentIntentStatus, version::VERSION,
};
use stripe_types::{Expandable, RangeBoundsTs, RangeQueryTs};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Span;

use super::{Cause, ChargeError, Error, Payments};
use crate::{
    payment::{ClientSecret, Decline, IntentId, Payment},
    purchase::{Cents, Currency, PaymentSource, Purchase, PurchaseKey, Timestamp},
    report::{PaymentDetails, RefundedCharge},
};

/// The maximum timeout of one attempt of a call to Stripe. Stripe may still complete a request after
/// its timeout. The next attempt with the same idempotency key then gets the response to that
/// request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(7);

/// The minimum timeout of an attempt that is not the first attempt of its call. With less time left,
/// the call fails without a further attempt.
const MIN_RETRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum timeout of a call to Stripe with all its attempts. It leaves time for the call that
/// follows in the same invocation, such as the cancellation after a decline.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The time before the deadline of an invocation at which calls to Stripe end. The invocation needs
/// this time to store the result and to respond.
const MARGIN: Duration = Duration::from_secs(3);

/// The backoff before the second attempt of a call to Stripe. The backoff doubles before each
/// further attempt.
const INITIAL_BACKOFF: Duration = Duration::from_millis(250);

/// The time after the creation of a purchase during which its PaymentIntents are created. This is
/// the time during which the controllers charge cards (one hour), plus the time for which a request
/// may be on its way.
const CHARGED_WITHIN: Duration = Duration::from_secs(65 * 60);

/// The maximum difference between Stripe's clock and the clock that sets the creation time of a
/// purchase.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The number of PaymentIntents on one page of a list: the maximum.
const PAGE: i64 = 100;

/// The Stripe account: its secret key, and the URL of the API.
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
        let url = function::setting("STRIPE_URL")?;
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
        Self::with_url(url.parse()?, secret_key)
    }

    /// Creates a client of the API at `url`. `secret_key` returns the current secret key, and is called
    /// for each request.
    ///
    /// # Errors
    /// Fails if the key cannot be sent in a header.
    pub fn with_url(
        BaseUrl(url): BaseUrl,
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

    /// Returns a client for one invocation, whose deadline is `deadline`. All calls of the client end
    /// 3 s before the deadline.
    pub fn until(&self, deadline: SystemTime) -> StripeUntil<'_> {
        let left = deadline.duration_since(SystemTime::now());
        let left = left.unwrap_or_default().saturating_sub(MARGIN);
        StripeUntil {
            stripe: self,
            deadline: Instant::now() + left,
        }
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
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

/// A client of the Stripe API for one invocation: [`Stripe::until`].
#[derive(Debug, Clone, Copy)]
pub struct StripeUntil<'a> {
    stripe: &'a Stripe,
    /// The time at which all calls end.
    deadline: Instant,
}

impl StripeUntil<'_> {
    /// Sends a request. Retries the request as long as the error is retryable, and enough time is
    /// left for another attempt.
    async fn send<R>(&self, request: &R, strategy: RequestStrategy) -> Result<R::Output, CallError>
    where
        R: StripeRequest<Output: Deserialize + Send> + Sync,
    {
        let call = Self {
            deadline: self.deadline.min(Instant::now() + CALL_TIMEOUT),
            ..*self
        };
        let mut backoff = INITIAL_BACKOFF;
        loop {
            let attempt = request.customize().request_strategy(strategy.clone());
            let error = match attempt.send(&call).await {
                Err(error) if error.is_retryable() => error,
                result => return result.inspect_err(CallError::log_wrong_key),
            };
            let next = Instant::now() + backoff;
            if next + MIN_RETRY_TIMEOUT > call.deadline {
                return Err(error);
            }
            sleep_until(next).await;
            backoff *= 2;
        }
    }

    /// Reads the current state of the PaymentIntent `intent`.
    async fn read(&self, intent: &str) -> Result<PaymentIntent, CallError> {
        // The latest charge contains the refunded amount.
        let read = RetrievePaymentIntent::new(intent).expand(["latest_charge".to_owned()]);
        self.send(&read, RequestStrategy::Once).await
    }
}

impl StripeClient for StripeUntil<'_> {
    type Err = CallError;

    /// Sends the request once, without retries. Returns the body of the response if its status is
    /// 2xx, and an error otherwise.
    async fn execute(&self, stripe_request: CustomizedStripeRequest) -> Result<Bytes, CallError> {
        let request = self.stripe.request(stripe_request)?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CallError::NoTimeLeft);
        }
        let exchange = self.stripe.https.exchange(request);
        let response = timeout(left.min(ATTEMPT_TIMEOUT), exchange).await;
        let response = match response {
            Ok(response) => response.map_err(CallError::Unreachable),
            Err(_) => Err(CallError::Timeout),
        };
        trace(&response);
        let response = response?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status().as_u16();
        // Stripe sends `false` with a stored response, because each retry would get the same response
        // (https://docs.stripe.com/error-low-level#retries).
        let advice = response.headers().get("stripe-should-retry");
        let may_retry = advice.is_none_or(|advice| advice != "false");
        let body = str::from_utf8(response.body()).map_err(CallError::deserialize_err)?;
        let body: stripe_shared::Error =
            json::from_str(body).map_err(CallError::deserialize_err)?;
        Err(CallError::Api(body.error, status, may_retry))
    }
}

/// Adds the result of an attempt to the subsegment of the call: the status, or none if there was no response. A later attempt
/// replaces the result.
fn trace(response: &Result<Response<Bytes>, CallError>) {
    let span = Span::current();
    let status = response.as_ref().ok().map(Response::status);
    if let Some(status) = status {
        span.record("xray.status", u64::from(status.as_u16()));
    }
    span.record(
        "xray.failed",
        !status.is_some_and(|status| status.is_success()),
    );
}

/// Whether `key` is a key of live mode (<https://docs.stripe.com/keys>).
fn is_live_key(key: &Secret) -> bool {
    let live = ["sk_live_", "rk_live_"];
    live.iter().any(|prefix| key.expose().starts_with(prefix))
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
#[derive(Debug)]
pub struct BaseUrl(Uri);

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
    currency: &'a str,
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
            currency: purchase.currency.as_str(),
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

/// The request that refunds the remaining amount of a PaymentIntent's charge
/// (<https://docs.stripe.com/api/refunds/create>).
#[derive(Serialize)]
struct CreateRefund<'a> {
    payment_intent: &'a str,
}

/// The response to [`CreateRefund`]. No field is needed, because the charge contains the refunded
/// amount.
#[derive(Deserialize)]
struct CreatedRefund {}

impl StripeRequest for CreateRefund<'_> {
    type Output = CreatedRefund;

    fn build(&self) -> RequestBuilder {
        RequestBuilder::new(StripeMethod::Post, "/refunds").form(self)
    }
}

impl Payments for StripeUntil<'_> {
    fn is_live(&self) -> bool {
        is_live_key(&(self.stripe.secret_key)())
    }

    #[tracing::instrument(name = "Stripe charge", skip_all, fields(xray.status, xray.failed))]
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
            Err(CallError::Api(error, status @ (400 | 402), _)) => {
                let payment = payment_from_error(error, status);
                return payment.map_err(|error| ChargeError::Unknown(error.into()));
            }
            Err(error @ CallError::Api(_, 500.., _)) => {
                return Err(ChargeError::ServerError(error.into()));
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

    #[tracing::instrument(name = "Stripe list", skip_all, fields(xray.status, xray.failed))]
    async fn find_payments(&self, purchase: &Purchase) -> Result<Vec<Payment>, Error> {
        let ordered_at = unix_seconds(purchase.created_at);
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or_default();
        let created = RangeQueryTs::Bounds(RangeBoundsTs {
            gte: Some(ordered_at - seconds(CLOCK_SKEW)),
            lte: Some(ordered_at + seconds(CHARGED_WITHIN + CLOCK_SKEW)),
            ..RangeBoundsTs::default()
        });
        let first_page = ListPaymentIntent::new().created(created).limit(PAGE);
        let (mut page, mut found) = (first_page.clone(), Vec::new());
        loop {
            let listed = self.send(&page, RequestStrategy::Once).await;
            let listed = listed.map_err(service_error)?;
            let last = listed.data.last().map(|intent| intent.id.to_string());
            for intent in listed.data {
                if purchase_key(&intent).as_ref() == Some(&purchase.key) {
                    found.push(payment_from_intent(intent).map_err(Error::Failed)?);
                }
            }
            match last {
                Some(last) if listed.has_more => page = first_page.clone().starting_after(last),
                _ => return Ok(found),
            }
        }
    }

    #[tracing::instrument(name = "Stripe retrieve", skip_all, fields(xray.status, xray.failed))]
    async fn retrieve(&self, intent: &IntentId) -> Result<Option<PaymentDetails>, Error> {
        match self.read(intent.as_str()).await {
            Ok(intent) => details(intent).map(Some).map_err(Error::Failed),
            Err(CallError::Api(_, 404, _)) => Ok(None),
            Err(error) => Err(service_error(error)),
        }
    }

    #[tracing::instrument(name = "Stripe cancel", skip_all, fields(xray.status, xray.failed))]
    async fn cancel(&self, intent: &IntentId) -> Result<Payment, Error> {
        let cancel = CancelPaymentIntent::new(intent.as_str());
        let canceled = self.send(&cancel, RequestStrategy::Once).await;
        let current = match canceled {
            // The intent is already final, or cannot be canceled in its current status.
            Err(CallError::Api(_, 400, _)) => self.read(intent.as_str()).await,
            canceled => canceled,
        };
        payment_from_intent(current.map_err(service_error)?).map_err(Error::Failed)
    }

    #[tracing::instrument(name = "Stripe refund", skip_all, fields(xray.status, xray.failed))]
    async fn refund(&self, intent: &IntentId) -> Result<RefundedCharge, Error> {
        let payment_intent = intent.as_str();
        // Each call has a new key: with the same key, Stripe would repeat a stored server error for 24
        // hours. Stripe refunds no more than the charge, so two calls refund it once.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        let key = IdempotencyKey::new(format!("surplus-{payment_intent}-{now}"));
        let key = key.map_err(|error| Error::Failed(error.into()))?;
        let create = CreateRefund { payment_intent };
        let created = self.send(&create, RequestStrategy::Idempotent(key)).await;
        // The charge shows whether it is refunded. An error may be the stored response to an earlier
        // attempt, or may mean that the charge was already refunded.
        let intent = self.read(payment_intent).await.map_err(service_error)?;
        let refunded = amount_refunded(&intent);
        match created {
            Err(error) if refunded == 0 || refunded < amount(intent.amount_received) => {
                Err(service_error(error))
            }
            _ => Ok(RefundedCharge { amount: refunded }),
        }
    }
}

fn unix_seconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis() / 1000).unwrap_or(i64::MAX)
}

/// Converts an amount of Stripe's API. Returns 0 for a negative amount, and [`u32::MAX`] for an amount
/// that does not fit. No purchase has one of these amounts, so a comparison with a purchase finds a
/// difference.
fn amount(amount: i64) -> u32 {
    u32::try_from(amount.max(0)).unwrap_or(u32::MAX)
}

/// The sum of the refunds of the latest charge. 0 if there is no charge, or it is not expanded.
fn amount_refunded(intent: &PaymentIntent) -> u32 {
    let charge = intent.latest_charge.as_ref();
    let charge = charge.and_then(Expandable::as_object);
    charge.map_or(0, |charge| amount(charge.amount_refunded))
}

/// The key of the purchase, from the metadata. None if the metadata contains no valid key.
fn purchase_key(intent: &PaymentIntent) -> Option<PurchaseKey> {
    let metadata = |name| intent.metadata.get(name).map(String::as_str);
    Some(PurchaseKey {
        user_id: metadata("userId")?.parse().ok()?,
        purchase_id: metadata("purchaseId")?.parse().ok()?,
    })
}

fn details(intent: PaymentIntent) -> Result<PaymentDetails, Cause> {
    Ok(PaymentDetails {
        amount: amount(intent.amount),
        amount_received: amount(intent.amount_received),
        amount_refunded: amount_refunded(&intent),
        currency: Currency::try_from(intent.currency.to_string()).ok(),
        is_live: intent.livemode,
        purchase: purchase_key(&intent),
        payment: payment_from_intent(intent)?,
    })
}

/// Converts a PaymentIntent to a [`Payment`]. Fails if the id is malformed, the status is unknown,
/// or the PaymentIntent requires authentication but has no client secret.
fn payment_from_intent(intent: PaymentIntent) -> Result<Payment, Cause> {
    let id = IntentId::try_from(intent.id.to_string())?;
    let decline = intent
        .last_payment_error
        .map(|error| decline_from_error(*error));
    Ok(match intent.status {
        PaymentIntentStatus::Succeeded => Payment::Succeeded { intent: id },
        PaymentIntentStatus::Canceled => Payment::Canceled {
            intent: id,
            decline,
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
            Payment::Declined {
                intent: Some(id),
                decline: decline.unwrap_or_else(Decline::unfinished),
            }
        }
        other => return Err(format!("unexpected PaymentIntent status {}", other.as_str()).into()),
    })
}

/// Converts an API error of status 400 or 402 to [`Payment::Declined`]. Stripe has rejected the
/// request, and a repetition would not change that
/// (<https://docs.stripe.com/error-low-level#content-errors>). An idempotency error stays an error:
/// the request that it compares with this one may have charged the card.
fn payment_from_error(mut error: Box<ApiErrors>, status: u16) -> Result<Payment, CallError> {
    if error.type_ == ApiErrorsType::IdempotencyError {
        return Err(CallError::Api(error, status, false));
    }
    let intent = error.payment_intent.take();
    let intent = intent.map(|intent| IntentId::try_from(intent.id.to_string()));
    Ok(Payment::Declined {
        intent: intent.transpose().map_err(CallError::deserialize_err)?,
        decline: decline_from_error(*error),
    })
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
    if error.is_retryable() || matches!(error, CallError::NoTimeLeft) {
        Error::Unavailable(error.into())
    } else {
        Error::Failed(error.into())
    }
}

/// The error of a call to Stripe. The text of the error is for the log. It does not contain
/// Stripe's response, because the response may contain a client secret.
pub enum CallError {
    /// Stripe responded with this API error and this HTTP status. The flag is false if Stripe says
    /// that a retry would not change the response.
    Api(Box<ApiErrors>, u16, bool),
    /// The connection to Stripe failed, or the response is incomplete.
    Unreachable(https::Failure),
    /// Stripe did not respond within the timeout of an attempt.
    Timeout,
    /// The time of the invocation is used up. The request was not sent.
    NoTimeLeft,
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
            Self::Api(_, status, may_retry) => *may_retry && matches!(status, 409 | 429 | 500..),
            Self::InvalidRequest | Self::NoTimeLeft => false,
        }
    }

    /// Logs an error that means that a key is wrong: the secret key is not valid or lacks
    /// permissions, or the browser created the payment source with a key of another account or mode.
    fn log_wrong_key(&self) {
        let Self::Api(error, status, _) = self else {
            return;
        };
        let is_missing = error.code == Some(ApiErrorsCode::ResourceMissing);
        let is_rejected = matches!(status, 401 | 403);
        if is_rejected {
            metrics::STRIPE_KEY_REJECTED.add(1);
        }
        if is_rejected || (*status == 400 && is_missing) {
            let param = error.param.as_deref();
            tracing::error!(error = %self, param, "wrong Stripe key");
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
            Self::Api(error, status, _) => {
                let code = error.code.as_ref().map(|code| code.as_str());
                let kind = error.type_.as_str();
                write!(
                    f,
                    "Stripe responded {status} {kind} {}",
                    code.unwrap_or_default()
                )
            }
            Self::Unreachable(_) => write!(f, "Stripe cannot be reached"),
            Self::Timeout => write!(f, "Stripe did not respond in time"),
            Self::NoTimeLeft => write!(f, "no time is left for the request to Stripe"),
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

    #[test]
    fn the_prefix_of_a_key_determines_its_mode() {
        for (key, is_live) in [
            ("sk_live_1", true),
            ("rk_live_1", true),
            ("sk_test_1", false),
            ("rk_test_1", false),
            ("sk_test_live_", false),
        ] {
            assert_eq!(is_live_key(&key.to_owned().into()), is_live, "{key}");
        }
    }
}
