//! In-memory services for the tests of the controllers. One struct implements all services, and can
//! make calls fail.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use domain::Page;

use super::{
    AttachmentRecords, CountedNotes, Error, FileStore, FileUrls, NoteStore, Storage,
    notes::{Change, Replaced},
    storage::Inserted,
};
use crate::{
    controller::{Draft, ResolvedDraft},
    file::{AttachmentName, ContentType, File, FileKey, FileSize, PresignedUpload},
    note::{
        AttachmentRef, Author, Content, Note, NoteId, Precondition, Sub, Timestamp, UserId, Version,
    },
    storage::Usage,
};

mod credits; // part: billing

/// The number of free notes in tests in which storage is never full.
pub(crate) const MANY: u64 = 1000;

pub(crate) struct Memory {
    state: Mutex<State>,
    writes: AtomicUsize,
    calls_left: AtomicUsize,
}

#[derive(Default)]
struct State {
    notes: BTreeMap<(String, NoteId), Note>,
    /// The `sub` that is stored in each note.
    subs: HashMap<NoteId, Sub>,
    records: HashMap<FileKey, Record>,
    files: HashSet<FileKey>,
    totals: HashMap<String, Usage>,
    credits: credits::Stored, // part: billing
}

#[derive(Default)]
struct Record {
    file: Option<File>,
    references: HashSet<AttachmentRef>,
    sub: Option<Sub>,
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

/// The user `ada` as the author of an item, with a `sub`.
pub(crate) fn author() -> Author {
    Author {
        id: ada(),
        sub: Some("2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62".parse().unwrap()),
    }
}

/// The user `ada` as the author of an item, in a request without a `sub`.
pub(crate) fn author_without_sub() -> Author {
    Author {
        id: ada(),
        sub: None,
    }
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

/// A draft of the user `ada`, with the key of its attached file.
pub(crate) fn resolved(content: &str, attachment: Option<&str>) -> ResolvedDraft {
    draft(content, attachment).resolve(&ada()).unwrap()
}

impl Memory {
    /// Creates a note of `user`, and adds the note's reference to the record of the attached file.
    /// Returns the id of the note.
    pub(crate) async fn note(
        &self,
        user: &UserId,
        content: &str,
        attachment: Option<&str>,
    ) -> NoteId {
        let Draft {
            content,
            attachment,
        } = draft(content, attachment);
        let now = Timestamp::now();
        let mut note = Note {
            user_id: user.clone(),
            note_id: NoteId::generate(),
            content,
            attachment,
            uploaded: None,
            created_at: now,
            updated_at: now,
            version: Version::generate(),
            counted: true,
        };
        if let Some(name) = &note.attachment {
            let key = FileKey::of(user, name).unwrap();
            let reference = note.attachment_ref();
            note.uploaded = self.add_reference(&key, reference, None).await.unwrap();
        }
        let inserted = self.insert(&note, None, MANY).await.unwrap();
        assert_eq!(inserted, Inserted::Done);
        note.note_id
    }

    /// Changes a note to one that an earlier release created and did not count.
    pub(crate) fn uncount(&self, user: &UserId, id: NoteId) {
        let mut state = self.state.lock().unwrap();
        state.notes.get_mut(&key(user, id)).unwrap().counted = false;
        state.totals.get_mut(user.as_str()).unwrap().used -= 1;
    }

    /// Puts the file `key` into the bucket without recording its upload.
    pub(crate) fn put_file(&self, key: &str) {
        self.state
            .lock()
            .unwrap()
            .files
            .insert(FileKey::parse(key).unwrap());
    }

    /// Puts the file `key` into the bucket, and records its upload.
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

    /// Whether the bucket contains the file `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.state
            .lock()
            .unwrap()
            .files
            .contains(&FileKey::parse(key).unwrap())
    }

    /// The properties that every file in this fake has: the content type `image/png`, and the
    /// length of `key` as its size.
    pub(crate) fn file(&self, key: &str) -> File {
        File {
            content_type: "image/png".into(),
            size: key.len() as u64,
        }
    }

    /// The number of references to the file `key`.
    pub(crate) fn references(&self, key: &str) -> usize {
        let state = self.state.lock().unwrap();
        let record = state.records.get(&FileKey::parse(key).unwrap());
        record.map_or(0, |record| record.references.len())
    }

    /// The `sub` that is stored in the note `id`.
    pub(crate) fn sub_of_note(&self, id: NoteId) -> Option<Sub> {
        self.state.lock().unwrap().subs.get(&id).copied()
    }

    /// The `sub` that is stored in the record of the file `key`.
    pub(crate) fn sub_of_file(&self, key: &str) -> Option<Sub> {
        let state = self.state.lock().unwrap();
        state.records.get(&FileKey::parse(key).unwrap())?.sub
    }

    /// The number of successful calls of operations that write.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(SeqCst)
    }

    /// Whether every note with an attachment has its reference: the record of the attached file
    /// contains the reference that the last write of the note added.
    pub(crate) fn every_note_has_its_reference(&self) -> bool {
        let state = self.state.lock().unwrap();
        let mut notes = state.notes.values();
        notes.all(|note| {
            let key = note.attachment.as_ref();
            let key = key.and_then(|name| FileKey::of(&note.user_id, name));
            key.is_none_or(|key| {
                let record = state.records.get(&key);
                record.is_some_and(|record| record.references.contains(&note.attachment_ref()))
            })
        })
    }

