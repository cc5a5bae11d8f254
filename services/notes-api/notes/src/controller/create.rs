use metrics::{NOTES_CREATED, Subject};
use serde::{Deserialize, Serialize};

use super::{Error, ResolvedDraft};
use crate::{
    file::File,
    note::{AttachmentRef, Author, Note, NoteId, Timestamp, UserId, Version},
    service::{AttachmentRecords, CountedNotes, storage::Inserted},
};

/// The generated id, version and creation time of a new note. A retry with the same plan creates
/// the same note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    note_id: NoteId,
    version: Version,
    created_at: Timestamp,
}

impl Plan {
    /// Generates the id, version and creation time of a new note.
    pub fn generate() -> Self {
        Self {
            note_id: NoteId::generate(),
            version: Version::generate(),
            created_at: Timestamp::now(),
        }
    }

    fn attachment_ref(self) -> AttachmentRef {
        AttachmentRef {
            note: self.note_id,
            write: self.version,
        }
    }

    fn note(self, user: &UserId, draft: &ResolvedDraft, uploaded: Option<File>) -> Note {
        let attachment = draft.attachment.as_ref();
        Note {
            user_id: user.clone(),
            note_id: self.note_id,
            content: draft.content.clone(),
            attachment: attachment.map(|attachment| attachment.name.clone()),
            uploaded,
            created_at: self.created_at,
            updated_at: self.created_at,
            version: self.version,
            counted: true,
        }
    }
}

/// The result of [`create`]. It is stored, so that a repeated request gets the same result. The
/// serialized form does not contain the content of the note, because a repeated request contains
/// the content again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    #[serde(flatten)]
    plan: Plan,
    /// The properties of the attached file, if the file was uploaded before the note was created.
    uploaded: Option<File>,
    /// The created note. None if this value was deserialized from a stored result.
    #[serde(skip)]
    note: Option<Note>,
}

impl Created {
    /// Returns the created note. `user` and `draft` must be the same as in the call of [`create`].
    pub fn into_note(self, user: &UserId, draft: &ResolvedDraft) -> Note {
        let Self {
            plan,
            uploaded,
            note,
        } = self;
        note.unwrap_or_else(|| plan.note(user, draft, uploaded))
    }
}

