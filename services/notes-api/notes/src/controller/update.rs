use super::{Draft, Error, own_file};
use crate::{
    note::{AttachmentRef, NoteId, Precondition, Timestamp, UserId, Version},
    service::{
        self, AttachmentRecords, FileStore, NoteStore,
        notes::{Change, Replaced},
    },
};

/// Writes over a note of `user`, if it is what `expected` says. Returns the note's new version.
///
/// # Errors
/// [`Error::NotFound`] when `user` has no such note, [`Error::Changed`] when it is not what was
/// expected, [`Error::ForeignAttachment`] when the draft names a file of somebody else.
#[tracing::instrument(skip_all)]
pub async fn update(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    files: &impl FileStore,
    user: &UserId,
    id: NoteId,
    draft: Draft,
    expected: &Precondition,
) -> Result<Version, Error> {
    let version = Version::generate();
    let claim = |write| AttachmentRef { note: id, write };
    let key = draft
        .attachment
        .as_ref()
        .map(|name| own_file(user, name))
        .transpose()?;
    let uploaded = match &key {
        Some(key) => records.claim(key, claim(version)).await?,
        None => None,
    };
    let change = Change {
        content: draft.content,
        attachment: draft.attachment,
        uploaded,
        updated_at: Timestamp::now(),
        version,
    };
    let replaced = notes.replace(user, id, &change, expected).await?;
    let (result, released) = match replaced {
        Replaced::Done { before } => {
            let before =
                before.and_then(|(name, write)| Some((own_file(user, &name).ok()?, write)));
            (Ok(version), before)
        }
        Replaced::Missing => (Err(Error::NotFound), key.clone().map(|key| (key, version))),
        Replaced::Changed => (Err(Error::Changed), key.clone().map(|key| (key, version))),
    };
    if let Some((old, write)) = released {
        // Where the note keeps its file, this write claims it as well.
        let is_kept = result.is_ok() && Some(&old) == key.as_ref();
        let released = async {
            let is_gone = match is_kept {
                true => records.release(&old, claim(write)).await?,
                false => records.release_last(&old, claim(write)).await?,
            };
            if is_gone {
                files.delete(&old).await?;
            }
            Ok::<_, service::Error>(())
        };
        // The caller's write is decided. A claim that stays keeps a file too long, no more.
        if let Err(error) = released.await {
            tracing::warn!(error = function::chain(&error), "a claim was not released");
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
        draft: Draft,
        expected: Precondition,
    ) -> Result<Version, Error> {
        update(cloud, cloud, cloud, &ada(), id, draft, &expected).await
    }

    #[tokio::test]
    async fn of_two_writes_over_one_version_the_second_is_refused() {
        let cloud = Memory::default();
        let id = cloud.note(&ada(), "old", None).await;
        let read = cloud.find(&ada(), id).await.unwrap().unwrap().version;
        let expected = Precondition::OneOf(vec![read]);
        put(&cloud, id, draft("first", None), expected.clone())
            .await
            .unwrap();
        let second = put(&cloud, id, draft("second", None), expected)
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
    async fn a_note_that_is_not_there_is_not_made() {
        let cloud = Memory::default();
        for expected in [Precondition::Exists, Precondition::OneOf(vec![])] {
            let refused = put(
                &cloud,
                NoteId::generate(),
                draft("x", Some("cat.png")),
                expected,
            )
            .await;
            assert!(matches!(refused.unwrap_err(), Error::NotFound));
        }
        assert!(cloud.page(&ada(), None, 10).await.unwrap().notes.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_no_note_names_any_longer_is_deleted() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let one = cloud.note(&ada(), "one", Some("cat.png")).await;
        let two = cloud.note(&ada(), "two", Some(CAT)).await;
        put(&cloud, one, draft("one", None), Precondition::Exists)
            .await
            .unwrap();
        assert!(cloud.has(CAT), "the other note names it");
        put(
            &cloud,
            two,
            draft("two", Some("dog.png")),
            Precondition::Exists,
        )
        .await
        .unwrap();
        assert!(!cloud.has(CAT));
    }

    #[tokio::test]
    async fn a_write_that_keeps_the_file_keeps_it_whole() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        put(
            &cloud,
            id,
            draft("two", Some("cat.png")),
            Precondition::Exists,
        )
        .await
        .unwrap();
        assert!(cloud.has(CAT));
    }

    #[tokio::test]
    async fn a_refused_write_takes_no_file_away() {
        let cloud = Memory::default();
        cloud.upload(CAT);
        let id = cloud.note(&ada(), "one", Some("cat.png")).await;
        let refused = put(
            &cloud,
            id,
            draft("two", Some("cat.png")),
            Precondition::OneOf(vec![]),
        )
        .await;
        assert!(matches!(refused.unwrap_err(), Error::Changed));
        assert!(cloud.has(CAT));
    }
}
