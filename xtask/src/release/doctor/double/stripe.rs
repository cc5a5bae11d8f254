//! The double of Stripe.

use std::collections::BTreeMap;

use serde_json::json;

use super::{API_URL, Reply, Responses, ok};

/// The secrets of the stage dev. Both keys are of one Stripe account, and have the form of newer keys, which contain the
/// account ID.
pub(in super::super) const SECRET_KEY: (&str, &str) = (
    "stripe-secret-key",
    concat!("sk_test_", "51Jx2aBCdEfGhIjK9lMnOpQrStUv"),
);
pub(in super::super) const WEBHOOK_SECRET: (&str, &str) = ("stripe-webhook-secret", "whsec_1");
pub(in super::super) const PUBLISHABLE_KEY: &str =
    concat!("pk_test_", "51Jx2aBCdEfGhIjK9wXyZaBcDeFg");
pub(in super::super) const ACCOUNT: &str = "acct_1Jx2aBCdEfGhIjK9";

/// An error of Stripe: <https://docs.stripe.com/api/errors>
pub(in super::super) fn stripe_error(status: u16, code: &str, message: &str) -> Reply {
    let error = json!({ "type": "invalid_request_error", "code": code, "message": message });
    (status, json!({ "error": error }).to_string())
}

/// The responses for which every check is green.
pub(super) fn healthy() -> Responses {
    let endpoint = json!({
        "id": "we_1", "object": "webhook_endpoint", "api_version": "2026-09-30.endive", "status": "enabled",
        "enabled_events": domain::stripe::WEBHOOK_EVENTS, "url": format!("{API_URL}/billing/webhook"), "livemode": false,
    });
    BTreeMap::from([
        (
            "sk GET /v1/account",
            ok(json!({ "id": ACCOUNT, "object": "account" })),
        ),
        (
            "pk GET /v1/account",
            stripe_error(
                403,
                "secret_key_required",
                "This API call cannot be made with a publishable API key. Please use a secret API key.",
            ),
        ),
        (
            "sk GET /v1/payment_intents",
            ok(json!({ "object": "list", "has_more": false, "data": [
                { "id": "pi_1", "client_secret": "pi_1_secret_2" },
            ] })),
        ),
        (
            "pk GET /v1/payment_intents/pi_1?client_secret=pi_1_secret_2",
            ok(json!({ "id": "pi_1", "object": "payment_intent" })),
        ),
        (
            "sk GET /v1/webhook_endpoints",
            ok(json!({ "object": "list", "has_more": false, "data": [endpoint] })),
        ),
    ])
}

/// The responses to requests with an invalid key.
pub(super) fn bare() -> Responses {
    let unknown_key = stripe_error(401, "", "Invalid API Key provided: pk_test_***mple");
    BTreeMap::from([("pk GET /v1/account", unknown_key)])
}
