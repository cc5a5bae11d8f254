//! Tests the Stripe client with the local Stripe test double, over HTTP.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use billing::{
    controller::CHARGE_WINDOW,
    payment::{Decline, IntentId, Payment},
    purchase::{
        Currency, Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Storage, Timestamp,
    },
    service::{ChargeError, Error, Payments, Stripe, StripeUntil},
};
use local_stripe::{Authentication, Failure, Settings, Stripe as Double};
use local_tls::{CertificateAuthority, Server};

const HOUR: Duration = Duration::from_secs(3600);

async fn start() -> (Double, Stripe) {
    let settings = Settings {
        bank_delay: HOUR,
        ..Settings::default()
    };
    let double = Double::start(0, settings).await.unwrap();
    let stripe = with_key(&double, double.secret_key());
    (double, stripe)
}

/// A client for an invocation that may take 28 s.
fn client(stripe: &Stripe) -> StripeUntil<'_> {
    stripe.until(SystemTime::now() + Duration::from_secs(28))
}

fn with_key(double: &Double, key: &str) -> Stripe {
    let key = key.to_owned();
    Stripe::new(&double.url(), move || key.clone().into()).unwrap()
}

fn order(source: &str) -> (Purchase, PaymentSource) {
    let source = PaymentSource::try_from(source.to_owned()).unwrap();
    let order = Order {
        storage: Storage::try_from(10).unwrap(),
        source: source.clone(),
        amount: None,
    };
    let key = PurchaseKey {
        user_id: "us-east-1:ada".parse().unwrap(),
        purchase_id: PurchaseId::generate(),
    };
    let now = Timestamp::now();
    (Purchase::pending(key, order, now, now), source)
}

async fn charge(stripe: &Stripe, source: &str) -> (Purchase, Payment) {
    let (purchase, source) = order(source);
    let payment = client(stripe).charge(&purchase, &source).await.unwrap();
    (purchase, payment)
}

fn intent(payment: &Payment) -> IntentId {
    payment.intent().unwrap().clone()
}

fn declined(payment: Payment) -> (Option<IntentId>, Decline) {
    match payment {
        Payment::Declined { intent, decline } => (intent, decline),
        other => panic!("{other:?}"),
    }
}

/// The price of 10 notes.
fn price() -> u32 {
    Storage::try_from(10).unwrap().price().get()
}

#[tokio::test]
async fn a_token_and_a_payment_method_are_charged_the_price_of_the_purchase() {
    let (double, stripe) = start().await;
    for source in ["tok_visa", "pm_card_visa"] {
        let (purchase, payment) = charge(&stripe, source).await;
        let Payment::Succeeded { intent } = payment else {
            panic!("{payment:?}")
        };
        let made = double.payment_intents();
        let made = made.iter().find(|made| made["id"] == intent.as_str());
        let made = made.unwrap();
        assert_eq!(made["amount_received"], price());
        assert_eq!(made["currency"], Currency::default().as_str());
        assert_eq!(made["description"], "storage for 10 notes");
        assert_eq!(made["metadata"]["userId"], "us-east-1:ada");
        let id = purchase.key.purchase_id.to_string();
        assert_eq!(made["metadata"]["purchaseId"], id);
        let calls = double.calls();
        assert_eq!(calls.last().unwrap().idempotency_key, Some(id));
        let found = client(&stripe).find_payments(&purchase).await.unwrap();
        assert_eq!(found, [Payment::Succeeded { intent }]);
    }
    assert_eq!(double.charges().len(), 2);
}

#[tokio::test]
async fn a_declined_payment_has_a_reason_and_keeps_it_when_it_is_canceled() {
    let (double, stripe) = start().await;
    for (source, code, decline_code) in [
        (
            "tok_chargeDeclined",
            "card_declined",
            Some("generic_decline"),
        ),
        (
            "tok_chargeDeclinedInsufficientFunds",
            "card_declined",
            Some("insufficient_funds"),
        ),
        ("tok_chargeDeclinedExpiredCard", "expired_card", None),
        (
            "tok_chargeDeclinedProcessingError",
            "processing_error",
            None,
        ),
    ] {
        let (_, payment) = charge(&stripe, source).await;
        let (intent, decline) = declined(payment);
        assert_eq!(decline.code, code, "{source}");
        if let Some(decline_code) = decline_code {
            assert_eq!(decline.decline_code.as_deref(), Some(decline_code));
        }
        assert!(decline.message.contains(' '), "{decline:?}");
        let intent = intent.unwrap();
        for _ in 0..2 {
            let canceled = client(&stripe).cancel(&intent).await.unwrap();
            let (intent, decline) = (intent.clone(), Some(decline.clone()));
            assert_eq!(canceled, Payment::Canceled { intent, decline });
        }
    }
    assert!(double.charges().iter().all(|charge| !charge.paid));
}

