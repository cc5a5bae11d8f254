//! The trait for card payments: charge, find and cancel.

use std::future::Future;

use super::{Cause, Error};
use crate::{
    payment::{IntentId, Payment},
    purchase::{PaymentSource, Purchase, PurchaseKey},
};

/// Charges cards through Stripe, and finds and cancels payments. The unit tests use an
/// implementation in memory.
pub trait Payments: Sync {
    /// Charges `source` for `purchase`: creates and confirms a PaymentIntent. The PaymentIntent has
    /// the amount and the description of the purchase, and the key of the purchase as metadata
    /// (`userId`, `purchaseId`). The id of the purchase is the idempotency key of the request
    /// (<https://docs.stripe.com/api/idempotent_requests>).
    ///
    /// The request depends only on `purchase` and `source`, so a repeated call sends the same
    /// request. For at least 24 hours, Stripe responds to a repeated request with the stored
    /// response, and does not charge the card again. The stored response may be outdated.
    fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> impl Future<Output = Result<Payment, ChargeError>> + Send;

    /// Finds the payment of a purchase by the metadata of its PaymentIntent
    /// (<https://docs.stripe.com/api/payment_intents/search>). Returns None if Stripe's search
    /// finds nothing.
    ///
    /// Stripe's search index lags by up to a minute, and by up to an hour during an outage.
    /// Therefore the search may not find a new payment, and a status that is not final may be
    /// outdated.
    fn find_payment(
        &self,
        purchase: &PurchaseKey,
    ) -> impl Future<Output = Result<Option<Payment>, Error>> + Send;

    /// Cancels a payment, so that it can no longer charge the card. Does not change a payment that
    /// is already final. Returns the payment with its status after the call.
    /// <https://docs.stripe.com/api/payment_intents/cancel>
    fn cancel(&self, intent: &IntentId) -> impl Future<Output = Result<Payment, Error>> + Send;
}

/// The error of [`Payments::charge`] if the outcome is unknown: the request was not sent, there was
/// no usable response, or Stripe reported an error that is not a decline. The text of the error is
/// for the log. <https://docs.stripe.com/error-low-level#server-errors>
#[derive(Debug, thiserror::Error)]
#[error("it is not known whether the card was charged")]
pub struct ChargeError(#[source] pub Cause);
