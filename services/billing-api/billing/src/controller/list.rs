use domain::Page;

use super::Error;
use crate::{
    purchase::{Purchase, PurchaseId, UserId},
    service::PurchaseStore,
};

/// The purchases of `user` older than `before`, newest first: at most `limit`.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn list(
    purchases: &impl PurchaseStore,
    user: &UserId,
    before: Option<PurchaseId>,
    limit: usize,
) -> Result<Page<Purchase>, Error> {
    Ok(purchases.page(user, before, limit).await?)
}