#[tokio::test]
async fn a_payment_that_was_never_attempted_is_canceled_without_a_reason() {
    let (_double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "pm_card_authenticationRequired").await;
    let canceled = client(&stripe).cancel(&intent(&payment)).await.unwrap();
    let (intent, decline) = (intent(&payment), None);
    assert_eq!(canceled, Payment::Canceled { intent, decline });
}

#[tokio::test]
async fn an_unknown_source_creates_no_intent() {
    let (double, stripe) = start().await;
    for source in ["tok_nobody", "pm_nobody"] {
        let (_, payment) = charge(&stripe, source).await;
        let (intent, decline) = declined(payment);
        assert_eq!(intent, None);
        assert_eq!(decline.code, "resource_missing");
        assert!(!decline.message.contains("nobody"), "{decline:?}");
    }
    assert!(double.payment_intents().is_empty());
}

/// Creates a payment method (`payment_methods`) or a token (`tokens`), as a browser does.
async fn created_source(double: &Double, kind: &str) -> String {
    let card = "key=pk_test_double&card[number]=4242424242424242&card[exp_month]=12\
                &card[exp_year]=40";
    let body = match kind {
        "payment_methods" => format!("{card}&type=card"),
        _ => card.to_owned(),
    };
    let request = reqwest::Client::new().post(format!("{}/v1/{kind}", double.url()));
    let response = request.body(body).send().await.unwrap();
    let source: serde_json::Value = response.json().await.unwrap();
    source["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_source_that_was_used_before_is_declined() {
    let (double, stripe) = start().await;
    for (kind, code) in [
        ("payment_methods", "card_declined"),
        ("tokens", "token_already_used"),
    ] {
        let source = created_source(&double, kind).await;
        let (_, payment) = charge(&stripe, &source).await;
        assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
        let (_, payment) = charge(&stripe, &source).await;
        let (intent, decline) = declined(payment);
        assert_eq!((intent, &*decline.code), (None, code));
    }
    assert_eq!(double.charges().len(), 2);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_not_a_decline() {
    let (_double, stripe) = start().await;
    let (mut purchase, source) = order("tok_visa");
    client(&stripe).charge(&purchase, &source).await.unwrap();
    purchase.description.push('s');
    let error = client(&stripe).charge(&purchase, &source).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ChargeError::Unknown(_)), "{error:?}");
}

