use std::collections::{HashMap, HashSet};

use super::{Error, FileView, View};
use crate::{
    file::FileKey,
    note::{Note, NoteId, UserId},
    service::{AttachmentRecords, FileUrls, NoteStore},
};

/// Some notes of `user`, as they see them.
#[derive(Debug)]
pub struct Listed {
    /// Newest first.
    pub notes: Vec<View>,
    /// Whether there are older ones.
    pub more: bool,
}

/// The notes of `user` older than `before`, newest first: at most `limit`, fewer when they are long.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn list(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    user: &UserId,
    before: Option<NoteId>,
    limit: usize,
) -> Result<Listed, Error> {
    let page = notes.page(user, before, limit).await?;
    let key = |note: &Note| FileKey::of(user, note.attachment.as_ref()?);
    let untold = page.notes.iter().filter(|note| note.uploaded.is_none());
    let untold: HashSet<_> = untold.filter_map(key).collect();
    let files = match untold.is_empty() {
        true => HashMap::new(),
        false => records.batch_get(&untold).await?,
    };
    let view = |note: Note| {
        let file = key(&note).and_then(|key| {
            let file = note.uploaded.as_ref().or_else(|| files.get(&key))?;
            Some(FileView::of(urls, &key, file.clone()))
        });
        let file = file.transpose()?;
        Ok::<_, Error>(View { note, file })
    };
    let notes = page.notes.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Listed {
        notes,
        more: page.more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn all_notes_come_back_by_pages_exactly_once_newest_first() {
        let cloud = Memory::default();
        let mut made = Vec::new();
        for number in 0..25 {
            made.push(cloud.note(&ada(), &number.to_string(), None).await);
            cloud.note(&bob(), "not ada's", None).await;
        }
        made.reverse();
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = list(&cloud, &cloud, &cloud, &ada(), before, 10)
                .await
                .unwrap();
            seen.extend(page.notes.iter().map(|view| view.note.note_id));
            if !page.more {
                break;
            }
            before = seen.last().copied();
        }
        assert_eq!(seen, made);
    }

    #[tokio::test]
    async fn each_note_of_a_page_shows_its_own_file() {
        let cloud = Memory::default();
        for (content, attachment) in [
            ("a", Some("a.png")),
            ("none", None),
            ("b", Some("b.png")),
            ("b", Some("b.png")),
        ] {
            cloud.note(&ada(), content, attachment).await;
        }
        cloud.upload("private/us-east-1:ada/b.png");
        let page = list(&cloud, &cloud, &cloud, &ada(), None, 100)
            .await
            .unwrap();
        let shown: Vec<_> = page.notes.iter().map(|view| view.file.is_some()).collect();
        assert_eq!(shown, [true, true, false, false]);
    }

    #[tokio::test]
    async fn a_page_of_notes_that_know_their_files_takes_one_call() {
        let cloud = Memory::default();
        for name in ["a.png", "b.png"] {
            cloud.upload(&format!("private/us-east-1:ada/{name}"));
            cloud.note(&ada(), name, Some(name)).await;
        }
        cloud.fail_after(1);
        let page = list(&cloud, &cloud, &cloud, &ada(), None, 100).await;
        assert!(page.unwrap().notes.iter().all(|view| view.file.is_some()));
    }
}
