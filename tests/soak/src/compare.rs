//! Compares what the stage acknowledged, as the ledger says, with what the stage has stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ledger::{Action, Attachment, Entry, Number, Outcome, What};
use crate::payments::compare::Interruption; // part: notify
use crate::payments::compare::{Charge, ExpectedOrder, Intent, Purchase}; // part: billing

/// What a quiet stage has stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) notes: Vec<Note>,
    /// The storage of each user, by the ID of the user's identity.
    pub(crate) storage: BTreeMap<String, Storage>,
    // part: billing {
    pub(crate) purchases: Vec<Purchase>,
    pub(crate) intents: Vec<Intent>,
    /// The charges that succeeded, oldest first.
    pub(crate) charges: Vec<Charge>,
    // part: billing }
    // part: notify {
    /// The texts of all SMS.
    pub(crate) sms: Vec<String>,
    // part: notify }
    /// The CRC-32 checksum of the file of each note that has one, by the file's key. The file of a note whose download
    /// failed is missing.
    pub(crate) files: BTreeMap<String, u32>,
    /// The messages in dead-letter queues.
    pub(crate) dead_letters: Vec<String>,
}

/// A note in the table Notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    pub(crate) user: String,
    pub(crate) id: String,
    pub(crate) content: String,
    /// The key of the note's file.
    pub(crate) attachment: Option<String>,
}

/// A user's items in the table Storage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    pub(crate) used: u64,
    // part: billing {
    pub(crate) bought: u64,
    /// The storage that each purchase grants.
    pub(crate) granted: BTreeMap<String, u64>,
    // part: billing }
}

/// A difference between what was acknowledged and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The invariant that does not hold.
    pub(crate) invariant: &'static str,
    /// The values that show it.
    pub(crate) found: String,
}

pub(crate) const NOTE_KEPT: &str = "every acknowledged note exists with its acknowledged content";
pub(crate) const NOTE_GONE: &str = "a deleted or refused note does not exist";
pub(crate) const ONE_NOTE: &str = "an idempotency key creates at most one note";
pub(crate) const OWN_NOTE: &str = "every note is one that its user wrote";
pub(crate) const USED: &str = "used is the number of notes";
pub(crate) const FILE_KEPT: &str = "the file of every note exists with the uploaded bytes";
pub(crate) const NO_DEAD_LETTERS: &str = "no message is left in a dead-letter queue";

/// The result of a comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) differences: Vec<Difference>,
    /// The number of acknowledged operations that were compared.
    pub(crate) acknowledged: usize,
    /// The number of operations that were never acknowledged.
    pub(crate) unknown: usize,
    // part: notify {
    /// The number of SMS that were sent again because notify-send was interrupted.
    pub(crate) repeated_sms: usize,
    // part: notify }
}

/// Compares the ledger with the stored data.
pub(crate) fn compare(
    entries: &[Entry],
    stored: &Stored,
    interruptions: &[Interruption], // part: notify
) -> Comparison {
    let expected = Expected::read(entries);
    let mut comparison = Comparison {
        acknowledged: expected.acknowledged,
        unknown: expected.unknown,
        ..Comparison::default()
    };
    comparison.compare_notes(&expected, stored);
    comparison.compare_storage(stored);
    comparison.compare_purchases(&expected, stored); // part: billing
    comparison.compare_payments(stored); // part: billing
    comparison.compare_sms(stored, interruptions); // part: notify
    let letters = &stored.dead_letters;
    comparison.check(letters.is_empty(), NO_DEAD_LETTERS, letters);
    comparison
}

/// Whether something must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Must,
    May,
    MustNot,
}

#[derive(Debug)]
struct ExpectedNote {
    user: String,
    /// The ID of the note, if the stage has acknowledged its creation.
    id: Option<String>,
    existence: Existence,
    /// The contents that the note may have.
    contents: BTreeSet<String>,
    file: Option<Attachment>,
}

/// What must be stored according to the ledger.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The notes, by the operation that created them.
    notes: BTreeMap<Number, ExpectedNote>,
    // part: billing {
    pub(crate) orders: Vec<ExpectedOrder>,
    /// The purchases that were canceled.
    pub(crate) canceled: BTreeSet<String>,
    // part: billing }
    acknowledged: usize,
    unknown: usize,
}

impl Expected {
    fn read(entries: &[Entry]) -> Self {
        let outcomes = entries.iter().filter_map(|entry| match &entry.what {
            What::Outcome(outcome) => Some((entry.operation, outcome)),
            What::Intent { .. } => None,
        });
        let outcomes: BTreeMap<_, _> = outcomes.collect();
        let mut expected = Self::default();
        let mut operations = BTreeMap::new();
        for entry in entries {
            if let What::Intent { user, action } = &entry.what {
                let outcome = outcomes.get(&entry.operation).copied();
                match outcome {
                    Some(_) => expected.acknowledged += 1,
                    None => expected.unknown += 1,
                }
                expected.add(entry.operation, user, action, outcome, &mut operations);
            }
        }
        expected
    }

