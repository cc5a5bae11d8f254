use metrics::{NOTES_DELETED, Subject};

use super::{Error, own_file};
use crate::{
    note::{NoteId, UserId},
    service::{self, AttachmentRecords, CountedNotes, FileStore, NoteStore},
};

/// The maximum number of attempts to delete a note. An attempt fails if another request writes the
/// note after the attempt has read it and before the attempt deletes it.
const ATTEMPTS: usize = 20;

/// Deletes a note of `user`. Also deletes the attached file, unless other notes refer to the file.
/// Succeeds if the note does not exist.
///
/// # Errors
/// Fails if a service call fails. Tries at most `ATTEMPTS` times, and fails as unavailable if
/// another request writes the note during every attempt.
#[tracing::instrument(skip_all)]
pub async fn delete(
    notes: &impl NoteStore,
    counted: &impl CountedNotes,
    records: &impl AttachmentRecords,
    files: &impl FileStore,
    user: &UserId,
    id: NoteId,
) -> Result<(), Error> {
    Subject::Note.log(id);
    for _ in 0..ATTEMPTS {
        let Some(note) = notes.find(user, id).await? else {
            return Ok(());
        };
        // The file is deleted before the note. If the function crashes in between, the note still
        // has the name of the file, and a retry deletes both.
        let name = note.attachment.as_ref();
        if let Some(key) = name.and_then(|name| own_file(user, name).ok())
            && records
                .remove_last_reference(&key, note.attachment_ref())
                .await?
        {
            files.delete(&key).await?;
        }
        if counted.remove(user, id, note.version, note.counted).await? {
            NOTES_DELETED.add(1);
            return Ok(());
        }
    }
    Err(service::Error::Unavailable("other requests keep writing the note".into()).into())
}

#[cfg(test)]
mod tests {
    use metrics::Metric;

    use super::*;
    use crate::{
        controller::{Plan, create},
        service::{Storage, memory::*},
    };

    const CAT: &str = "private/us-east-1:ada/cat.png";

    #[tokio::test]
    async fn a_note_is_deleted_with_its_file() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
            .await
            .unwrap();
        assert_eq!(cloud.find(&ada(), id).await.unwrap(), None);
        assert!(!cloud.has(CAT));
    }

    #[tokio::test]
    async fn deleting_a_note_keeps_a_file_that_another_note_refers_to() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let one = cloud.note(&ada(), "one", Some("cat.png")).await;
        cloud.note(&ada(), "two", Some("cat.png")).await;
        delete(&cloud, &cloud, &cloud, &cloud, &ada(), one)
            .await
            .unwrap();
        assert!(cloud.has(CAT));
    }

    #[tokio::test]
    async fn a_deleted_note_is_no_longer_counted() {
        let cloud = Memory::default();
        let counted = cloud.note(&ada(), "counted", None).await;
        let uncounted = cloud.note(&ada(), "of an earlier release", None).await;
        cloud.uncount(&ada(), uncounted);
        let used = async || cloud.usage(&ada()).await.unwrap().used;
        assert_eq!(used().await, 1);
        for (id, expected) in [(uncounted, 1), (counted, 0), (counted, 0)] {
            delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
                .await
                .unwrap();
            assert_eq!(used().await, expected);
        }
    }

    #[tokio::test]
    async fn a_created_and_a_deleted_note_are_counted_once() {
        let cloud = Memory::default();
        metrics::begin();
        let draft = resolved("one", None);
        let created = create(&cloud, &cloud, MANY, &author(), &draft, Plan::generate()).await;
        let id = created.unwrap().into_note(&ada(), &draft).note_id;
        for _ in 0..2 {
            delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
                .await
                .unwrap();
        }
        let record = metrics::take().unwrap();
        assert_eq!(record.value(Metric::NotesCreated), Some(1));
        assert_eq!(record.value(Metric::NotesDeleted), Some(1));
        assert_eq!(record.ids(Subject::Note).count(), 1);
    }

    #[tokio::test]
    async fn a_deleted_note_can_be_deleted_again() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", None).await;
        for _ in 0..2 {
            delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_note_of_another_user_is_not_deleted() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", None).await;
        delete(&cloud, &cloud, &cloud, &cloud, &bob(), id)
            .await
            .unwrap();
        assert!(cloud.find(&ada(), id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_retry_completes_a_delete_that_failed_at_any_call() {
        for calls in 0.. {
            let cloud = Memory::default();
            cloud.upload(CAT);
            let id = cloud.note(&ada(), "one", Some("cat.png")).await;
            cloud.fail_after(calls);
            let failed = delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
                .await
                .is_err();
            cloud.recover();
            delete(&cloud, &cloud, &cloud, &cloud, &ada(), id)
                .await
                .unwrap();
            assert_eq!(
                cloud.find(&ada(), id).await.unwrap(),
                None,
                "after {calls} calls"
            );
            assert!(!cloud.has(CAT), "after {calls} calls");
            if !failed {
                assert!(calls >= 4, "fewer calls than expected");
                break;
            }
        }
    }
}