/// Creates a note of `author` from `draft`, with the id, version and time from `plan`. Does not
/// change the note if it already exists, even if the storage of `author` is full. `free` is the
/// number of notes that every user may have.
///
/// # Errors
/// Returns [`Error::StorageFull`] if `author` has as many notes as they may have. Then the file of
/// the draft is kept, so that the request can be repeated. Also fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn create(
    notes: &impl CountedNotes,
    records: &impl AttachmentRecords,
    free: u64,
    author: &Author,
    draft: &ResolvedDraft,
    plan: Plan,
) -> Result<Created, Error> {
    Subject::Note.log(plan.note_id);
    let uploaded = match draft.file_key() {
        // The reference is added before the note is written, so that no other request deletes the
        // file in between.
        Some(key) => {
            let reference = plan.attachment_ref();
            records.add_reference(key, reference, author.sub).await?
        }
        None => None,
    };
    let note = plan.note(&author.id, draft, uploaded.clone());
    if let Inserted::Full(usage) = notes.insert(&note, author.sub, free).await? {
        if let Some(key) = draft.file_key() {
            let reference = plan.attachment_ref();
            // A failure does not change the result. A reference of a note that does not exist only
            // keeps the file longer than necessary.
            if let Err(error) = records.withdraw_reference(key, reference).await {
                tracing::warn!(
                    error = function::chain(&error),
                    "attachment reference not removed"
                );
            }
        }
        return Err(Error::StorageFull {
            used: usage.used,
            allowed: usage.allowed(free),
        });
    }
    NOTES_CREATED.add(1);
    Ok(Created {
        plan,
        uploaded,
        note: Some(note),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::{Draft, View, show},
        service::{NoteStore, Storage, memory::*},
    };

    async fn post(cloud: &Memory, draft: Draft, plan: Plan) -> Result<Created, Error> {
        let draft = draft.resolve(&ada())?;
        create(cloud, cloud, MANY, &author(), &draft, plan).await
    }

    async fn view(cloud: &Memory, created: Created, draft: &ResolvedDraft) -> View {
        let note = created.into_note(&ada(), draft);
        let view = show(cloud, cloud, note, draft.file_key()).await;
        view.unwrap()
    }

    #[tokio::test]
    async fn a_new_note_can_be_read() {
        let cloud = Memory::default();
        let created = post(&cloud, draft("hello", None), Plan::generate()).await;
        let note = created.unwrap().into_note(&ada(), &resolved("hello", None));
        let found = cloud.find(&ada(), note.note_id).await.unwrap();
        assert_eq!(found, Some(note));
    }

    #[tokio::test]
    async fn a_new_note_and_its_file_store_the_sub_of_the_author() {
        for author in [author(), author_without_sub()] {
            let cloud = Memory::default();
            let draft = resolved("hello", Some("cat.png"));
            let created = create(&cloud, &cloud, MANY, &author, &draft, Plan::generate()).await;
            let note = created.unwrap().into_note(&ada(), &draft);
            assert_eq!(cloud.sub_of_note(note.note_id), author.sub);
            let file = cloud.sub_of_file("private/us-east-1:ada/cat.png");
            assert_eq!(file, author.sub);
        }
    }

    #[tokio::test]
    async fn a_stored_result_does_not_contain_the_sub() {
        let cloud = Memory::default();
        let created = post(&cloud, draft("hello", None), Plan::generate()).await;
        let json = serde_json::to_string(&created.unwrap()).unwrap();
        let sub = author().sub.unwrap().to_string();
        assert!(!json.contains(&sub), "{json}");
    }

    #[tokio::test]
    async fn repeated_creation_with_the_same_plan_creates_one_note() {
        let cloud = Memory::default();
        let (draft, plan) = (draft("hello", Some("cat.png")), Plan::generate());
        for _ in 0..3 {
            post(&cloud, draft.clone(), plan).await.unwrap();
        }
        let page = cloud.page(&ada(), None, 10).await.unwrap();
        let draft = draft.resolve(&ada()).unwrap();
        assert_eq!(page.items, [plan.note(&ada(), &draft, None)]);
    }

    #[tokio::test]
    async fn a_full_storage_refuses_a_new_note_until_one_is_deleted() {
        let cloud = Memory::default();
        let (author, draft) = (author(), resolved("hello", None));
        let create = async || create(&cloud, &cloud, 2, &author, &draft, Plan::generate()).await;
        let refused = async |used| {
            let error = create().await.unwrap_err();
            let full = Error::StorageFull {
                used,
                allowed: used,
            };
            assert_eq!(format!("{error:?}"), format!("{full:?}"));
        };
        create().await.unwrap();
        let note = create().await.unwrap().into_note(&ada(), &draft);
        refused(2).await;
        let removed = cloud.remove(&ada(), note.note_id, note.version, true).await;
        assert!(removed.unwrap());
        create().await.unwrap();
        refused(2).await;
    }

    #[tokio::test]
    async fn a_repetition_of_the_request_that_created_the_last_note_succeeds() {
        let cloud = Memory::default();
        let (draft, plan) = (resolved("hello", None), Plan::generate());
        for _ in 0..3 {
            create(&cloud, &cloud, 1, &author(), &draft, plan)
                .await
                .unwrap();
        }
        assert_eq!(cloud.usage(&ada()).await.unwrap().used, 1);
    }

    #[tokio::test]
    async fn a_refused_note_keeps_its_file_but_no_reference_to_it() {
        let cloud = Memory::default();
        let key = "private/us-east-1:ada/cat.png";
        cloud.upload(key);
        let (draft, plan) = (resolved("hello", Some("cat.png")), Plan::generate());
        let refused = create(&cloud, &cloud, 0, &author(), &draft, plan).await;
        assert!(matches!(refused, Err(Error::StorageFull { .. })));
        assert!(cloud.has(key));
        assert_eq!(cloud.references(key), 0);
        // The request is repeated when there is room.
        let created = create(&cloud, &cloud, 1, &author(), &draft, plan).await;
        let note = created.unwrap().into_note(&ada(), &draft);
        assert_eq!(note.uploaded, Some(cloud.file(key)));
        assert!(cloud.every_note_has_its_reference());
    }

    #[tokio::test]
    async fn a_note_is_refused_even_if_its_reference_cannot_be_removed() {
        let cloud = Memory::default();
        let draft = resolved("hello", Some("cat.png"));
        cloud.fail_after(2);
        let refused = create(&cloud, &cloud, 0, &author(), &draft, Plan::generate()).await;
        assert!(matches!(refused, Err(Error::StorageFull { .. })));
    }

    #[tokio::test]
    async fn a_note_is_created_only_after_its_reference_whichever_call_fails() {
        for calls in 0.. {
            let cloud = Memory::default();
            cloud.fail_after(calls);
            let draft = draft("hello", Some("cat.png"));
            let is_created = post(&cloud, draft, Plan::generate()).await.is_ok();
            assert!(cloud.every_note_has_its_reference(), "after {calls} calls");
            if is_created {
                assert_eq!(calls, 2);
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_file_of_another_user_cannot_be_attached_and_nothing_is_written() {
        let cloud = Memory::default();
        let foreign = draft("hello", Some("private/us-east-1:bob/cat.png"));
        let refused = post(&cloud, foreign, Plan::generate()).await;
        assert!(matches!(refused.unwrap_err(), Error::ForeignAttachment));
        assert_eq!(cloud.writes(), 0);
    }

    #[tokio::test]
    async fn a_new_note_shows_an_already_uploaded_file_without_another_call() {
        let cloud = Memory::default();
        cloud.upload("private/us-east-1:ada/cat.png");
        let draft = resolved("hello", Some("cat.png"));
        let created = create(&cloud, &cloud, MANY, &author(), &draft, Plan::generate()).await;
        cloud.fail_after(0);
        let view = view(&cloud, created.unwrap(), &draft).await;
        assert_eq!(
            view.file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }

    #[tokio::test]
    async fn a_note_shows_a_file_that_is_uploaded_later() {
        let cloud = Memory::default();
        let draft = resolved("hello", Some("cat.png"));
        let created = create(&cloud, &cloud, MANY, &author(), &draft, Plan::generate()).await;
        let created = created.unwrap();
        let shown = async || view(&cloud, created.clone(), &draft).await;
        assert_eq!(shown().await.file, None);
        cloud.upload("private/us-east-1:ada/cat.png");
        assert_eq!(
            shown().await.file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }

    #[tokio::test]
    async fn the_stored_result_gives_the_same_note_as_the_first_request() {
        for is_uploaded in [false, true] {
            let cloud = Memory::default();
            if is_uploaded {
                cloud.upload("private/us-east-1:ada/cat.png");
            }
            let draft = resolved("hello", Some("cat.png"));
            let created = create(&cloud, &cloud, MANY, &author(), &draft, Plan::generate()).await;
            let created = created.unwrap();
            let json = serde_json::to_string(&created).unwrap();
            let stored: Created = serde_json::from_str(&json).unwrap();
            let first = created.into_note(&ada(), &draft);
            assert_eq!(first.uploaded.is_some(), is_uploaded);
            assert_eq!(stored.into_note(&ada(), &draft), first);
        }
    }

    #[test]
    fn the_json_of_a_stored_result_does_not_change() {
        let plan = r#""noteId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d907","version":"019aa0b4-e100-7d21-a6e4-3c8f1b52d908","createdAt":7"#;
        let file = r#"{"contentType":"image/png","size":7}"#;
        for json in [
            format!(r#"{{{plan},"uploaded":null}}"#),
            format!(r#"{{{plan},"uploaded":{file}}}"#),
        ] {
            let created: Created = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&created).unwrap(), json);
        }
        // An earlier release stored only the plan.
        let created: Created = serde_json::from_str(&format!("{{{plan}}}")).unwrap();
        assert_eq!(created.uploaded, None);
        let stored: Plan = serde_json::from_str(&format!("{{{plan}}}")).unwrap();
        assert_eq!(created.plan, stored);
    }
}
