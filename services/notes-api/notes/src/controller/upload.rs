use super::Error;
use crate::{
    file::{FileKey, PresignedUpload, UploadRequest},
    note::UserId,
    service::FileUrls,
};

/// Creates a presigned URL for the upload of one file of `user`, under a new key.
///
/// # Errors
/// Fails if the URL cannot be signed.
#[tracing::instrument(skip_all)]
pub fn upload(
    urls: &impl FileUrls,
    user: &UserId,
    request: UploadRequest,
) -> Result<PresignedUpload, Error> {
    let key = FileKey::generate(user, &request.filename);
    key.log();
    Ok(urls.presign_upload(key, &request.content_type, request.size)?)
}
