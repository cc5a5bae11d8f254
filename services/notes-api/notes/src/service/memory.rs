//! All services in memory, for the controllers' tests: one struct, which counts calls and can be
//! told to fail.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use super::{
    AttachmentRecords, Error, FileStore, FileUrls, NoteStore,
    notes::{Change, Page, Replaced},
};
use crate::{
    controller::{Draft, Plan, create},
    file::{AttachmentName, ContentType, File, FileKey, FileSize, Upload},
    note::{AttachmentRef, Content, Note, NoteId, Precondition, Timestamp, UserId, Version},
};

pub(crate) struct Memory {
    state: Mutex<State>,
    writes: AtomicUsize,
    calls_left: AtomicUsize,
}

#[derive(Default)]
struct State {
    notes: BTreeMap<(String, NoteId), Note>,
    records: HashMap<FileKey, Record>,
    files: HashSet<FileKey>,
}

#[derive(Default)]
struct Record {
    file: Option<File>,
    claims: HashSet<AttachmentRef>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            writes: AtomicUsize::new(0),
            calls_left: AtomicUsize::new(usize::MAX),
        }
    }
}

pub(crate) fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

pub(crate) fn bob() -> UserId {
    "us-east-1:bob".parse().unwrap()
}

pub(crate) fn draft(content: &str, attachment: Option<&str>) -> Draft {
    Draft {
        content: Content::try_from(content.to_owned()).unwrap(),
        attachment: attachment.map(|name| AttachmentName::try_from(name.to_owned()).unwrap()),
    }
}

impl Memory {
    pub(crate) async fn note(
        &self,
        user: &UserId,
        content: &str,
        attachment: Option<&str>,
    ) -> NoteId {
        let draft = draft(content, attachment);
        let made = create(self, self, user, &draft, Plan::generate()).await;
        made.unwrap().note(user, &draft).note_id
    }

    /// A file in the bucket that nobody was told of.
    pub(crate) fn put_file(&self, key: &str) {
        self.state
            .lock()
            .unwrap()
            .files
            .insert(FileKey::parse(key).unwrap());
    }

    /// A file in the bucket, recorded.
    pub(crate) fn upload(&self, key: &str) {
        self.put_file(key);
        let file = self.file(key);
        let mut state = self.state.lock().unwrap();
        state
            .records
            .entry(FileKey::parse(key).unwrap())
            .or_default()
            .file = Some(file);
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.state
            .lock()
            .unwrap()
            .files
            .contains(&FileKey::parse(key).unwrap())
    }

    pub(crate) fn file(&self, key: &str) -> File {
        File {
            content_type: "image/png".into(),
            size: key.len() as u64,
        }
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(SeqCst)
    }

    /// Lets that many calls through, and fails all that follow.
    pub(crate) fn fail_after(&self, calls: usize) {
        self.calls_left.store(calls, SeqCst);
    }

    pub(crate) fn recover(&self) {
        self.calls_left.store(usize::MAX, SeqCst);
    }

    fn call(&self) -> Result<MutexGuard<'_, State>, Error> {
        let left = self.calls_left.load(SeqCst);
        self.calls_left.store(left.saturating_sub(1), SeqCst);
        if left == 0 {
            Err(Error::Failed("told to fail".into()))
        } else {
            Ok(self.state.lock().unwrap())
        }
    }

    fn write(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.call()?;
        self.writes.fetch_add(1, SeqCst);
        Ok(state)
    }
}

fn key(user: &UserId, id: NoteId) -> (String, NoteId) {
    (user.as_str().to_owned(), id)
}

impl NoteStore for Memory {
    async fn insert(&self, note: &Note) -> Result<(), Error> {
        let mut state = self.write()?;
        let place = state.notes.entry(key(&note.user_id, note.note_id));
        place.or_insert_with(|| note.clone());
        Ok(())
    }

