//! Tests the Stripe client with the local Stripe test double, over HTTP.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::Duration;

use billing::{
    payment::{Decline, IntentId, Payment},
    purchase::{Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Storage, Timestamp},
    service::{Error, Payments, Stripe},
};
use local_stripe::{Authentication, Failure, Settings, Stripe as Double};
use local_tls::{CertificateAuthority, Server};

async fn start() -> (Double, Stripe) {
    let settings = Settings {
        search_lag: Duration::ZERO,
        ..Settings::default()
    };
    let double = Double::start(0, settings).await.unwrap();
    let stripe = with_key(&double, double.secret_key());
    (double, stripe)
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
    };
    let key = PurchaseKey {
        user_id: "us-east-1:ada".parse().unwrap(),
        purchase_id: PurchaseId::generate(),
    };
    let now = Timestamp::now();
    (Purchase::pending(key, order, now, now), source)
}

async fn charge(stripe: &Stripe, source: &str) -> (PurchaseKey, Payment) {
    let (purchase, source) = order(source);
    let payment = stripe.charge(&purchase, &source).await.unwrap();
    (purchase.key, payment)
}

fn declined(payment: Payment) -> (Option<IntentId>, Decline) {
    match payment {
        Payment::Declined { intent, decline } => (intent, decline),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_and_a_payment_method_are_charged_the_price_of_the_purchase() {
    let (double, stripe) = start().await;
    for source in ["tok_visa", "pm_card_visa"] {
        let (key, payment) = charge(&stripe, source).await;
        let Payment::Succeeded { intent } = payment else {
            panic!("{payment:?}")
        };
        let made = double.payment_intents();
        let made = made.iter().find(|made| made["id"] == intent.as_str());
        let made = made.unwrap();
        assert_eq!(made["amount_received"], 4_000);
        assert_eq!(made["currency"], "usd");
        assert_eq!(made["description"], "storage for 10 notes");
        assert_eq!(made["metadata"]["userId"], "us-east-1:ada");
        let id = key.purchase_id.to_string();
        assert_eq!(made["metadata"]["purchaseId"], id);
        let calls = double.calls();
        assert_eq!(calls.last().unwrap().idempotency_key, Some(id));
        let found = stripe.find_payment(&key).await.unwrap();
        assert_eq!(found, Some(Payment::Succeeded { intent }));
    }
    assert_eq!(double.charges().len(), 2);
}

#[tokio::test]
async fn a_declined_payment_has_a_reason_and_can_be_canceled() {
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
            let canceled = stripe.cancel(&intent).await.unwrap();
            let intent = intent.clone();
            assert_eq!(canceled, Payment::Canceled { intent });
        }
    }
    assert!(double.charges().iter().all(|charge| !charge.paid));
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

#[tokio::test]
async fn a_repeated_charge_returns_the_current_status_after_authentication() {
    let (double, stripe) = start().await;
    for authentication in [Authentication::Succeeds, Authentication::Fails] {
        let (purchase, source) = order("pm_card_authenticationRequired");
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
async fn a_succeeded_payment_is_not_canceled() {
    let (_double, stripe) = start().await;
    let (_, payment) = charge(&stripe, "tok_visa").await;
    let Payment::Succeeded { intent } = &payment else {
        panic!("{payment:?}")
    };
    assert_eq!(stripe.cancel(intent).await.unwrap(), payment);
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
async fn a_failed_charge_is_an_error_that_contains_no_secret() {
    let (double, stripe) = start().await;
    let (purchase, source) = order("tok_visa");
    double.inject(
        Failure::on("POST", "/v1/payment_intents")
            .times(1)
            .respond_with(500),
    );
    let error = stripe.charge(&purchase, &source).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("500"), "{text}");
    // The card was charged nevertheless, and the search finds the payment.
    let found = stripe.find_payment(&purchase.key).await.unwrap();
    assert!(
        matches!(found, Some(Payment::Succeeded { .. })),
        "{found:?}"
    );

    let with_other_key = with_key(&double, "sk_test_other");
    let error = with_other_key.charge(&purchase, &source).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("401") && !text.contains("sk_test"), "{text}");
    let intent = IntentId::try_from("pi_none".to_owned()).unwrap();
    let error = stripe.cancel(&intent).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn a_payment_that_was_never_made_is_not_found() {
    let (_double, stripe) = start().await;
    let (purchase, _) = order("tok_visa");
    assert_eq!(stripe.find_payment(&purchase.key).await.unwrap(), None);
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
    assert!(stripe.charge(&purchase, &source).await.is_err());
    *key.lock().unwrap() = double.secret_key().to_owned();
    let payment = stripe.charge(&purchase, &source).await.unwrap();
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
    let error = stripe.charge(&purchase, &source).await.unwrap_err();
    let text = function::chain(&error);
    assert!(text.contains("UnknownIssuer"), "{text}");
    assert_eq!(server.requests(), 0);
}
