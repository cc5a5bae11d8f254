//! Tests the API with the request and response types of async-stripe. The product uses the same
//! types.

#![allow(clippy::panic, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use local_stripe::{Authentication, Failure, Settings, Stripe};
use serde::Serialize;
use stripe_client_core::{
    CustomizedStripeRequest, IdempotencyKey, RequestBuilder, RequestStrategy, StripeClient,
    StripeClientErr, StripeMethod, StripeRequest,
};
use stripe_core::charge::RetrieveCharge;
use stripe_core::dispute::{ListDispute, UpdateDispute, UpdateDisputeEvidence};
use stripe_core::event::ListEvent;
use stripe_core::payment_intent::{
    CancelPaymentIntent, ConfirmPaymentIntent, CreatePaymentIntent,
    CreatePaymentIntentAutomaticPaymentMethods,
    CreatePaymentIntentAutomaticPaymentMethodsAllowRedirects as Redirects, ListPaymentIntent,
    RetrievePaymentIntent,
};
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_shared::{
    ApiErrors, ApiErrorsCode, ApiErrorsType, ChargeStatus, DisputeStatus, PaymentIntent,
    PaymentIntentStatus,
};
use stripe_types::{Currency, RangeBoundsTs, RangeQueryTs};

/// A Stripe client that uses reqwest and shares no code with the product's client.
struct Client {
    url: String,
    key: String,
    timeout: Duration,
}

#[derive(Debug)]
enum ClientError {
    Api(Box<ApiErrors>, u16),
    Transport(reqwest::Error),
    Deserialization,
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error)
    }
}

impl StripeClientErr for ClientError {
    fn deserialize_err(_: impl Display) -> Self {
        Self::Deserialization
    }
}

impl StripeClient for Client {
    type Err = ClientError;

    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, ClientError> {
        let (request, settings) = request.into_pieces();
        let query = request
            .query
            .map_or_else(String::new, |query| format!("?{query}"));
        let url = format!("{}/v1{}{query}", self.url, request.path);
        let method = match request.method {
            StripeMethod::Get => reqwest::Method::GET,
            StripeMethod::Post => reqwest::Method::POST,
            StripeMethod::Delete => reqwest::Method::DELETE,
        };
        let mut call = reqwest::Client::new()
            .request(method, url)
            .timeout(self.timeout)
            .bearer_auth(&self.key);
        if let Some(RequestStrategy::Idempotent(key)) = settings.request_strategy {
            call = call.header("idempotency-key", key.as_str());
        }
        if let Some(body) = request.body {
            let form = "application/x-www-form-urlencoded";
            call = call.header("content-type", form).body(body);
        }
        let response = call.send().await?;
        let status = response.status();
        let body = response.bytes().await?;
        if status.is_success() {
            return Ok(body);
        }
        let body = str::from_utf8(&body).map_err(ClientError::deserialize_err)?;
        let body: stripe_shared::Error =
            miniserde::json::from_str(body).map_err(ClientError::deserialize_err)?;
        Err(ClientError::Api(body.error, status.as_u16()))
    }
}

async fn start() -> (Stripe, Client) {
    let stripe = Stripe::start(0, Settings::default()).await.unwrap();
    let client = client(&stripe, stripe.secret_key());
    (stripe, client)
}

fn client(stripe: &Stripe, key: &str) -> Client {
    Client {
        url: stripe.url(),
        key: key.to_owned(),
        timeout: Duration::from_secs(30),
    }
}

fn create() -> CreatePaymentIntent {
    CreatePaymentIntent::new(4000, Currency::USD)
        .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods {
            allow_redirects: Some(Redirects::Never),
            enabled: true,
        })
        .metadata(HashMap::from([("purchaseId".to_owned(), "a".to_owned())]))
}

fn pay(card: &str) -> CreatePaymentIntent {
    create()
        .payment_method(format!("pm_card_{card}"))
        .confirm(true)
}

