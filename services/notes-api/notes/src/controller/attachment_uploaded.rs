use metrics::Subject;

use super::Error;
use crate::{
    file::FileKey,
    service::{AttachmentRecords, FileStore, NoteStore},
};

/// Stores the media type and the size of an uploaded file in the record of the file, and in the
/// notes that refer to the file. Does nothing if the file no longer exists.
///
/// Events can be late, repeated and out of order. Therefore this function reads the current media
/// type and size from the bucket.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn attachment_uploaded(
    files: &impl FileStore,
    records: &impl AttachmentRecords,
    notes: &impl NoteStore,
    key: &FileKey,
) -> Result<(), Error> {
    key.log();
    let Some(file) = files.head(key).await? else {
        return Ok(());
    };
    for reference in records.record_upload(key, &file).await? {
        Subject::Note.log(reference.note);
        notes.set_upload(key.owner(), reference, &file).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{controller::update, note::Precondition, service::memory::*};

    const CAT: &str = "private/us-east-1:ada/cat.png";

    async fn handle(cloud: &Memory, key: &FileKey) -> Result<(), Error> {
        attachment_uploaded(cloud, cloud, cloud, key).await
    }

    #[tokio::test]
    async fn a_repeated_event_records_the_same_file() {
        let cloud = Memory::default();
        cloud.put_file(CAT);
        let key = FileKey::parse(CAT).unwrap();
        for _ in 0..2 {
            handle(&cloud, &key).await.unwrap();
        }
        let recorded = cloud
            .batch_get(&HashSet::from([key.clone()]))
            .await
            .unwrap();
        assert_eq!(recorded.get(&key), Some(&cloud.file(CAT)));
    }

    #[tokio::test]
    async fn a_retry_records_the_file_in_all_its_notes_after_a_failure_at_any_call() {
        for calls in 0.. {
            let cloud = Memory::default();
            let one = cloud.note(&ada(), "one", Some("cat.png")).await;
            let two = cloud.note(&ada(), "two", Some(CAT)).await;
            let other = cloud.note(&ada(), "other", Some("dog.png")).await;
            cloud.put_file(CAT);
            let key = FileKey::parse(CAT).unwrap();
            cloud.fail_after(calls);
            let failed = handle(&cloud, &key).await.is_err();
            cloud.recover();
            // Lambda retries the event.
            handle(&cloud, &key).await.unwrap();
            for (id, refers) in [(one, true), (two, true), (other, false)] {
                let note = cloud.find(&ada(), id).await.unwrap().unwrap();
                let file = refers.then(|| cloud.file(CAT));
                assert_eq!(note.uploaded, file, "after {calls} calls");
            }
            if !failed {
                assert!(calls >= 4, "fewer calls than expected");
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_note_that_now_refers_to_another_file_is_not_changed() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        let expected = Precondition::Exists;
        let write = resolved("one", Some("dog.png"));
        // The removal of the old reference fails, so the reference stays.
        cloud.fail_after(2);
        let version = update(&cloud, &cloud, &cloud, &author(), id, write, &expected).await;
        cloud.recover();
        cloud.put_file(CAT);
        handle(&cloud, &FileKey::parse(CAT).unwrap()).await.unwrap();
        let note = cloud.find(&ada(), id).await.unwrap().unwrap();
        assert_eq!((note.version, note.uploaded), (version.unwrap(), None));
    }

    #[tokio::test]
    async fn an_event_for_a_deleted_file_records_nothing() {
        let cloud = Memory::default();
        let key = FileKey::parse(CAT).unwrap();
        handle(&cloud, &key).await.unwrap();
        assert_eq!(cloud.writes(), 0);
    }
}
