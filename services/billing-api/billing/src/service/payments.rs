//! The trait for card payments: charge, find, read, cancel and refund.

use std::future::Future;

use super::{Cause, Error};
use crate::{
    payment::{IntentId, Payment},
    purchase::{PaymentSource, Purchase},
    report::{PaymentDetails, RefundedCharge},
};

/// Charges cards through Stripe, and finds, cancels and refunds payments. The unit tests use an
/// implementation in memory.
pub trait Payments: Sync {
    /// Whether the secret key is a live key. Events of the other mode must not change a purchase.
    fn is_live(&self) -> bool;

    /// Charges `source` for `purchase`: creates and confirms a PaymentIntent. The PaymentIntent has
    /// the amount, the currency and the description of the purchase, and the key of the purchase as
    /// metadata (`userId`, `purchaseId`). The id of the purchase is the idempotency key of the
    /// request (<https://docs.stripe.com/api/idempotent_requests>).
    ///
    /// The request depends only on `purchase` and `source`, so a repeated call sends the same
    /// request. For at least 24 hours, Stripe responds to a repeated request with the stored
    /// response, and does not charge the card again. The stored response may be outdated.
    fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> impl Future<Output = Result<Payment, ChargeError>> + Send;

    /// Finds the payments of a purchase: lists the PaymentIntents that were created while the
    /// purchase could be charged, and selects those whose metadata contains the key of the purchase
    /// (<https://docs.stripe.com/api/payment_intents/list>). The list contains every PaymentIntent
    /// whose creation has ended.
    fn find_payments(
        &self,
        purchase: &Purchase,
    ) -> impl Future<Output = Result<Vec<Payment>, Error>> + Send;

    /// Reads a payment. Returns None if Stripe knows no PaymentIntent with this id.
    /// <https://docs.stripe.com/api/payment_intents/retrieve>
    fn retrieve(
        &self,
        intent: &IntentId,
    ) -> impl Future<Output = Result<Option<PaymentDetails>, Error>> + Send;

    /// Cancels a payment, so that it can no longer charge the card. Does not change a payment that
    /// is already final. Returns the payment with its status after the call.
    /// <https://docs.stripe.com/api/payment_intents/cancel>
    fn cancel(&self, intent: &IntentId) -> impl Future<Output = Result<Payment, Error>> + Send;

    /// Refunds the remaining amount of a payment's charge. A repeated call refunds nothing and
    /// succeeds. <https://docs.stripe.com/api/refunds/create>
    fn refund(
        &self,
        intent: &IntentId,
    ) -> impl Future<Output = Result<RefundedCharge, Error>> + Send;
}

/// The error of [`Payments::charge`] if the outcome is unknown. The text of the error is for the
/// log. <https://docs.stripe.com/error-low-level#server-errors>
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// Stripe responded with a server error (5xx). If it has executed the request, it responds in
    /// the same way to each repetition.
    #[error(
        "Stripe responded with a server error, so it is not known whether the card was charged"
    )]
    ServerError(#[source] Cause),
    /// The request was not sent, there was no usable response, or Stripe reported an error that is
    /// not a decline.
    #[error("it is not known whether the card was charged")]
    Unknown(#[source] Cause),
}
