use metrics::Subject;

use super::{Attachment, Error, ResolvedDraft, own_file};
use crate::{
    note::{AttachmentRef, Author, NoteId, Precondition, Timestamp, Version},
    service::{
        self, AttachmentRecords, FileStore, NoteStore,
        notes::{Change, Replaced},
    },
};

/// Replaces the content and the attachment of a note of `author`, if the note meets the precondition
/// `expected`. Returns the new version of the note.
///
/// # Errors
/// Returns [`Error::NotFound`] if `author` has no note with this id, [`Error::Changed`] if the note
/// does not meet `expected`, and [`Error::Service`] if a service call fails before the note is
/// replaced.
#[tracing::instrument(skip_all)]
pub async fn update(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    files: &impl FileStore,
    author: &Author,
    id: NoteId,
    draft: ResolvedDraft,
    expected: &Precondition,
) -> Result<Version, Error> {
    let version = Version::generate();
    let reference = |write| AttachmentRef { note: id, write };
    let attachment = draft.attachment;
    let (name, key) = attachment
        .map(|Attachment { name, key }| (name, key))
        .unzip();
    let uploaded = match &key {
        Some(key) => {
            let reference = reference(version);
            records.add_reference(key, reference, author.sub).await?
        }
        None => None,
    };
    let change = Change {
        content: draft.content,
        attachment: name,
        uploaded,
        updated_at: Timestamp::now(),
        version,
        sub: author.sub,
    };
    Subject::Note.log(id);
    let user = &author.id;
    let replaced = notes.replace(user, id, &change, expected).await?;
    // The reference that is not needed now. If the note was written, it is the reference of the
    // previous write. If not, it is the reference that was added above.
    let (result, unneeded) = match replaced {
        Replaced::Done { before } => {
            let before =
                before.and_then(|(name, write)| Some((own_file(user, &name).ok()?, write)));
            (Ok(version), before)
        }
        Replaced::Missing => (Err(Error::NotFound), key.clone().map(|key| (key, version))),
        Replaced::Changed => (Err(Error::Changed), key.clone().map(|key| (key, version))),
    };
    if let Some((old, write)) = unneeded {
        // If the note keeps its file, the file has at least the reference of this write, and the
        // attempt to remove the last reference would be wasted.
        let is_kept = result.is_ok() && Some(&old) == key.as_ref();
        let removed = async {
            let is_record_deleted = match is_kept {
                true => records.remove_reference(&old, reference(write)).await?,
                false => {
                    records
                        .remove_last_reference(&old, reference(write))
                        .await?
                }
            };
            if is_record_deleted {
                files.delete(&old).await?;
            }
            Ok::<_, service::Error>(())
        };
        // A failure does not change the result of the write. A reference that was not removed only
        // keeps the file longer than necessary.
        if let Err(error) = removed.await {
            tracing::warn!(
                error = function::chain(&error),
                "attachment reference not removed"
            );
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    const CAT: &str = "private/us-east-1:ada/cat.png";

    async fn put(
        cloud: &Memory,
        id: NoteId,
        draft: ResolvedDraft,
        expected: Precondition,
    ) -> Result<Version, Error> {
        update(cloud, cloud, cloud, &author(), id, draft, &expected).await
    }

    #[tokio::test]
    async fn a_second_write_over_the_same_version_is_refused() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "old", None).await;
        let read = cloud.find(&ada(), id).await.unwrap().unwrap().version;
        let expected = Precondition::OneOf(vec![read]);
        put(&cloud, id, resolved("first", None), expected.clone())
            .await
            .unwrap();
        let second = put(&cloud, id, resolved("second", None), expected)
            .await
            .unwrap_err();
        assert!(matches!(second, Error::Changed));
        assert_eq!(
            cloud
                .find(&ada(), id)
                .await
                .unwrap()
                .unwrap()
                .content
                .as_str(),
            "first"
        );
    }

    #[tokio::test]
    async fn an_update_without_a_sub_keeps_the_stored_sub_and_every_other_update_replaces_it() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "old", Some("cat.png")).await;
        assert_eq!(
            (cloud.sub_of_note(id), cloud.sub_of_file(CAT)),
            (None, None)
        );
        let expected = author().sub;
        for author in [author(), author_without_sub()] {
            let draft = resolved("new", Some("cat.png"));
            update(
                &cloud,
                &cloud,
                &cloud,
                &author,
                id,
                draft,
                &Precondition::Exists,
            )
            .await
            .unwrap();
            assert_eq!(cloud.sub_of_note(id), expected);
            assert_eq!(cloud.sub_of_file(CAT), expected);
        }
    }

    #[tokio::test]
    async fn an_update_does_not_create_a_note() {
        let cloud = Memory::default();
        for expected in [Precondition::Exists, Precondition::OneOf(vec![])] {
            let refused = put(
                &cloud,
                NoteId::generate(),
                resolved("x", Some("cat.png")),
                expected,
            )
            .await;
            assert!(matches!(refused.unwrap_err(), Error::NotFound));
        }
        assert!(cloud.page(&ada(), None, 10).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn a_file_is_deleted_with_its_last_reference() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let one = cloud.note(&ada(), "one", Some("cat.png")).await;
        let two = cloud.note(&ada(), "two", Some(CAT)).await;
        put(&cloud, one, resolved("one", None), Precondition::Exists)
            .await
            .unwrap();
        assert!(cloud.has(CAT), "the other note refers to it");
        put(
            &cloud,
            two,
            resolved("two", Some("dog.png")),
            Precondition::Exists,
        )
        .await
        .unwrap();
        assert!(!cloud.has(CAT));
    }

    #[tokio::test]
    async fn an_update_that_keeps_the_attachment_does_not_delete_the_file() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        put(
            &cloud,
            id,
            resolved("two", Some("cat.png")),
            Precondition::Exists,
        )
        .await
        .unwrap();
        assert!(cloud.has(CAT));
    }

    #[tokio::test]
    async fn a_note_is_updated_only_after_its_reference_whichever_call_fails() {
        for name in ["cat.png", "dog.png"] {
            for calls in 0..5 {
                let cloud = Memory::default();
                let id = cloud.note(&ada(), "one", Some("cat.png")).await;
                cloud.fail_after(calls);
                let is_updated = put(
                    &cloud,
                    id,
                    resolved("two", Some(name)),
                    Precondition::Exists,
                )
                .await
                .is_ok();
                // The first call adds the reference, the second writes the note. Later failures are logged only.
                assert_eq!(is_updated, calls >= 2, "{name} after {calls} calls");
                assert!(
                    cloud.every_note_has_its_reference(),
                    "{name} after {calls} calls"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_refused_write_does_not_delete_the_file() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        let refused = put(
            &cloud,
            id,
            resolved("two", Some("cat.png")),
            Precondition::OneOf(vec![]),
        )
        .await;
        assert!(matches!(refused.unwrap_err(), Error::Changed));
        assert!(cloud.has(CAT));
    }
}
