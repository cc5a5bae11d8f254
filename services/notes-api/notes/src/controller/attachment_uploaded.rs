use super::Error;
use crate::{
    file::FileKey,
    service::{AttachmentRecords, FileStore},
};

/// Records what was uploaded at `key`. A file that is gone again is none.
///
/// Events come late, twice and out of order: the file itself says what is true now.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn attachment_uploaded(
    files: &impl FileStore,
    records: &impl AttachmentRecords,
    key: &FileKey,
) -> Result<(), Error> {
    if let Some(file) = files.inspect(key).await? {
        records.record(key, &file).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::service::memory::*;

    const CAT: &str = "private/us-east-1:ada/cat.png";

    #[tokio::test]
    async fn an_event_told_twice_records_one_file() {
        let cloud = Memory::default();
        cloud.put_file(CAT);
        let key = FileKey::parse(CAT).unwrap();
        for _ in 0..2 {
            attachment_uploaded(&cloud, &cloud, &key).await.unwrap();
        }
        let known = cloud.describe(&HashSet::from([key.clone()])).await.unwrap();
        assert_eq!(known.get(&key), Some(&cloud.file(CAT)));
    }

    #[tokio::test]
    async fn an_event_of_a_file_that_is_gone_records_nothing() {
        let cloud = Memory::default();
        let key = FileKey::parse(CAT).unwrap();
        attachment_uploaded(&cloud, &cloud, &key).await.unwrap();
        assert_eq!(cloud.writes(), 0);
    }
}
