//! The shared crate of billing-api's functions: the business rules of purchases, and the services
//! that the rules use.
//!
//! | module | contents |
//! |---|---|
//! | [`purchase`], [`payment`], [`event`] | domain types that cannot hold invalid values |
//! | [`controller`] | the rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | one trait per external service, and its implementation |
//! | [`http`] | JSON bodies and problem responses of the routes |
//!
//! # Why a card is charged at most once, and no charge is lost
//!
//! 1. A purchase is stored as PENDING before its card is charged. The charge carries the purchase's
//!    id as Stripe's idempotency key, so a repetition does not charge again.
//! 2. Stripe may delete an idempotency key after 24 hours
//!    (<https://docs.stripe.com/api/idempotent_requests>). No charge is sent for a purchase older than
//!    [`controller::CHARGE_WINDOW`], which is far less.
//! 3. A purchase becomes PAID or FAILED only when the outcome of its payment is final. A declined or
//!    unfinished payment is cancelled first, so that it cannot charge the card later.
//! 4. If the response of a charge is lost, reconcile finds the payment by the purchase's id. If the
//!    search finds nothing when the purchase is older than [`controller::ABANDON_AFTER`], the payment
//!    was never made.

pub mod controller;
pub mod event;
#[cfg(test)]
mod fixtures;
pub mod http;
pub mod payment;
pub mod purchase;
pub mod service;
