//! The checks of Stripe.

use domain::stripe::WEBHOOK_EVENTS;

use super::*;
use crate::release::doctor::double::{
    API_URL, secrets,
    stripe::{PUBLISHABLE_KEY, SECRET_KEY, stripe_error},
};

/// What a bare account lacks before and after the first deploy.
pub(super) const LACKING_BEFORE_DEPLOY: &[(&str, State)] = &[
    ("Stripe secret key", State::Red),
    ("Stripe API version", State::Unknown),
    ("Stripe publishable key", State::Red),
    ("Stripe mode of both keys", State::Unknown),
    ("Stripe account of both keys", State::Unknown),
];
pub(super) const LACKING_AFTER_DEPLOY: &[(&str, State)] = &[
    ("Stripe webhook", State::Red),
    ("Stripe webhook secret", State::Red),
];

pub(super) const QUERIES: &[Query] = &[
    ("cloudformation ListExports", &["Stripe webhook"]),
    (
        "ssm GetParameters",
        &[
            "Stripe secret key",
            "Stripe API version",
            "Stripe mode of both keys",
            "Stripe account of both keys",
            "Stripe webhook",
            "Stripe webhook secret",
        ],
    ),
    (
        "sk GET /v1/account",
        &[
            "Stripe secret key",
            "Stripe API version",
            "Stripe account of both keys",
        ],
    ),
    ("pk GET /v1/account", &["Stripe publishable key"]),
    (
        "pk GET /v1/payment_intents/pi_1?client_secret=pi_1_secret_2",
        &["Stripe account of both keys"],
    ),
    ("sk GET /v1/webhook_endpoints", &["Stripe webhook"]),
];

/// The values that no text may contain.
pub(super) const SECRETS: &[&str] = &[SECRET_KEY.1, "whsec_1", "pi_1_secret_2"];

pub(super) fn denied() -> Reply {
    stripe_error(400, "other", "AccessDenied by Stripe")
}

/// Sends the requests to Stripe to the double at `url`, unless the test has set another URL.
pub(super) fn at(mut subject: Subject, url: &str) -> Subject {
    if subject.stripe_url == "http://127.0.0.1" {
        subject.stripe_url = url.into();
    }
    subject
}

#[tokio::test]
async fn the_webhook_of_a_complete_account_receives_all_events() {
    let checks = checks(|_, _| ()).await;
    let events = WEBHOOK_EVENTS.join(", ");
    let expected = format!("we_1 receives {events} at {API_URL}/billing/webhook");
    assert_eq!(found(&checks, "Stripe webhook").1, expected);
}

#[tokio::test]
async fn the_publishable_key_is_checked_without_credentials_of_aws() {
    let address = nowhere().await;
    let mut subject = subject(&format!("http://{address}"));
    let resolver = Resolver::new([address]);
    let name = "Stripe publishable key";
    let checks = examine(&subject, &resolver).await;
    assert_found(&checks, name, State::Unknown, "the connection failed", "");
    subject.stripe_url = Double::start(healthy()).await.url.clone();
    let checks = examine(&subject, &resolver).await;
    assert_found(&checks, name, State::Green, "", "");
}

#[tokio::test]
async fn a_stage_that_is_linked_to_dev_uses_the_secrets_of_dev() {
    let checks = checks(|responses, subject| {
        subject.stage = "feature".into();
        responses.insert(
            "ssm GetParameters",
            secrets(&[("stripe-webhook-secret", "whsec_1")]),
        );
    })
    .await;
    let next = "cargo xtask secrets set stripe-secret-key --stage dev < FILE";
    assert_found(&checks, "Stripe secret key", State::Red, "is not set", next);
    assert_found(&checks, "Stripe webhook secret", State::Green, "", "");
    assert_found(
        &checks,
        "Stripe webhook",
        State::Red,
        "no API yet",
        "cargo xtask deploy --stage feature",
    );
}