    async fn find(&self, user: &UserId, id: NoteId) -> Result<Option<Note>, Error> {
        Ok(self.call()?.notes.get(&key(user, id)).cloned())
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<NoteId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let state = self.call()?;
        let older = state.notes.values().rev().filter(|note| {
            note.user_id == *user && before.is_none_or(|before| note.note_id < before)
        });
        let mut notes: Vec<_> = older.take(limit + 1).cloned().collect();
        let more = notes.len() > limit;
        notes.truncate(limit);
        Ok(Page { notes, more })
    }

    async fn replace(
        &self,
        user: &UserId,
        id: NoteId,
        change: &Change,
        expected: &Precondition,
    ) -> Result<Replaced, Error> {
        let mut state = self.write()?;
        let Some(note) = state.notes.get_mut(&key(user, id)) else {
            return Ok(Replaced::Missing);
        };
        if let Precondition::OneOf(versions) = expected
            && !versions.contains(&note.version)
        {
            return Ok(Replaced::Changed);
        }
        let before = note.attachment.clone().map(|name| (name, note.version));
        let Change {
            content,
            attachment,
            uploaded,
            updated_at,
            version,
        } = change.clone();
        *note = Note {
            content,
            attachment,
            uploaded,
            updated_at,
            version,
            ..note.clone()
        };
        Ok(Replaced::Done { before })
    }

    async fn set_upload(
        &self,
        user: &UserId,
        claim: AttachmentRef,
        file: &File,
    ) -> Result<(), Error> {
        let mut state = self.write()?;
        let note = state.notes.get_mut(&key(user, claim.note));
        if let Some(note) = note.filter(|note| note.version == claim.write) {
            note.uploaded = Some(file.clone());
        }
        Ok(())
    }

    async fn remove(&self, user: &UserId, id: NoteId, version: Version) -> Result<bool, Error> {
        let mut state = self.write()?;
        let same = state
            .notes
            .get(&key(user, id))
            .is_none_or(|note| note.version == version);
        if same {
            state.notes.remove(&key(user, id));
        }
        Ok(same)
    }
}

impl AttachmentRecords for Memory {
    async fn claim(&self, key: &FileKey, claim: AttachmentRef) -> Result<Option<File>, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.claims.insert(claim);
        Ok(record.file.clone())
    }

    async fn release_last(&self, key: &FileKey, claim: AttachmentRef) -> Result<bool, Error> {
        self.release(key, claim).await
    }

    async fn release(&self, key: &FileKey, claim: AttachmentRef) -> Result<bool, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.claims.remove(&claim);
        let is_last = record.claims.is_empty();
        if is_last {
            state.records.remove(key);
        }
        Ok(is_last)
    }

    async fn record(&self, key: &FileKey, file: &File) -> Result<HashSet<AttachmentRef>, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.file = Some(file.clone());
        Ok(record.claims.clone())
    }

    async fn batch_get(&self, keys: &HashSet<FileKey>) -> Result<HashMap<FileKey, File>, Error> {
        let state = self.call()?;
        let known = keys
            .iter()
            .filter_map(|key| Some((key.clone(), state.records.get(key)?.file.clone()?)));
        Ok(known.collect())
    }
}

impl FileUrls for Memory {
    fn download(&self, key: &FileKey) -> Result<String, Error> {
        Ok(format!("https://files.example/{key}"))
    }

    fn upload(&self, key: FileKey, _: &ContentType, _: FileSize) -> Result<Upload, Error> {
        let url = format!("https://files.example/{key}");
        Ok(Upload {
            key,
            url,
            headers: Vec::new(),
            expires_at: Timestamp::now(),
        })
    }
}

impl FileStore for Memory {
    async fn head(&self, key: &FileKey) -> Result<Option<File>, Error> {
        Ok(self
            .call()?
            .files
            .contains(key)
            .then(|| self.file(key.as_str())))
    }

    async fn delete(&self, key: &FileKey) -> Result<(), Error> {
        self.write()?.files.remove(key);
        Ok(())
    }
}
