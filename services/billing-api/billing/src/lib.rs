//! The library of all functions of billing-api: the business rules of purchases, and the services
//! that the rules use.
//!
//! | module | contents |
//! |---|---|
//! | [`purchase`], [`payment`], [`report`], [`event`] | domain types that cannot hold invalid values |
//! | [`controller`] | the business rules, one file per function; independent of Lambda, HTTP and AWS |
//! | [`service`] | external services: traits, and their implementations with AWS and Stripe |
//! | [`http`] | request bodies, response bodies and problem documents of the routes |
//!
//! # Why a card is charged at most once, and no charge is lost
//!
//! 1. A purchase is stored as PENDING before its card is charged. The id of the purchase is
//!    Stripe's idempotency key for the charge, so a repeated request does not charge the card
//!    again.
//! 2. Stripe may delete an idempotency key after 24 hours
//!    (<https://docs.stripe.com/api/idempotent_requests>). No function charges a purchase that is
//!    older than [`controller::CHARGE_WINDOW`], which is much shorter than 24 hours.
//! 3. A purchase becomes PAID or FAILED only when the outcome of its payment is final. A declined
//!    or unfinished payment is canceled first, so that it cannot charge the card later.
//! 4. If the response to a charge is lost, reconcile finds the payment in Stripe's list by the id of
//!    the purchase in the metadata. If the purchase is older than [`controller::ABANDON_AFTER`] and the
//!    list contains no payment, the payment was never made, and the purchase becomes FAILED.
//! 5. If a card is charged although its purchase was settled without this charge, `settle` refunds the
//!    charge.

pub mod controller;
pub mod event;
#[cfg(test)]
mod fixtures;
pub mod http;
pub mod payment;
#[cfg(test)]
mod price_table;
pub mod purchase;
pub mod report;
pub mod service;