fn idempotent(key: &str) -> RequestStrategy {
    RequestStrategy::Idempotent(IdempotencyKey::new(key).unwrap())
}

/// The request that creates a PaymentIntent with a token. async-stripe has no type for this
/// request: its `payment_method_data` has no field `card`.
#[derive(Serialize)]
struct ByToken {
    amount: u32,
    currency: &'static str,
    confirm: bool,
    #[serde(rename = "automatic_payment_methods[enabled]")]
    automatic: bool,
    #[serde(rename = "automatic_payment_methods[allow_redirects]")]
    redirects: &'static str,
    payment_method_data: MethodData,
}

#[derive(Serialize)]
struct MethodData {
    #[serde(rename = "type")]
    kind: &'static str,
    card: Token,
}

#[derive(Serialize)]
struct Token {
    token: &'static str,
}

impl StripeRequest for ByToken {
    type Output = PaymentIntent;

    fn build(&self) -> RequestBuilder {
        RequestBuilder::new(StripeMethod::Post, "/payment_intents").form(self)
    }
}

fn by_token(token: &'static str) -> ByToken {
    ByToken {
        amount: 4000,
        currency: "usd",
        confirm: true,
        automatic: true,
        redirects: "never",
        payment_method_data: MethodData {
            kind: "card",
            card: Token { token },
        },
    }
}

fn api_error(error: ClientError) -> (Box<ApiErrors>, u16) {
    match error {
        ClientError::Api(error, status) => (error, status),
        other => panic!("not an error of the API: {other:?}"),
    }
}