#[tokio::test]
async fn a_key_that_stripe_rejects_is_red() {
    let rejected = || stripe_error(401, "", "Invalid API Key provided: ****");
    let secret = checks_if("sk GET /v1/account", rejected()).await;
    assert_found(
        &secret,
        "Stripe secret key",
        State::Red,
        "Stripe rejects the key",
        "secrets set stripe-secret-key",
    );
    let publishable = checks_if("pk GET /v1/account", rejected()).await;
    assert_found(
        &publishable,
        "Stripe publishable key",
        State::Red,
        "Stripe rejects the key",
        "stripePublishableKey",
    );
    let missing = checks(|_, subject| subject.publishable_key.clear()).await;
    assert_found(
        &missing,
        "Stripe publishable key",
        State::Red,
        "does not begin with pk_test_",
        "stripePublishableKey",
    );
}

#[tokio::test]
async fn a_restricted_key_needs_no_permission_to_read_the_account() {
    let checks = checks(|responses, _| {
        let key = SECRET_KEY.1.replace("sk_", "rk_");
        let restricted = secrets(&[("stripe-secret-key", &key)]);
        responses.insert("ssm GetParameters", restricted);
        let denied = stripe_error(
            403,
            "",
            "The provided key does not have the required permissions.",
        );
        responses.insert("rk GET /v1/account", denied.clone());
        responses.insert("rk GET /v1/payment_intents", ok(json!({ "data": [] })));
        responses.insert("rk GET /v1/webhook_endpoints", denied);
    })
    .await;
    assert_found(
        &checks,
        "Stripe secret key",
        State::Green,
        "no permission to read the account",
        "",
    );
    assert_found(&checks, "Stripe API version", State::Green, "", "");
    assert_found(
        &checks,
        "Stripe account of both keys",
        State::Green,
        "acct_1Jx2aBCdEfGhIjK9",
        "",
    );
    assert_found(
        &checks,
        "Stripe webhook",
        State::Unknown,
        "required permissions",
        "",
    );
}

#[tokio::test]
async fn an_unsupported_api_version_is_red() {
    let version = stripe_error(400, "", "Invalid Stripe API version: 2026-09-30.endive");
    let checks = checks_if("sk GET /v1/account", version).await;
    assert_found(
        &checks,
        "Stripe API version",
        State::Red,
        "does not support",
        "async-stripe",
    );
}

#[tokio::test]
async fn both_keys_must_have_the_mode_that_the_stage_needs() {
    let name = "Stripe mode of both keys";
    let mixed =
        checks(|_, subject| subject.publishable_key = PUBLISHABLE_KEY.replace("test", "live"))
            .await;
    let text = "the secret key is for test mode, the publishable key for live mode";
    assert_found(&mixed, name, State::Red, text, "two keys of one mode");
    let protected = checks(|_, subject| subject.is_protected = true).await;
    assert_found(
        &protected,
        name,
        State::Red,
        "no card is charged",
        "a live key",
    );
    let live = checks(|responses, subject| {
        subject.is_protected = true;
        subject.publishable_key = PUBLISHABLE_KEY.replace("test", "live");
        let key = SECRET_KEY.1.replace("test", "live");
        responses.insert("ssm GetParameters", secrets(&[("stripe-secret-key", &key)]));
    })
    .await;
    assert_found(&live, name, State::Green, "both keys are for live mode", "");
}

#[tokio::test]
async fn keys_of_different_accounts_are_red() {
    let name = "Stripe account of both keys";
    let missing = stripe_error(404, "resource_missing", "No such payment_intent: 'pi_1'");
    let key = "pk GET /v1/payment_intents/pi_1?client_secret=pi_1_secret_2";
    let intent = checks_if(key, missing).await;
    assert_found(
        &intent,
        name,
        State::Red,
        "cannot read a PaymentIntent",
        "from one account",
    );

    // A new account has no PaymentIntent.
    for (publishable_key, state, text) in [
        (PUBLISHABLE_KEY, State::Green, "acct_1Jx2aBCdEfGhIjK9"),
        (
            "pk_test_51ZZZZZZZZZZZZZZ9wXyZaBcDeFg",
            State::Red,
            "the secret key belongs to acct_1Jx2aBCdEfGhIjK9, but the publishable key contains 1ZZZZZZZZZZZZZZ9",
        ),
        (
            "pk_test_AbCdEfGhIjKlMnOpQrStUvWx",
            State::Unknown,
            "cannot be verified",
        ),
        ("pk_test_example", State::Unknown, "cannot be verified"),
    ] {
        let checks = checks(|responses, subject| {
            subject.publishable_key = publishable_key.into();
            responses.insert("sk GET /v1/payment_intents", ok(json!({ "data": [] })));
        })
        .await;
        assert_found(&checks, name, state, text, "");
    }
}

