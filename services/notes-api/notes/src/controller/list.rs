use std::collections::{HashMap, HashSet};

use domain::Page;

use super::{Error, FileView, View};
use crate::{
    file::FileKey,
    note::{Note, NoteId, UserId},
    service::{AttachmentRecords, FileUrls, NoteStore},
};

/// Reads the notes of `user` that are older than the note `before`, newest first. If `before` is
/// None, starts with the newest note. Returns at most `limit` notes, and fewer if the notes are
/// long.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn list(
    notes: &impl NoteStore,
    records: &impl AttachmentRecords,
    urls: &impl FileUrls,
    user: &UserId,
    before: Option<NoteId>,
    limit: usize,
) -> Result<Page<View>, Error> {
    let Page { items, more } = notes.page(user, before, limit).await?;
    let key = |note: &Note| FileKey::of(user, note.attachment.as_ref()?);
    let keys: Vec<_> = items.iter().map(key).collect();
    let unknown: HashSet<_> = items
        .iter()
        .zip(&keys)
        .filter(|(note, _)| note.uploaded.is_none())
        .filter_map(|(_, key)| key.clone())
        .collect();
    let files = match unknown.is_empty() {
        true => HashMap::new(),
        false => records.batch_get(&unknown).await?,
    };
    let view = |(note, key): (Note, Option<FileKey>)| {
        let file = key.and_then(|key| {
            let file = note.uploaded.as_ref().or_else(|| files.get(&key))?;
            Some(FileView::of(urls, &key, file.clone()))
        });
        let file = file.transpose()?;
        Ok::<_, Error>(View { note, file })
    };
    Ok(Page {
        items: items
            .into_iter()
            .zip(keys)
            .map(view)
            .collect::<Result<_, _>>()?,
        more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn the_pages_have_each_note_exactly_once_newest_first() {
        let cloud = Memory::default();
        let mut created = Vec::new();
        for number in 0..25 {
            created.push(cloud.note(&ada(), &number.to_string(), None).await);
            cloud.note(&bob(), "not ada's", None).await;
        }
        created.reverse();
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = list(&cloud, &cloud, &cloud, &ada(), before, 10)
                .await
                .unwrap();
            seen.extend(page.items.iter().map(|view| view.note.note_id));
            if !page.more {
                break;
            }
            before = seen.last().copied();
        }
        assert_eq!(seen, created);
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
        let shown: Vec<_> = page.items.iter().map(|view| view.file.is_some()).collect();
        assert_eq!(shown, [true, true, false, false]);
    }

    #[tokio::test]
    async fn a_page_of_notes_with_recorded_files_is_read_in_one_call() {
        let cloud = Memory::default();
        for name in ["a.png", "b.png"] {
            cloud.upload(&format!("private/us-east-1:ada/{name}"));
            cloud.note(&ada(), name, Some(name)).await;
        }
        cloud.fail_after(1);
        let page = list(&cloud, &cloud, &cloud, &ada(), None, 100).await;
        assert!(page.unwrap().items.iter().all(|view| view.file.is_some()));
    }
}
