use super::{Draft, Error, FileView, View, own_file};
use crate::{
    note::{Note, NoteId, Timestamp, UserId, Version},
    service::{AttachmentRecords, FileUrls, NoteStore},
};

/// Makes a note of `user`.
///
/// # Errors
/// [`Error::ForeignAttachment`] when the draft names a file of somebody else.
#[tracing::instrument(skip_all)]
pub async fn create(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    user: &UserId,
    draft: Draft,
) -> Result<View, Error> {
    let now = Timestamp::now();
    let note = Note {
        user_id: user.clone(),
        note_id: NoteId::generate(),
        content: draft.content,
        attachment: draft.attachment,
        created_at: now,
        updated_at: now,
        version: Version::generate(),
    };
    let mut view = None;
    if let Some(name) = &note.attachment {
        let key = own_file(user, name)?;
        // Claimed before the note is there: no moment in which its file could be taken away.
        if let Some(file) = records.claim(&key, note.version).await? {
            view = Some(FileView::of(urls, &key, file)?);
        }
    }
    notes.insert(&note).await?;
    Ok(View { note, file: view })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn a_new_note_can_be_read() {
        let cloud = Memory::default();
        let made = create(&cloud, &cloud, &cloud, &ada(), draft("hello", None))
            .await
            .unwrap();
        let kept = cloud.find(&ada(), made.note.note_id).await.unwrap();
        assert_eq!(kept, Some(made.note));
    }

    #[tokio::test]
    async fn somebody_elses_file_cannot_be_attached_and_nothing_is_written() {
        let cloud = Memory::default();
        let theirs = draft("hello", Some("private/us-east-1:bob/cat.png"));
        let refused = create(&cloud, &cloud, &cloud, &ada(), theirs)
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::ForeignAttachment));
        assert_eq!(cloud.writes(), 0);
    }

    #[tokio::test]
    async fn a_note_made_after_its_file_was_uploaded_shows_it_at_once() {
        let cloud = Memory::default();
        cloud.upload("private/us-east-1:ada/cat.png");
        let named = draft("hello", Some("cat.png"));
        let made = create(&cloud, &cloud, &cloud, &ada(), named).await.unwrap();
        assert_eq!(
            made.file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }
}
