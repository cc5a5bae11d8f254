//! Payments by card: Stripe.

use std::future::Future;

use super::{Cause, Error};
use crate::{
    payment::{IntentId, Payment},
    purchase::{PaymentSource, Purchase, PurchaseKey},
};

/// Makes payments and knows where they stand.
pub trait Payments: Sync {
    /// Charges `source` for `purchase`: creates and confirms a PaymentIntent over its amount, with
    /// its description, its key as metadata (`userId`, `purchaseId`), and its id as the idempotency
    /// key (<https://docs.stripe.com/api/idempotent_requests>).
    ///
    /// Everything that is sent comes from these two, so a repetition is the same request: for at
    /// least 24 hours it gets the first answer, which may be old news, and charges nothing.
    fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> impl Future<Output = Result<Payment, ChargeError>> + Send;

    /// Where the payment for this purchase stands, also when nobody ever heard of its intent: found
    /// by its metadata (<https://docs.stripe.com/api/payment_intents/search>), which Stripe says can
    /// be behind by a minute, and by an hour in an outage. So what is found may be old news, unless
    /// it is an end, and what was just made may not be found.
    fn status_of(
        &self,
        purchase: &PurchaseKey,
    ) -> impl Future<Output = Result<Option<Payment>, Error>> + Send;

    /// Ends a payment, unless it has ended: then nothing can charge the card by it. Returns where it
    /// stands from now on, which is no old news; one that has succeeded stays so.
    /// <https://docs.stripe.com/api/payment_intents/cancel>
    fn cancel(&self, intent: &IntentId) -> impl Future<Output = Result<Payment, Error>> + Send;
}

/// Why it is not known that a card was charged. Its text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// This call charged nothing: it was never sent, or Stripe did not take it up (429, 401). An
    /// earlier one may have.
    #[error("the card was not charged by this call")]
    NotCharged(#[source] Cause),
    /// The card may be charged or not: the answer did not come, or says nothing (5xx, a repetition
    /// of a call that is under way or was another).
    /// <https://docs.stripe.com/error-low-level#server-errors>
    #[error("it is not known whether the card was charged")]
    Unknown(#[source] Cause),
}
