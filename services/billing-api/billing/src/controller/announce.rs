use metrics::Subject;

use crate::{
    purchase::Purchase,
    service::{Error, NotePurchased, Publisher, PurchaseStore},
};

/// Publishes the revision `purchase` with its notices, and then removes the outbox. If a later revision
/// is stored by then, its outbox stays.
///
/// # Errors
/// Fails if the message cannot be published, or the outbox cannot be removed. A repetition publishes
/// the message again.
pub(super) async fn announce(
    publisher: &impl Publisher,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
) -> Result<(), Error> {
    Subject::Purchase.log(purchase.key.purchase_id);
    publisher.publish(&NotePurchased::from(purchase)).await?;
    purchases.announced(&purchase.key, purchase.revision).await
}
