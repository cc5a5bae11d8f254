//! What the functions expect from the Stripe account, so that tools can check its configuration.

/// The types of the events that the webhook endpoint of a stage must receive, in alphabetical order.
/// `billing-webhook` ignores all other types.
/// <https://docs.stripe.com/api/events/types>
pub const WEBHOOK_EVENTS: [&str; 11] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.refunded",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "refund.failed",
    "refund.updated",
];

/// The version of Stripe's API that the functions use.
pub const API_VERSION: &str = "2026-09-30.endive";
