use crate::{
    purchase::Purchase,
    service::{Error, NotePurchased, Publisher, PurchaseStore},
};

/// Publishes the current revision of `purchase` with its notices, and then removes them from the
/// outbox.
///
/// # Errors
/// Fails if the message cannot be published, or the outbox cannot be emptied. A repetition publishes
/// the message again.
pub(super) async fn announce(
    publisher: &impl Publisher,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
) -> Result<(), Error> {
    publisher.publish(&NotePurchased::from(purchase)).await?;
    purchases.announced(&purchase.key, purchase.revision).await
}
