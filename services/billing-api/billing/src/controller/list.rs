use domain::Page;

use super::Error;
use crate::{
    purchase::{Purchase, PurchaseId, UserId},
    service::PurchaseStore,
};

/// Lists at most `limit` purchases of `user`, newest first. If `before` is set, lists only
/// purchases that are older than the purchase `before`.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn list(
    purchases: &impl PurchaseStore,
    user: &UserId,
    before: Option<PurchaseId>,
    limit: usize,
) -> Result<Page<Purchase>, Error> {
    Ok(purchases.page(user, before, limit).await?)
}
