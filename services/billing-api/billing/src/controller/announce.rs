use crate::{
    purchase::Purchase,
    service::{Error, NotePurchased, Publisher, PurchaseStore},
};

/// Publishes the current revision of `purchase` with its notices, and then removes them from the
/// outbox. If only the removal fails, reconcile announces the revision again.
///
/// # Errors
/// Fails if the message cannot be published.
pub(super) async fn announce(
    publisher: &impl Publisher,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
) -> Result<(), Error> {
    publisher.publish(&NotePurchased::from(purchase)).await?;
    let removed = purchases.announced(&purchase.key, purchase.revision).await;
    if let Err(error) = removed {
        let purchase_id = purchase.key.purchase_id;
        let error = function::chain(&error);
        tracing::warn!(%purchase_id, error, "outbox not emptied");
    }
    Ok(())
}