    /// Adds an operation. `created` contains the operation that created each note, by the ID of the note.
    fn add(
        &mut self,
        operation: Number,
        user: &str,
        action: &Action,
        outcome: Option<&Outcome>,
        created: &mut BTreeMap<String, Number>,
    ) {
        match action {
            // part: billing {
            Action::Order { storage, amount } => self.orders.push(ExpectedOrder {
                user: user.to_owned(),
                storage: *storage,
                amount: *amount,
                outcome: outcome.cloned(),
            }),
            Action::Cancel { purchase } => {
                if let Some(Outcome::NotPaid { .. }) = outcome {
                    self.canceled.insert(purchase.clone());
                }
            }
            // part: billing }
            Action::CreateNote { content, file } => {
                let id = match outcome {
                    Some(Outcome::Done { id }) => Some(id.clone()),
                    _ => None,
                };
                if let Some(id) = &id {
                    created.insert(id.clone(), operation);
                }
                let note = ExpectedNote {
                    user: user.to_owned(),
                    existence: match outcome {
                        Some(Outcome::Done { .. }) => Existence::Must,
                        None => Existence::May,
                        Some(_) => Existence::MustNot,
                    },
                    id,
                    contents: BTreeSet::from([content.clone()]),
                    file: file.clone(),
                };
                self.notes.insert(operation, note);
            }
            Action::UpdateNote { note, content } => {
                let note = created.get(note).and_then(|by| self.notes.get_mut(by));
                if let Some(note) = note {
                    match outcome {
                        Some(Outcome::Done { .. }) => {
                            note.contents = BTreeSet::from([content.clone()]);
                        }
                        None => drop(note.contents.insert(content.clone())),
                        Some(_) => {}
                    }
                }
            }
            Action::DeleteNote { note } => {
                let note = created.get(note).and_then(|by| self.notes.get_mut(by));
                if let Some(note) = note {
                    note.existence = match outcome {
                        Some(Outcome::Done { .. }) => Existence::MustNot,
                        None => Existence::May,
                        Some(_) => note.existence,
                    };
                }
            }
        }
    }
}

/// Returns the operation that created a note, from the note's content.
fn creator(content: &str) -> Option<Number> {
    content.split(' ').next()?.parse().ok()
}

impl Comparison {
    pub(crate) fn check(
        &mut self,
        holds: bool,
        invariant: &'static str,
        found: &impl std::fmt::Debug,
    ) {
        if !holds {
            let found = format!("{found:?}");
            self.differences.push(Difference { invariant, found });
        }
    }

    fn compare_notes(&mut self, expected: &Expected, stored: &Stored) {
        let mut found: BTreeMap<Number, Vec<&Note>> = BTreeMap::new();
        for note in &stored.notes {
            let by = creator(&note.content).filter(|by| {
                let expected = expected.notes.get(by);
                expected.is_some_and(|expected| expected.user == note.user)
            });
            self.check(by.is_some(), OWN_NOTE, note);
            if let Some(by) = by {
                found.entry(by).or_default().push(note);
            }
        }
        for (operation, expected) in &expected.notes {
            let found = found.get(operation).map_or(&[][..], Vec::as_slice);
            let context = (operation, expected, found);
            self.check(found.len() <= 1, ONE_NOTE, &context);
            match expected.existence {
                Existence::Must => self.check(!found.is_empty(), NOTE_KEPT, &context),
                Existence::MustNot => self.check(found.is_empty(), NOTE_GONE, &context),
                Existence::May => {}
            }
            for note in found {
                let is_kept = expected.contents.contains(&note.content)
                    && expected.id.as_ref().is_none_or(|id| *id == note.id);
                self.check(is_kept, NOTE_KEPT, &context);
                let key = expected.file.as_ref().map(|file| &file.key);
                self.check(note.attachment.as_ref() == key, FILE_KEPT, &context);
                if let Some(file) = &expected.file {
                    let stored = stored.files.get(&file.key);
                    let is_kept = stored == Some(&file.checksum);
                    self.check(is_kept, FILE_KEPT, &(context, stored));
                }
            }
        }
    }

    fn compare_storage(&mut self, stored: &Stored) {
        let notes = stored.notes.iter().map(|note| &note.user);
        let users: BTreeSet<_> = stored.storage.keys().chain(notes).collect();
        let none = Storage::default();
        for user in users {
            let storage = stored.storage.get(user).unwrap_or(&none);
            let notes = stored.notes.iter().filter(|note| note.user == *user);
            let notes = notes.count() as u64;
            self.check(storage.used == notes, USED, &(user, storage, notes));
        }
    }
}

#[cfg(test)]
#[path = "compare/tests.rs"]
pub(crate) mod tests;
