use serde::{Deserialize, Serialize};

use super::{Draft, Error, own_file};
use crate::{
    note::{Note, NoteId, Timestamp, UserId, Version},
    service::{AttachmentRecords, NoteStore},
};

/// What is decided of a note before it is made: made again, it is the same note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    note_id: NoteId,
    version: Version,
    created_at: Timestamp,
}

impl Plan {
    /// A plan for a note that is not there yet.
    pub fn generate() -> Self {
        Self {
            note_id: NoteId::generate(),
            version: Version::generate(),
            created_at: Timestamp::now(),
        }
    }

    /// The note that comes of the plan.
    pub fn note(self, user: &UserId, draft: &Draft) -> Note {
        Note {
            user_id: user.clone(),
            note_id: self.note_id,
            content: draft.content.clone(),
            attachment: draft.attachment.clone(),
            uploaded: None,
            created_at: self.created_at,
            updated_at: self.created_at,
            version: self.version,
        }
    }
}

/// Makes a note of `user` by the plan. Made already, it stays as it is.
///
/// # Errors
/// [`Error::ForeignAttachment`] when the draft names a file of somebody else.
#[tracing::instrument(skip_all)]
pub async fn create(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    user: &UserId,
    draft: &Draft,
    plan: Plan,
) -> Result<Plan, Error> {
    let mut note = plan.note(user, draft);
    if let Some(name) = &draft.attachment {
        // Claimed before the note is there: no moment in which its file could be taken away.
        note.uploaded = records.claim(&own_file(user, name)?, note.claim()).await?;
    }
    notes.insert(&note).await?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::show, service::memory::*};

    #[tokio::test]
    async fn a_new_note_can_be_read() {
        let cloud = Memory::default();
        let draft = draft("hello", None);
        let plan = create(&cloud, &cloud, &ada(), &draft, Plan::generate()).await;
        let made = plan.unwrap().note(&ada(), &draft);
        let kept = cloud.find(&ada(), made.note_id).await.unwrap();
        assert_eq!(kept, Some(made));
    }

    #[tokio::test]
    async fn one_plan_makes_one_note_however_often_it_is_carried_out() {
        let cloud = Memory::default();
        let (draft, plan) = (draft("hello", Some("cat.png")), Plan::generate());
        for _ in 0..3 {
            create(&cloud, &cloud, &ada(), &draft, plan).await.unwrap();
        }
        let page = cloud.page(&ada(), None, 10).await.unwrap();
        assert_eq!(page.notes, [plan.note(&ada(), &draft)]);
    }

    #[tokio::test]
    async fn somebody_elses_file_cannot_be_attached_and_nothing_is_written() {
        let cloud = Memory::default();
        let theirs = draft("hello", Some("private/us-east-1:bob/cat.png"));
        let refused = create(&cloud, &cloud, &ada(), &theirs, Plan::generate()).await;
        assert!(matches!(refused.unwrap_err(), Error::ForeignAttachment));
        assert!(matches!(
            theirs.check(&ada()).unwrap_err(),
            Error::ForeignAttachment
        ));
        assert_eq!(cloud.writes(), 0);
    }

    #[tokio::test]
    async fn a_note_made_after_its_file_was_uploaded_shows_it_at_once() {
        let cloud = Memory::default();
        cloud.upload("private/us-east-1:ada/cat.png");
        let draft = draft("hello", Some("cat.png"));
        let plan = create(&cloud, &cloud, &ada(), &draft, Plan::generate())
            .await
            .unwrap();
        let view = show(&cloud, &cloud, plan.note(&ada(), &draft))
            .await
            .unwrap();
        assert_eq!(
            view.file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }
}
