use super::{Error, settle};
use crate::{
    event::{Event, Paid},
    payment::End,
    purchase::Timestamp,
    service::PurchaseStore,
};

/// Settles the purchase whose payment an event says has succeeded. Any other event is no news.
///
/// Events come late, twice and out of order. A success is one whenever it is heard of, and a
/// purchase that is settled stays as it is: no event needs remembering.
///
/// # Errors
/// When a service fails; Stripe delivers the event again.
#[tracing::instrument(skip_all)]
pub async fn webhook(
    purchases: &impl PurchaseStore,
    event: &Event,
    now: Timestamp,
) -> Result<(), Error> {
    if let Some(Paid { intent, purchase }) = event.paid().cloned() {
        settle(purchases, &purchase, &End::Paid { intent }, now).await?;
    }
    Ok(())
}
