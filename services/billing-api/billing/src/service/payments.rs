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

/// It is not known whether the card was charged: the call was not sent, its answer did not come or
/// says nothing, or it was not taken up. Its text is for the log.
/// <https://docs.stripe.com/error-low-level#server-errors>
#[derive(Debug, thiserror::Error)]
#[error("it is not known whether the card was charged")]
pub struct ChargeError(#[source] pub Cause);
