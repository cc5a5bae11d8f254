use super::{Error, settle};
use crate::{
    event::{Event, SucceededPayment},
    payment::Outcome,
    purchase::Timestamp,
    service::PurchaseStore,
};

/// If `event` reports a succeeded payment, settles the purchase of this payment as PAID. Ignores
/// every other event.
///
/// Stripe can deliver events late, more than once and out of order. The function need not store
/// which events it has handled, because a succeeded payment is final and a settled purchase does
/// not change.
///
/// # Errors
/// Fails if a service call fails. Stripe then delivers the event again.
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
