//! What the functions of billing-api share: the business rules of a purchase, and the services that
//! these rules stand on.
//!
//! | module | knows |
//! |---|---|
//! | [`purchase`], [`payment`], [`event`] | what the words mean: types that cannot be wrong |
//! | [`controller`] | the rules, one file per function; nothing of Lambda, HTTP or AWS |
//! | [`service`] | what is outside: one trait per thing, and its implementation |
//! | [`http`] | what the routes' handlers share: bodies, answers, statuses |
//!
//! # Why no card is charged twice and no charge is lost
//!
//! 1. A purchase is written down as PENDING before its card is charged, and the charge carries the
//!    purchase's id as Stripe's idempotency key: sent any number of times, it charges once.
//! 2. Stripe may forget a key after 24 hours
//!    (<https://docs.stripe.com/api/idempotent_requests>). Nobody sends a charge for a purchase that
//!    is older than [`controller::OPEN_FOR`], which is far less.
//! 3. A purchase is PAID or FAILED only when its payment has ended for good. One that was declined
//!    or not finished is cancelled first, so that nothing can charge the card afterwards.
//! 4. A payment that nobody heard of is looked up by the purchase's id, and is known never to have
//!    been made once it is not found when the purchase is [`controller::LOST_AFTER`] old.

pub mod controller;
pub mod event;
pub mod http;
pub mod payment;
pub mod purchase;
pub mod service;
