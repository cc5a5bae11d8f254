use super::Error;
use crate::{
    file::FileKey,
    service::{AttachmentRecords, FileStore, NoteStore},
};

/// Records what was uploaded at `key`, and tells the notes that name it. A file that is gone again is none.
///
/// Events come late, twice and out of order: the file itself says what is true now.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn attachment_uploaded(
    files: &impl FileStore,
    records: &impl AttachmentRecords,
    notes: &impl NoteStore,
    key: &FileKey,
) -> Result<(), Error> {
    let Some(file) = files.head(key).await? else {
        return Ok(());
    };
    for claim in records.record(key, &file).await? {
        notes.set_upload(key.owner(), claim, &file).await?;
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
    async fn an_event_told_twice_records_one_file() {
        let cloud = Memory::default();
        cloud.put_file(CAT);
        let key = FileKey::parse(CAT).unwrap();
        for _ in 0..2 {
            handle(&cloud, &key).await.unwrap();
        }
        let known = cloud
            .batch_get(&HashSet::from([key.clone()]))
            .await
            .unwrap();
        assert_eq!(known.get(&key), Some(&cloud.file(CAT)));
    }

    #[tokio::test]
    async fn the_notes_that_name_the_file_know_it_however_often_the_event_was_cut_off() {
        for calls in 0.. {
            let cloud = Memory::default();
            let one = cloud.note(&ada(), "one", Some("cat.png")).await;
            let two = cloud.note(&ada(), "two", Some(CAT)).await;
            let other = cloud.note(&ada(), "other", Some("dog.png")).await;
            cloud.put_file(CAT);
            let key = FileKey::parse(CAT).unwrap();
            cloud.fail_after(calls);
            let cut_off = handle(&cloud, &key).await.is_err();
            cloud.recover();
            // As Lambda does
            handle(&cloud, &key).await.unwrap();
            for (id, knows) in [(one, true), (two, true), (other, false)] {
                let note = cloud.find(&ada(), id).await.unwrap().unwrap();
                let file = knows.then(|| cloud.file(CAT));
                assert_eq!(note.uploaded, file, "after {calls} calls");
            }
            if !cut_off {
                assert!(calls >= 4, "the sweep ended early");
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_note_that_names_another_file_by_now_is_left_alone() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        let expected = Precondition::Exists;
        let write = draft("one", Some("dog.png"));
        // Its old claim stays: the release is cut off.
        cloud.fail_after(2);
        let version = update(&cloud, &cloud, &cloud, &ada(), id, write, &expected).await;
        cloud.recover();
        cloud.put_file(CAT);
        handle(&cloud, &FileKey::parse(CAT).unwrap()).await.unwrap();
        let note = cloud.find(&ada(), id).await.unwrap().unwrap();
        assert_eq!((note.version, note.uploaded), (version.unwrap(), None));
    }

    #[tokio::test]
    async fn an_event_of_a_file_that_is_gone_records_nothing() {
        let cloud = Memory::default();
        let key = FileKey::parse(CAT).unwrap();
        handle(&cloud, &key).await.unwrap();
        assert_eq!(cloud.writes(), 0);
    }
}
