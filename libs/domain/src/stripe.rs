//! What the functions expect from the Stripe account, so that tools can check its configuration.

/// The type of the event that reports a paid purchase. `billing-webhook` ignores all other types.
pub const PAYMENT_SUCCEEDED: &str = "payment_intent.succeeded";

/// The types of the events that the webhook endpoint of a stage must receive.
pub const WEBHOOK_EVENTS: [&str; 1] = [PAYMENT_SUCCEEDED];

/// The version of Stripe's API that the functions use.
pub const API_VERSION: &str = "2026-09-30.endive";
