use serde::{Deserialize, Serialize};

use super::{Draft, Error, own_file};
use crate::{
    file::File,
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
    fn note(self, user: &UserId, draft: &Draft) -> Note {
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

/// What a note was made with, its request apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    #[serde(flatten)]
    plan: Plan,
    /// What its file is, if that was uploaded by then.
    uploaded: Option<File>,
}

impl Made {
    /// The note, as it was made of `draft`.
    pub fn note(self, user: &UserId, draft: &Draft) -> Note {
        Note {
            uploaded: self.uploaded,
            ..self.plan.note(user, draft)
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
) -> Result<Made, Error> {
    let mut note = plan.note(user, draft);
    if let Some(name) = &draft.attachment {
        // Claimed before the note is there: no moment in which its file could be taken away.
        note.uploaded = records.claim(&own_file(user, name)?, note.claim()).await?;
    }
    notes.insert(&note).await?;
    Ok(Made {
        plan,
        uploaded: note.uploaded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{controller::show, service::memory::*};

    #[tokio::test]
    async fn a_new_note_can_be_read() {
        let cloud = Memory::default();
        let draft = draft("hello", None);
        let made = create(&cloud, &cloud, &ada(), &draft, Plan::generate()).await;
        let made = made.unwrap().note(&ada(), &draft);
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
    async fn a_note_made_after_its_file_was_uploaded_shows_it_without_asking_again() {
        let cloud = Memory::default();
        cloud.upload("private/us-east-1:ada/cat.png");
        let draft = draft("hello", Some("cat.png"));
        let made = create(&cloud, &cloud, &ada(), &draft, Plan::generate()).await;
        cloud.fail_after(0);
        let view = show(&cloud, &cloud, made.unwrap().note(&ada(), &draft)).await;
        assert_eq!(
            view.unwrap().file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }

    #[tokio::test]
    async fn a_note_made_before_its_file_was_uploaded_shows_it_from_then_on() {
        let cloud = Memory::default();
        let draft = draft("hello", Some("cat.png"));
        let made = create(&cloud, &cloud, &ada(), &draft, Plan::generate()).await;
        let made = made.unwrap();
        let shown = async || show(&cloud, &cloud, made.clone().note(&ada(), &draft)).await;
        assert_eq!(shown().await.unwrap().file, None);
        cloud.upload("private/us-east-1:ada/cat.png");
        assert_eq!(
            shown().await.unwrap().file.unwrap().file,
            cloud.file("private/us-east-1:ada/cat.png")
        );
    }

    #[test]
    fn what_is_kept_of_a_made_note_is_read_as_it_was_with_and_without_a_file() {
        let plan = Plan::generate();
        let file = File {
            content_type: "image/png".into(),
            size: 7,
        };
        for uploaded in [None, Some(file)] {
            let made = Made { plan, uploaded };
            let kept = serde_json::to_string(&made).unwrap();
            assert_eq!(serde_json::from_str::<Made>(&kept).unwrap(), made);
        }
        let kept = serde_json::to_string(&plan).unwrap();
        let made = Made {
            plan,
            uploaded: None,
        };
        assert_eq!(serde_json::from_str::<Made>(&kept).unwrap(), made);
    }
}
