use super::Error;
use crate::{note::UserId, service::Storage, storage::Usage};

/// Reads how many notes `user` has and may have.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn storage(storage: &impl Storage, user: &UserId) -> Result<Usage, Error> {
    Ok(storage.usage(user).await?)
}
