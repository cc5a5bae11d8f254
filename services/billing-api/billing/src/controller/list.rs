use super::Error;
use crate::{
    purchase::{PurchaseId, UserId},
    service::{PurchaseStore, purchases::Page},
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
) -> Result<Page, Error> {
    Ok(purchases.page(user, before, limit).await?)
}