#[tokio::test]
async fn a_repeated_charge_returns_the_current_status_after_authentication() {
    let (double, stripe) = start().await;
    for authentication in [Authentication::Succeeds, Authentication::Fails] {
        let (purchase, source) = order("pm_card_authenticationRequired");
        let stripe = client(&stripe);
        let payment = stripe.charge(&purchase, &source).await.unwrap();
        let Payment::RequiresAction {
            intent,
            client_secret,
        } = payment
        else {
            panic!("{payment:?}")
        };
        assert!(client_secret.expose().contains("_secret_"));
        double
            .authenticate(intent.as_str(), authentication)
            .unwrap();
        let current = stripe.charge(&purchase, &source).await.unwrap();
        match authentication {
            Authentication::Succeeds => assert_eq!(current, Payment::Succeeded { intent }),
            Authentication::Fails => {
                let (same_intent, decline) = declined(current);
                assert_eq!(same_intent, Some(intent));
                assert!(decline.message.starts_with("Your bank"), "{decline:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_succeeded_or_processing_payment_is_not_canceled() {
    let (double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "tok_visa").await;
    assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
    let canceled = client(&stripe).cancel(&intent(&payment)).await.unwrap();
    assert_eq!(canceled, payment);
    double.hold_payments(true);
    let (_, payment) = charge(&stripe, "tok_visa").await;
    assert!(matches!(payment, Payment::Processing { .. }), "{payment:?}");
    let canceled = client(&stripe).cancel(&intent(&payment)).await.unwrap();
    assert_eq!(canceled, payment);
    double.process(intent(&payment).as_str()).unwrap();
    let canceled = client(&stripe).cancel(&intent(&payment)).await.unwrap();
    assert!(
        matches!(canceled, Payment::Succeeded { .. }),
        "{canceled:?}"
    );
}

#[tokio::test]
async fn a_call_whose_response_is_lost_is_retried_and_charges_once() {
    let (double, stripe) = start().await;
    let create = || Failure::on("POST", "/v1/payment_intents").times(1);
    for failure in [
        create().drop_response(),
        create().without_effect(),
        create().without_effect().respond_with(429),
        create().without_effect().respond_with(409),
    ] {
        double.inject(failure);
        let before = double.charges().len();
        let (_, payment) = charge(&stripe, "tok_visa").await;
        assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
        assert_eq!(double.charges().len(), before + 1);
    }
}

#[tokio::test]
async fn a_stored_server_error_is_reported_and_the_list_shows_whether_the_card_was_charged() {
    for effect in [true, false] {
        let (double, stripe) = start().await;
        let (purchase, source) = order("tok_visa");
        let failure = Failure::on("POST", "/v1/payment_intents").times(1);
        let failure = failure.respond_with(500);
        double.inject(match effect {
            true => failure,
            false => failure.without_effect(),
        });
        let error = client(&stripe).charge(&purchase, &source).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ChargeError::ServerError(_)), "{error:?}");
        let text = format!("{error:?}");
        assert!(text.contains("500"), "{text}");
        let found = client(&stripe).find_payments(&purchase).await.unwrap();
        assert_eq!(found.len(), usize::from(effect));
        assert_eq!(double.charges().len(), usize::from(effect));
    }
}

#[tokio::test]
async fn an_error_contains_no_secret() {
    let (double, stripe) = start().await;
    let (purchase, source) = order("tok_visa");
    let with_other_key = with_key(&double, "sk_test_other");
    let error = client(&with_other_key).charge(&purchase, &source).await;
    let text = format!("{:?}", error.unwrap_err());
    assert!(text.contains("401") && !text.contains("sk_test"), "{text}");
    let unknown = IntentId::try_from("pi_none".to_owned()).unwrap();
    let error = client(&stripe).cancel(&unknown).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn all_payments_of_a_purchase_are_found_on_all_pages() {
    let (double, stripe) = start().await;
    let (purchase, source) = order("tok_visa");
    client(&stripe).charge(&purchase, &source).await.unwrap();
    for _ in 0..150 {
        let (other, source) = order("tok_visa");
        client(&stripe).charge(&other, &source).await.unwrap();
    }
    // After 24 hours, Stripe no longer knows the idempotency key, so a second call charges again. The
    // controllers must not make this call.
    double.advance(24 * HOUR);
    client(&stripe).charge(&purchase, &source).await.unwrap();
    let mut whole_day = purchase.clone();
    let found = client(&stripe).find_payments(&purchase).await.unwrap();
    assert_eq!(found.len(), 1, "one was created long after the order");
    whole_day.created_at = purchase.created_at.after(24 * HOUR);
    let found = client(&stripe).find_payments(&whole_day).await.unwrap();
    assert_eq!(found.len(), 1, "one was created long before the order");
    let (unknown, _) = order("tok_visa");
    let found = client(&stripe).find_payments(&unknown).await.unwrap();
    assert!(found.is_empty());
}

#[tokio::test]
async fn a_payment_at_the_end_of_the_charge_window_is_found() {
    let (_double, stripe) = start().await;
    let (mut purchase, source) = order("tok_visa");
    let age = CHARGE_WINDOW + Duration::from_secs(60);
    purchase.created_at = Timestamp::of(SystemTime::now() - age);
    client(&stripe).charge(&purchase, &source).await.unwrap();
    let found = client(&stripe).find_payments(&purchase).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn the_details_of_a_payment_name_its_purchase_amount_currency_and_mode() {
    for (key, is_live) in [("sk_test_1", false), ("rk_live_1", true)] {
        let settings = Settings {
            secret_key: key.to_owned(),
            ..Settings::default()
        };
        let double = Double::start(0, settings).await.unwrap();
        let stripe = with_key(&double, key);
        assert_eq!(client(&stripe).is_live(), is_live);
        let (purchase, payment) = charge(&stripe, "tok_visa").await;
        let details = client(&stripe).retrieve(&intent(&payment)).await.unwrap();
        let details = details.unwrap();
        assert!(details.is_for(&purchase), "{details:?}");
        assert_eq!(details.payment, payment);
        assert_eq!(
            (details.amount, details.amount_received),
            (price(), price())
        );
        assert_eq!(details.currency, Some(Currency::default()));
        assert_eq!(details.is_live, is_live);
        let unknown = IntentId::try_from("pi_none".to_owned()).unwrap();
        assert_eq!(client(&stripe).retrieve(&unknown).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_charge_is_refunded_once_in_full() {
    let (double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "tok_visa").await;
    let id = intent(&payment);
    for _ in 0..2 {
        let refunded = client(&stripe).refund(&id).await.unwrap();
        assert_eq!(refunded.amount, price());
    }
    // Stripe no longer knows the idempotency key, or a person refunded the charge in the Dashboard.
    double.advance(25 * HOUR);
    assert_eq!(client(&stripe).refund(&id).await.unwrap().amount, price());
    let details = client(&stripe).retrieve(&id).await.unwrap().unwrap();
    assert_eq!(details.amount_refunded, price());
    assert_eq!(double.refunds().len(), 1);
}

#[tokio::test]
async fn a_refund_whose_response_is_lost_or_an_error_is_made_once() {
    for effect in [true, false] {
        let (double, stripe) = start().await;
        let (_, payment) = charge(&stripe, "tok_visa").await;
        let id = intent(&payment);
        let failure = Failure::on("POST", "/v1/refunds")
            .times(1)
            .respond_with(500);
        double.inject(match effect {
            true => failure,
            false => failure.without_effect(),
        });
        let refunded = client(&stripe).refund(&id).await;
        assert_eq!(refunded.is_ok(), effect, "{refunded:?}");
        // Stripe responds with the stored error until it forgets the idempotency key.
        double.advance(25 * HOUR);
        double.inject(Failure::on("POST", "/v1/refunds").times(1).drop_response());
        assert_eq!(client(&stripe).refund(&id).await.unwrap().amount, price());
        assert_eq!(double.refunds().len(), 1);
    }
}

#[tokio::test]
async fn the_rest_of_a_partially_refunded_charge_is_refunded() {
    let (double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "tok_visa").await;
    let id = intent(&payment);
    let partial = reqwest::Client::new().post(format!("{}/v1/refunds", double.url()));
    let partial = partial.bearer_auth(double.secret_key());
    let partial = partial.body(format!(
        "payment_intent={}&amount={}",
        id.as_str(),
        price() / 4
    ));
    assert_eq!(partial.send().await.unwrap().status(), 200);
    assert_eq!(client(&stripe).refund(&id).await.unwrap().amount, price());
    assert_eq!(double.refunds().len(), 2);
}

#[tokio::test]
async fn a_payment_without_a_charge_is_not_refunded() {
    let (_double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "tok_chargeDeclined").await;
    let error = client(&stripe).refund(&intent(&payment)).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
}

/// Runs `call` while the clock of Tokio jumps over all waits. Returns the result and the time that
/// has passed on that clock.
async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let started = tokio::time::Instant::now();
    let result = call.await;
    (result, started.elapsed())
}

#[tokio::test]
async fn calls_end_three_seconds_before_the_deadline_of_the_invocation() {
    // A server that accepts connections and never responds.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stripe = Stripe::new(&url, || "sk_test_key".to_owned().into()).unwrap();
    let (purchase, source) = order("tok_visa");
    let id = IntentId::try_from("pi_1".to_owned()).unwrap();
    tokio::time::pause();
    for (left, spent) in [(28, 15), (14, 11), (10, 7), (6, 3), (3, 0), (0, 0)] {
        let until = stripe.until(SystemTime::now() + Duration::from_secs(left));
        let (result, took) = timed(until.charge(&purchase, &source)).await;
        assert!(matches!(result, Err(ChargeError::Unknown(_))), "{result:?}");
        let granularity = Duration::from_millis(2); // of Tokio's timers
        assert!(
            took <= Duration::from_secs(spent) + granularity,
            "{left}: {took:?}"
        );
        // The budget belongs to the invocation, not to a call.
        let (result, took_all) = timed(until.cancel(&id)).await;
        assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
        let budget = Duration::from_secs(left.saturating_sub(3));
        assert!(
            took + took_all <= budget + 2 * granularity,
            "{left}: {took:?} {took_all:?}"
        );
    }
}

#[tokio::test]
async fn a_changed_secret_key_is_used_from_the_next_call_on() {
    let (double, _) = start().await;
    let key = std::sync::Arc::new(std::sync::Mutex::new("sk_test_old".to_owned()));
    let current = std::sync::Arc::clone(&key);
    let stripe = Stripe::new(&double.url(), move || {
        current.lock().unwrap().clone().into()
    });
    let stripe = stripe.unwrap();
    let (purchase, source) = order("tok_visa");
    let refused = client(&stripe).charge(&purchase, &source).await;
    assert!(refused.is_err());
    *key.lock().unwrap() = double.secret_key().to_owned();
    let payment = client(&stripe).charge(&purchase, &source).await.unwrap();
    assert!(matches!(payment, Payment::Succeeded { .. }), "{payment:?}");
}

#[tokio::test]
async fn a_server_with_an_untrusted_certificate_never_receives_the_secret_key() {
    let untrusted = CertificateAuthority::new("untrusted authority").unwrap();
    let server = Server::start(untrusted.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let stripe = Stripe::new(&server.url(), || "sk_test_key".to_owned().into()).unwrap();
    stripe.warm_up().await;
    let (purchase, source) = order("tok_visa");
    // Too short for a second attempt.
    let stripe = stripe.until(SystemTime::now() + Duration::from_secs(5));
    let error = stripe.charge(&purchase, &source).await.unwrap_err();
    let text = function::chain(&error);
    assert!(text.contains("UnknownIssuer"), "{text}");
    assert_eq!(server.requests(), 0);
}
