use super::Error;
use crate::{
    file::{Declaration, FileKey, Upload},
    note::UserId,
    service::FileUrls,
};

/// Gives `user` leave to upload the file that they declare, and nothing else.
///
/// # Errors
/// When no URL can be signed.
#[tracing::instrument(skip_all)]
pub fn upload(urls: &impl FileUrls, user: &UserId, file: Declaration) -> Result<Upload, Error> {
    let key = FileKey::generate(user, &file.filename);
    Ok(urls.upload(key, &file.content_type, file.size)?)
}
