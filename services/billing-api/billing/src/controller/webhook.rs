use super::{Error, settle};
use crate::{
    event::{Event, SucceededPayment},
    payment::Outcome,
    purchase::Timestamp,
    service::PurchaseStore,
};

/// Settles the purchase of an event that reports a succeeded payment. Ignores any other event.
///
/// Stripe can deliver events late, more than once and out of order. It is not necessary to store
/// which events were handled, because a succeeded payment is final and a settled purchase stays
/// unchanged.
///
/// # Errors
/// Fails if a service fails. Stripe then delivers the event again.
#[tracing::instrument(skip_all)]
pub async fn webhook(
    purchases: &impl PurchaseStore,
    event: &Event,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(SucceededPayment { intent, purchase }) = event.succeeded_payment().cloned() {
        settle(purchases, &purchase, &Outcome::Paid { intent }, now).await?;
    }
    Ok(())
}