#[tokio::test]
async fn a_payment_with_a_token_is_charged_and_retrieved() {
    let (stripe, client) = start().await;
    let paid = by_token("tok_visa")
        .customize()
        .request_strategy(idempotent("a"));
    let paid = paid.send(&client).await.unwrap();
    assert_eq!(paid.status, PaymentIntentStatus::Succeeded);
    assert_eq!((paid.amount, paid.amount_received), (4000, 4000));
    let found = RetrievePaymentIntent::new(paid.id.clone());
    let found = found.send(&client).await.unwrap();
    assert_eq!(found.id, paid.id);
    let charges = stripe.charges();
    assert_eq!(charges.len(), 1);
    assert!(charges[0].paid);
    assert_eq!(stripe.calls()[0].idempotency_key.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_payment_intent_is_created_confirmed_and_canceled_in_separate_requests() {
    let (_stripe, client) = start().await;
    let intent = create().send(&client).await.unwrap();
    assert_eq!(intent.status, PaymentIntentStatus::RequiresPaymentMethod);
    assert_eq!(intent.metadata["purchaseId"], "a");
    let confirm = ConfirmPaymentIntent::new(intent.id).payment_method("pm_card_mastercard");
    let paid = confirm.send(&client).await.unwrap();
    assert_eq!(paid.status, PaymentIntentStatus::Succeeded);
    let late = CancelPaymentIntent::new(paid.id).send(&client).await;
    let (error, status) = api_error(late.unwrap_err());
    assert_eq!(status, 400);
    assert_eq!(
        error.code,
        Some(ApiErrorsCode::PaymentIntentUnexpectedState)
    );
    let other = create().send(&client).await.unwrap();
    let canceled = CancelPaymentIntent::new(other.id).send(&client).await;
    assert_eq!(canceled.unwrap().status, PaymentIntentStatus::Canceled);
}

#[tokio::test]
async fn a_decline_returns_its_code_and_detaches_the_payment_method() {
    let (stripe, client) = start().await;
    for (card, code, decline_code) in [
        (
            "chargeDeclined",
            ApiErrorsCode::CardDeclined,
            "generic_decline",
        ),
        (
            "visa_chargeDeclinedInsufficientFunds",
            ApiErrorsCode::CardDeclined,
            "insufficient_funds",
        ),
        (
            "visa_chargeDeclinedStolenCard",
            ApiErrorsCode::CardDeclined,
            "stolen_card",
        ),
        (
            "chargeDeclinedExpiredCard",
            ApiErrorsCode::ExpiredCard,
            "expired_card",
        ),
        (
            "chargeDeclinedIncorrectCvc",
            ApiErrorsCode::IncorrectCvc,
            "incorrect_cvc",
        ),
        (
            "chargeDeclinedProcessingError",
            ApiErrorsCode::ProcessingError,
            "processing_error",
        ),
    ] {
        let declined = pay(card).send(&client).await;
        let (error, status) = api_error(declined.unwrap_err());
        assert_eq!((status, &error.type_), (402, &ApiErrorsType::CardError));
        assert_eq!(
            (error.code, error.decline_code.as_deref()),
            (Some(code), Some(decline_code))
        );
        assert!(error.message.is_some());
        let intent = error.payment_intent.unwrap();
        assert_eq!(intent.status, PaymentIntentStatus::RequiresPaymentMethod);
        let last = intent.last_payment_error.unwrap();
        assert_eq!(last.decline_code.as_deref(), Some(decline_code));
    }
    assert!(stripe.charges().iter().all(|charge| !charge.paid));
}

#[tokio::test]
async fn a_3_d_secure_challenge_can_succeed_or_fail() {
    let (stripe, client) = start().await;
    for (card, authentication, status) in [
        (
            "threeDSecure2Required",
            Authentication::Succeeds,
            PaymentIntentStatus::Succeeded,
        ),
        (
            "authenticationRequired",
            Authentication::Fails,
            PaymentIntentStatus::RequiresPaymentMethod,
        ),
        (
            "authenticationRequiredChargeDeclinedInsufficientFunds",
            Authentication::Succeeds,
            PaymentIntentStatus::RequiresPaymentMethod,
        ),
    ] {
        let intent = pay(card).send(&client).await.unwrap();
        assert_eq!(intent.status, PaymentIntentStatus::RequiresAction);
        assert!(intent.client_secret.is_some());
        assert!(intent.next_action.is_some());
        stripe.authenticate(&intent.id, authentication).unwrap();
        let settled = RetrievePaymentIntent::new(intent.id.clone())
            .send(&client)
            .await;
        let settled = settled.unwrap();
        assert_eq!(settled.status, status);
        let failed = status == PaymentIntentStatus::RequiresPaymentMethod;
        assert_eq!(settled.last_payment_error.is_some(), failed);
        assert!(stripe.authenticate(&intent.id, authentication).is_err());
    }
}

#[tokio::test]
async fn a_retry_with_the_same_key_after_a_dropped_response_charges_once() {
    let (stripe, client) = start().await;
    stripe.inject(
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .drop_response(),
    );
    let dropped = pay("visa").customize().request_strategy(idempotent("a"));
    assert!(matches!(
        dropped.send(&client).await,
        Err(ClientError::Transport(_))
    ));
    let retry = pay("visa").customize().request_strategy(idempotent("a"));
    let paid = retry.send(&client).await.unwrap();
    assert_eq!(paid.status, PaymentIntentStatus::Succeeded);
    assert_eq!(stripe.charges().len(), 1);
}

#[tokio::test]
async fn errors_of_all_statuses_are_deserialized() {
    let (stripe, client) = start().await;
    for status in [400, 409, 429, 500, 503] {
        let failure = Failure::on("POST", "/v1/*").times(1).without_effect();
        stripe.inject(failure.respond_with(status));
        let (_, found) = api_error(pay("visa").send(&client).await.unwrap_err());
        assert_eq!(found, status);
    }
    let unauthorized = self::client(&stripe, "sk_test_other");
    let (error, status) = api_error(pay("visa").send(&unauthorized).await.unwrap_err());
    assert_eq!(
        (status, error.type_),
        (401, ApiErrorsType::InvalidRequestError)
    );
    let missing = RetrievePaymentIntent::new("pi_none").send(&client).await;
    let (error, status) = api_error(missing.unwrap_err());
    assert_eq!(
        (status, error.code),
        (404, Some(ApiErrorsCode::ResourceMissing))
    );
    assert!(stripe.charges().is_empty());
}

#[tokio::test]
async fn a_delayed_call_times_out() {
    let (stripe, mut client) = start().await;
    client.timeout = Duration::from_millis(1);
    let delay = Duration::from_secs(3600);
    stripe.inject(Failure::on("POST", "/v1/payment_intents").delay(delay));
    let late = pay("visa").send(&client).await;
    assert!(matches!(late, Err(ClientError::Transport(error)) if error.is_timeout()));
    assert!(stripe.charges().is_empty());
}

#[tokio::test]
async fn payments_are_listed_by_time_and_retrieved_with_their_charge() {
    let (stripe, client) = start().await;
    let paid = pay("visa").send(&client).await.unwrap();
    stripe.advance(Duration::from_secs(3600));
    pay("visa").send(&client).await.unwrap();
    let first = RangeBoundsTs {
        lte: Some(paid.created + 60),
        ..RangeBoundsTs::default()
    };
    let list = ListPaymentIntent::new().created(RangeQueryTs::Bounds(first));
    let list = list.send(&client).await.unwrap();
    assert_eq!(list.data.len(), 1);
    let retrieve = RetrievePaymentIntent::new(paid.id.clone()).expand(["latest_charge".to_owned()]);
    let retrieved = retrieve.send(&client).await.unwrap();
    let charge = retrieved.latest_charge.unwrap().into_object().unwrap();
    assert_eq!(charge.metadata, paid.metadata);
    let retrieved = RetrieveCharge::new(charge.id).send(&client).await.unwrap();
    assert_eq!(
        (retrieved.status, retrieved.amount_captured),
        (ChargeStatus::Succeeded, 4000)
    );
    let events = ListEvent::new().type_("charge.succeeded");
    let events = events.send(&client).await.unwrap();
    assert_eq!(events.data.len(), 2);
}

#[tokio::test]
async fn refunds_and_disputes_are_deserialized() {
    let (stripe, client) = start().await;
    stripe.set_bank_delay(Duration::ZERO);
    let paid = pay("refundFail").send(&client).await.unwrap();
    let refund = CreateRefund::new().payment_intent(paid.id.to_string());
    let refund = refund.send(&client).await.unwrap();
    assert_eq!(
        (refund.status.as_deref(), refund.amount),
        (Some("succeeded"), 4000)
    );
    let failed = loop {
        let list = ListRefund::new().payment_intent(paid.id.to_string());
        let refund = list.send(&client).await.unwrap().data.swap_remove(0);
        if refund.status.as_deref() == Some("failed") {
            break refund;
        }
    };
    assert!(failed.failure_reason.is_some());

    let paid = pay("createDispute").send(&client).await.unwrap();
    let dispute = loop {
        let list = ListDispute::new().payment_intent(paid.id.to_string());
        if let Some(dispute) = list.send(&client).await.unwrap().data.pop() {
            break dispute;
        }
    };
    assert_eq!(dispute.status, DisputeStatus::NeedsResponse);
    assert_eq!(dispute.balance_transactions.len(), 1);
    let refused = CreateRefund::new().payment_intent(paid.id.to_string());
    let (error, _) = api_error(refused.send(&client).await.unwrap_err());
    assert_eq!(error.code, Some(ApiErrorsCode::ChargeDisputed));
    let mut evidence = UpdateDisputeEvidence::new();
    evidence.uncategorized_text = Some("winning_evidence".to_owned());
    let update = UpdateDispute::new(dispute.id).evidence(evidence);
    let update = update.send(&client).await.unwrap();
    assert_eq!(update.status, DisputeStatus::UnderReview);
}
