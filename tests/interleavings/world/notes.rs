//! The tables Notes and Storage.

use std::collections::{HashMap, HashSet};

use domain::{Page, Sub, UserId};
use notes::{
    credit::{Credit, PurchaseId},
    file::{File, FileKey},
    note::{AttachmentRef, Note, NoteId, Precondition, Version},
    service::{
        AttachmentRecords, CountedNotes, Credits, Error, FileStore, NoteStore, Storage,
        notes::{Change, Replaced},
        storage::Inserted,
    },
    storage::Usage,
};

use super::{Hashed, World, error};
use crate::{
    bugs::Bug,
    call::{Port, Response},
};

/// The item with the user's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Total {
    pub(crate) used: i64,
    pub(crate) bought: i64,
    pub(crate) balance: i64,
}

impl World {
    fn total(&self) -> Total {
        self.data.total.unwrap_or_default()
    }

    fn usage(&self) -> Usage {
        let Total { used, bought, .. } = self.total();
        Usage {
            used: u64::try_from(used).unwrap_or(0),
            bought: u64::try_from(bought).unwrap_or(0),
        }
    }

    /// Adds a note that exists at the start.
    pub(super) fn existing_note(&mut self, number: u8, counted: bool) {
        let id: NoteId = super::id(number);
        let note = serde_json::json!({
            "userId": super::ada(), "noteId": id, "content": "hello", "attachment": null, "uploaded": null,
            "createdAt": 0, "updatedAt": 0, "version": id, "counted": counted,
        });
        let note: Note = serde_json::from_value(note).unwrap();
        self.data().notes.insert(id, Hashed::new(note));
        if counted {
            self.count(1);
        }
    }

    /// Whether the storage has room for one more note.
    fn has_room(&self, free: u64) -> bool {
        let free = i64::try_from(free).unwrap();
        match self.data.total {
            None => free > 0,
            Some(total) => total.balance < free,
        }
    }

    fn count(&mut self, by: i64) {
        let mut total = self.total();
        total.used += by;
        total.balance += by;
        self.data().total = Some(total);
    }

    fn insert(&mut self, note: &Note, free: u64, checks: bool, counts: bool) -> Inserted {
        if self.data.notes.contains_key(&note.note_id) {
            return Inserted::Done;
        }
        if checks && !self.has_room(free) {
            return Inserted::Full(self.usage());
        }
        let free = i64::try_from(free).unwrap();
        let exceeds = self.total().used + 1 > free + self.total().bought;
        let note = note.clone();
        self.data().notes.insert(note.note_id, Hashed::new(note));
        if counts {
            self.count(1);
        }
        if exceeds {
            self.break_rule("no note is created in a full storage");
        }
        Inserted::Done
    }

    fn remove(&mut self, id: NoteId, version: Version, counted: bool) -> bool {
        let Some(note) = self.data.notes.get(&id) else {
            if self.has(Bug::DeleteCountsTwice) && counted {
                self.count(-1);
            }
            return true;
        };
        if note.version != version || note.counted != counted {
            return false;
        }
        self.data().notes.remove(&id);
        if counted {
            self.count(-1);
        }
        true
    }

    fn replace_credit(&mut self, before: Option<&Credit>, credit: &Credit) -> bool {
        let stored = self
            .data
            .credits
            .get(&credit.purchase)
            .map(|stored| **stored);
        if stored.as_ref() != before && !self.has(Bug::CreditWithoutRevision) {
            return false;
        }
        let granted =
            |credit: Option<&Credit>| credit.map_or(0, |credit| i64::from(credit.granted));
        let difference = granted(Some(credit)) - granted(before);
        let mut total = self.total();
        total.bought += difference;
        total.balance -= difference;
        let data = self.data();
        data.total = Some(total);
        data.credits.insert(credit.purchase, Hashed::new(*credit));
        true
    }
}

impl Response for Inserted {
    fn brief(&self) -> String {
        match self {
            Self::Done => "done".into(),
            Self::Full(_) => "full".into(),
        }
    }
}

impl Response for Option<Note> {
    fn brief(&self) -> String {
        self.as_ref().map_or("none", |_| "found").into()
    }
}

impl Response for Option<Credit> {
    fn brief(&self) -> String {
        let brief = |credit: &Credit| format!("{} of revision {}", credit.granted, credit.revision);
        self.as_ref().map_or("none".into(), brief)
    }
}

