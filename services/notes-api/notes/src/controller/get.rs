use metrics::Subject;

use super::{Error, View, own_file, show};
use crate::{
    note::{NoteId, UserId},
    service::{AttachmentRecords, FileUrls, NoteStore},
};

/// Reads a note of `user`, with its attached file.
///
/// # Errors
/// Returns [`Error::NotFound`] if `user` has no note with this id, and [`Error::Service`] if a
/// service call fails.
#[tracing::instrument(skip_all)]
pub async fn get(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    user: &UserId,
    id: NoteId,
) -> Result<View, Error> {
    Subject::Note.log(id);
    let note = notes.find(user, id).await?.ok_or(Error::NotFound)?;
    let name = note.attachment.as_ref();
    let key = name.map(|name| own_file(user, name)).transpose()?;
    show(records, urls, note, key.as_ref()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn a_note_of_another_user_is_not_found() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "secret", None).await;
        assert_eq!(
            get(&cloud, &cloud, &cloud, &ada(), id)
                .await
                .unwrap()
                .note
                .content
                .as_str(),
            "secret"
        );
        let refused = get(&cloud, &cloud, &cloud, &bob(), id).await.unwrap_err();
        assert!(matches!(refused, Error::NotFound));
    }

    #[tokio::test]
    async fn a_note_with_a_recorded_file_is_read_in_one_call() {
        let cloud = Memory::default();
        cloud.upload("private/us-east-1:ada/cat.png");
        let id = cloud.note(&ada(), "hello", Some("cat.png")).await;
        cloud.fail_after(1);
        let view = get(&cloud, &cloud, &cloud, &ada(), id).await.unwrap();
        let file = view.file.unwrap().file;
        assert_eq!(file, cloud.file("private/us-east-1:ada/cat.png"));
    }

    #[tokio::test]
    async fn a_file_is_shown_after_its_upload() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "hello", Some("cat.png")).await;
        assert_eq!(
            get(&cloud, &cloud, &cloud, &ada(), id).await.unwrap().file,
            None
        );
        cloud.upload("private/us-east-1:ada/cat.png");
        let file = get(&cloud, &cloud, &cloud, &ada(), id)
            .await
            .unwrap()
            .file
            .unwrap();
        assert_eq!(file.file, cloud.file("private/us-east-1:ada/cat.png"));
        assert!(
            file.url.ends_with("private/us-east-1:ada/cat.png"),
            "{}",
            file.url
        );
    }
}