    /// Lets the next `calls` calls succeed, and makes all calls after them fail.
    pub(crate) fn fail_after(&self, calls: usize) {
        self.calls_left.store(calls, SeqCst);
    }

    /// Makes all calls succeed from now on.
    pub(crate) fn recover(&self) {
        self.calls_left.store(usize::MAX, SeqCst);
    }

    fn call(&self) -> Result<MutexGuard<'_, State>, Error> {
        let left = self.calls_left.load(SeqCst);
        self.calls_left.store(left.saturating_sub(1), SeqCst);
        if left == 0 {
            Err(Error::Failed("simulated failure".into()))
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

impl CountedNotes for Memory {
    async fn insert(&self, note: &Note, sub: Option<Sub>, free: u64) -> Result<Inserted, Error> {
        let state = &mut *self.write()?;
        let key = key(&note.user_id, note.note_id);
        if let Entry::Vacant(entry) = state.notes.entry(key) {
            let total = state
                .totals
                .entry(note.user_id.as_str().into())
                .or_default();
            if total.used >= total.allowed(free) {
                return Ok(Inserted::Full(*total));
            }
            total.used += 1;
            entry.insert(note.clone());
            state.subs.extend(sub.map(|sub| (note.note_id, sub)));
        }
        Ok(Inserted::Done)
    }

    async fn remove(
        &self,
        user: &UserId,
        id: NoteId,
        version: Version,
        counted: bool,
    ) -> Result<bool, Error> {
        let state = &mut *self.write()?;
        let Entry::Occupied(note) = state.notes.entry(key(user, id)) else {
            return Ok(true);
        };
        let same = note.get().version == version && note.get().counted == counted;
        if same {
            note.remove();
            if counted {
                state.totals.get_mut(user.as_str()).unwrap().used -= 1;
            }
        }
        Ok(same)
    }
}

impl Storage for Memory {
    async fn usage(&self, user: &UserId) -> Result<Usage, Error> {
        let total = self.call()?.totals.get(user.as_str()).copied();
        Ok(total.unwrap_or_default())
    }
}

impl NoteStore for Memory {
    async fn find(&self, user: &UserId, id: NoteId) -> Result<Option<Note>, Error> {
        Ok(self.call()?.notes.get(&key(user, id)).cloned())
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<NoteId>,
        limit: usize,
    ) -> Result<Page<Note>, Error> {
        let state = self.call()?;
        let older = state.notes.values().rev().filter(|note| {
            note.user_id == *user && before.is_none_or(|before| note.note_id < before)
        });
        Ok(Page::cut(older.cloned().collect(), limit))
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
            sub,
        } = change.clone();
        *note = Note {
            content,
            attachment,
            uploaded,
            updated_at,
            version,
            ..note.clone()
        };
        state.subs.extend(sub.map(|sub| (id, sub)));
        Ok(Replaced::Done { before })
    }

    async fn set_upload(
        &self,
        user: &UserId,
        reference: AttachmentRef,
        file: &File,
    ) -> Result<(), Error> {
        let mut state = self.write()?;
        let note = state.notes.get_mut(&key(user, reference.note));
        if let Some(note) = note.filter(|note| note.version == reference.write) {
            note.uploaded = Some(file.clone());
        }
        Ok(())
    }
}

impl AttachmentRecords for Memory {
    async fn add_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
        sub: Option<Sub>,
    ) -> Result<Option<File>, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.references.insert(reference);
        record.sub = sub.or(record.sub);
        Ok(record.file.clone())
    }

    async fn withdraw_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<(), Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.references.remove(&reference);
        Ok(())
    }

    async fn remove_last_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<bool, Error> {
        self.remove_reference(key, reference).await
    }

    async fn remove_reference(
        &self,
        key: &FileKey,
        reference: AttachmentRef,
    ) -> Result<bool, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.references.remove(&reference);
        let is_last = record.references.is_empty();
        if is_last {
            state.records.remove(key);
        }
        Ok(is_last)
    }

    async fn record_upload(
        &self,
        key: &FileKey,
        file: &File,
    ) -> Result<HashSet<AttachmentRef>, Error> {
        let mut state = self.write()?;
        let record = state.records.entry(key.clone()).or_default();
        record.file = Some(file.clone());
        Ok(record.references.clone())
    }

    async fn batch_get(&self, keys: &HashSet<FileKey>) -> Result<HashMap<FileKey, File>, Error> {
        let state = self.call()?;
        let uploaded = keys
            .iter()
            .filter_map(|key| Some((key.clone(), state.records.get(key)?.file.clone()?)));
        Ok(uploaded.collect())
    }
}

impl FileUrls for Memory {
    fn download_url(&self, key: &FileKey) -> Result<String, Error> {
        Ok(format!("https://files.example/{key}"))
    }

    fn presign_upload(
        &self,
        key: FileKey,
        _: &ContentType,
        _: FileSize,
    ) -> Result<PresignedUpload, Error> {
        let url = format!("https://files.example/{key}");
        Ok(PresignedUpload {
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