#[tokio::test]
async fn the_webhook_must_receive_exactly_the_events_that_the_stage_handles() {
    let (key, name) = ("sk GET /v1/webhook_endpoints", "Stripe webhook");
    let url = format!("{API_URL}/billing/webhook");
    let endpoint = |field: &str, value: Value| {
        let mut endpoint = json!({
            "id": "we_1", "url": url, "status": "enabled", "enabled_events": WEBHOOK_EVENTS,
            "api_version": null,
        });
        endpoint[field] = value;
        endpoint
    };
    let list = |endpoints: &[Value]| ok(json!({ "has_more": false, "data": endpoints }));
    let good = endpoint("id", json!("we_1"));
    for (endpoints, state, text, next) in [
        (vec![good.clone()], State::Green, "we_1 receives", ""),
        (
            vec![],
            State::Red,
            "no endpoint has the URL",
            "Add destination",
        ),
        (
            vec![endpoint("url", json!("https://example.com"))],
            State::Red,
            "no endpoint has the URL",
            "2026-09-30.endive",
        ),
        (
            vec![good.clone(), endpoint("id", json!("we_2"))],
            State::Red,
            "2 endpoints",
            "delete all but",
        ),
        (
            vec![endpoint("status", json!("disabled"))],
            State::Red,
            "is disabled",
            "Enable",
        ),
        (
            vec![endpoint("enabled_events", json!(["*"]))],
            State::Red,
            "receives *; the stage handles charge.dispute.closed",
            "select exactly",
        ),
        (
            vec![endpoint("enabled_events", json!(WEBHOOK_EVENTS[1..]))],
            State::Red,
            "receives charge.dispute.created",
            "select exactly charge.dispute.closed, charge.dispute.created",
        ),
        (
            vec![endpoint("enabled_events", json!(["charge.failed"]))],
            State::Red,
            "receives charge.failed",
            "",
        ),
        (
            vec![endpoint("api_version", json!("2020-08-27"))],
            State::Warning,
            "2020-08-27",
            "new endpoint",
        ),
    ] {
        assert_found(
            &checks_if(key, list(&endpoints)).await,
            name,
            state,
            text,
            next,
        );
    }
    let before = checks_if("cloudformation ListExports", exports(&[])).await;
    assert_found(
        &before,
        name,
        State::Red,
        "no API yet",
        "cargo xtask deploy --stage dev",
    );

    let second_page = checks(|responses, _| {
        let other = endpoint("url", json!("https://example.com"));
        let other = ok(json!({ "has_more": true, "data": [other] }));
        responses.insert(key, other);
        let next = "sk GET /v1/webhook_endpoints?limit=100&starting_after=we_1";
        responses.insert(next, list(&[endpoint("id", json!("we_2"))]));
    })
    .await;
    assert_found(&second_page, name, State::Green, "we_2 receives", "");
}

#[tokio::test]
async fn a_missing_or_malformed_secret_is_red() {
    for (secret, name) in [
        ("stripe-secret-key", "Stripe secret key"),
        ("stripe-webhook-secret", "Stripe webhook secret"),
        ("admin-phone-number", "admin phone number"), // part: notify
    ] {
        let next = format!("cargo xtask secrets set {secret} --stage dev < FILE");
        let missing = checks_if("ssm GetParameters", secrets(&[])).await;
        assert_found(&missing, name, State::Red, "is not set", &next);
        let malformed = checks_if("ssm GetParameters", secrets(&[(secret, "malformed")])).await;
        assert_found(&malformed, name, State::Red, secret, &next);
        assert!(!format!("{malformed:?}").contains("\"malformed"));
    }
}