impl CountedNotes for Port {
    async fn insert(&self, note: &Note, _: Option<Sub>, free: u64) -> Result<Inserted, Error> {
        if self.has(Bug::CountWithoutTransaction) {
            let insert = self.call("store the note", |world| {
                world.insert(note, free, true, false)
            });
            let inserted = insert.await.map_err(error)?;
            if inserted == Inserted::Done {
                let count = self.call("count the note", |world| world.count(1));
                count.await.map_err(error)?;
            }
            return Ok(inserted);
        }
        if self.has(Bug::CountWithoutCondition) {
            let read = self.call("read the total", |world| world.has_room(free));
            let checks = !read.await.map_err(error)?;
            let insert = self.call("store and count the note", |world| {
                world.insert(note, free, checks, true)
            });
            return insert.await.map_err(error);
        }
        let insert = self.call("store and count the note", |world| {
            world.insert(note, free, true, true)
        });
        insert.await.map_err(error)
    }

    async fn remove(
        &self,
        _: &UserId,
        id: NoteId,
        version: Version,
        counted: bool,
    ) -> Result<bool, Error> {
        let remove = self.call("delete the note", |world| {
            world.remove(id, version, counted)
        });
        remove.await.map_err(error)
    }
}

impl Storage for Port {
    async fn usage(&self, _: &UserId) -> Result<Usage, Error> {
        unreachable!("no function shows the storage")
    }
}

impl Credits for Port {
    async fn credit(&self, _: &UserId, purchase: PurchaseId) -> Result<Option<Credit>, Error> {
        let read = self.call("read the credit", |world| {
            world.data.credits.get(&purchase).map(|credit| **credit)
        });
        read.await.map_err(error)
    }

    async fn replace_credit(
        &self,
        _: &UserId,
        before: Option<&Credit>,
        credit: &Credit,
    ) -> Result<bool, Error> {
        let replace = self.call("store the credit", |world| {
            world.replace_credit(before, credit)
        });
        replace.await.map_err(error)
    }
}

impl NoteStore for Port {
    async fn find(&self, _: &UserId, id: NoteId) -> Result<Option<Note>, Error> {
        let find = self.call("read the note", |world| {
            world.data.notes.get(&id).map(|note| Note::clone(note))
        });
        find.await.map_err(error)
    }

    async fn page(&self, _: &UserId, _: Option<NoteId>, _: usize) -> Result<Page<Note>, Error> {
        unreachable!("no function lists notes")
    }

    async fn replace(
        &self,
        _: &UserId,
        _: NoteId,
        _: &Change,
        _: &Precondition,
    ) -> Result<Replaced, Error> {
        unreachable!("no function updates notes")
    }

    async fn set_upload(&self, _: &UserId, _: AttachmentRef, _: &File) -> Result<(), Error> {
        unreachable!("no note has a file")
    }
}

/// No note in the scenarios has a file.
#[derive(Debug)]
pub(crate) struct NoFiles;

impl AttachmentRecords for NoFiles {
    async fn add_reference(
        &self,
        _: &FileKey,
        _: AttachmentRef,
        _: Option<Sub>,
    ) -> Result<Option<File>, Error> {
        unreachable!("no note has a file")
    }

    async fn withdraw_reference(&self, _: &FileKey, _: AttachmentRef) -> Result<(), Error> {
        unreachable!("no note has a file")
    }

    async fn remove_reference(&self, _: &FileKey, _: AttachmentRef) -> Result<bool, Error> {
        unreachable!("no note has a file")
    }

    async fn remove_last_reference(&self, _: &FileKey, _: AttachmentRef) -> Result<bool, Error> {
        unreachable!("no note has a file")
    }

    async fn record_upload(&self, _: &FileKey, _: &File) -> Result<HashSet<AttachmentRef>, Error> {
        unreachable!("no note has a file")
    }

    async fn batch_get(&self, _: &HashSet<FileKey>) -> Result<HashMap<FileKey, File>, Error> {
        unreachable!("no note has a file")
    }
}

impl FileStore for NoFiles {
    async fn head(&self, _: &FileKey) -> Result<Option<File>, Error> {
        unreachable!("no note has a file")
    }

    async fn delete(&self, _: &FileKey) -> Result<(), Error> {
        unreachable!("no note has a file")
    }
}
