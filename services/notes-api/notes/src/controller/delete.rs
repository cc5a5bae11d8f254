use super::{Error, own_file};
use crate::{
    note::{NoteId, UserId},
    service::{self, AttachmentRecords, FileStore, NoteStore},
};

/// Writes of others between our reading of a note and our removal of it, before we give up.
const ATTEMPTS: usize = 20;

/// Deletes a note of `user`, and its file unless another note names it. One that is not there is
/// deleted already.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn delete(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    files: &impl FileStore,
    user: &UserId,
    id: NoteId,
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        let Some(note) = notes.find(user, id).await? else {
            return Ok(());
        };
        // The file first: after a crash the note is still there to be deleted again, and with it
        // the name of its file.
        let name = note.attachment.as_ref();
        if let Some(key) = name.and_then(|name| own_file(user, name).ok())
            && records.release_last(&key, note.claim()).await?
        {
            files.delete(&key).await?;
        }
        if notes.remove(user, id, note.version).await? {
            return Ok(());
        }
    }
    Err(service::Error::Unavailable("the note is being written time and again".into()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    const CAT: &str = "private/us-east-1:ada/cat.png";

    #[tokio::test]
    async fn a_note_goes_with_its_file() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        delete(&cloud, &cloud, &cloud, &ada(), id).await.unwrap();
        assert_eq!(cloud.find(&ada(), id).await.unwrap(), None);
        assert!(!cloud.has(CAT));
    }

    #[tokio::test]
    async fn a_file_that_another_note_names_stays() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let one = cloud.note(&ada(), "one", Some("cat.png")).await;
        cloud.note(&ada(), "two", Some("cat.png")).await;
        delete(&cloud, &cloud, &cloud, &ada(), one).await.unwrap();
        assert!(cloud.has(CAT));
    }

    #[tokio::test]
    async fn what_is_deleted_can_be_deleted_again() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", None).await;
        for _ in 0..2 {
            delete(&cloud, &cloud, &cloud, &ada(), id).await.unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_deletes_a_note_of_somebody_else() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "one", None).await;
        delete(&cloud, &cloud, &cloud, &bob(), id).await.unwrap();
        assert!(cloud.find(&ada(), id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_delete_cut_off_at_any_call_is_finished_by_the_next_one() {
        for calls in 0.. {
            let cloud = Memory::default();
            cloud.upload(CAT);
            let id = cloud.note(&ada(), "one", Some("cat.png")).await;
            cloud.fail_after(calls);
            let cut_off = delete(&cloud, &cloud, &cloud, &ada(), id).await.is_err();
            cloud.recover();
            delete(&cloud, &cloud, &cloud, &ada(), id).await.unwrap();
            assert_eq!(
                cloud.find(&ada(), id).await.unwrap(),
                None,
                "after {calls} calls"
            );
            assert!(!cloud.has(CAT), "after {calls} calls");
            if !cut_off {
                assert!(calls >= 4, "the sweep ended early");
                break;
            }
        }
    }
}
