//! The record of an invocation, and the ways to record.

use std::{cell::RefCell, fmt::Display, time::Duration};

use crate::metric::Metric;

include!(concat!(env!("OUT_DIR"), "/constants.rs"));

/// A metric whose values are added up: a count or an amount.
#[derive(Debug, Clone, Copy)]
pub struct Sum(Metric);

impl Sum {
    /// Adds `value` to the metric's value in this invocation. Zero records the metric too.
    pub fn add(self, value: u64) {
        with(|record| record.add(self.0, value));
    }
}

/// A metric whose value is an age, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Age(Metric);

impl Age {
    /// Records `age` as the metric's value in this invocation.
    pub fn set(self, age: Duration) {
        with(|record| record.set(self.0, age.as_secs()));
    }
}

/// A field of the log line by which the lines of a resource can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    // part: billing {
    /// The ID of a purchase.
    Purchase,
    // part: billing }
    /// The ID of a note.
    Note,
    /// The ID of an uploaded file.
    File,
}

impl Subject {
    /// All subjects.
    pub const ALL: &[Self] = &[
        Self::Purchase, // part: billing
        Self::Note,
        Self::File,
    ];

    /// The name of the field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase_id", // part: billing
            Self::Note => "note_id",
            Self::File => "file_id",
        }
    }

    /// Adds the ID of a resource that this invocation works on to its log line. The ID must not need an escape in
    /// JSON.
    pub fn log(self, id: impl Display) {
        with(|record| record.subject(self, &id));
    }
}

/// Adds the keyed hash of a user's ID to the log line of this invocation. The log contains no user IDs, which are the keys of
/// the users' data.
pub fn log_user(user_id: &str) {
    with(|record| record.user(user_id));
}

/// What one invocation has recorded.
#[derive(Debug, Default)]
pub struct Record {
    values: Vec<(Metric, u64)>,
    subjects: Vec<(Subject, String)>,
    user: Option<String>,
}

thread_local! {
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Starts the record of an invocation. Drops the record of an earlier invocation that has not ended, such as one whose handler
/// panicked.
pub fn begin() {
    RECORD.set(Some(Record::default()));
}

/// Ends the record and returns it. Returns None if there is none.
pub fn take() -> Option<Record> {
    RECORD.take()
}

/// Calls `change` with the record of this invocation. Does nothing if there is none.
fn with(change: impl FnOnce(&mut Record)) {
    RECORD.with_borrow_mut(|record| record.as_mut().map(change));
}

impl Record {
    /// The recorded value of `metric`. None if it was not recorded.
    pub fn value(&self, metric: Metric) -> Option<u64> {
        let mut values = self.values.iter();
        values.find_map(|(recorded, value)| (*recorded == metric).then_some(*value))
    }

    /// The IDs that were recorded for `subject`.
    pub fn ids(&self, subject: Subject) -> impl Iterator<Item = &str> {
        let own = self.subjects.iter().filter(move |(of, _)| *of == subject);
        own.map(|(_, id)| id.as_str())
    }

    /// The recorded metrics with their values.
    pub(crate) fn values(&self) -> &[(Metric, u64)] {
        &self.values
    }

    /// The ID of the user, not hashed.
    pub(crate) fn user_id(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn add(&mut self, metric: Metric, value: u64) {
        let sum = self.value(metric).unwrap_or_default().saturating_add(value);
        self.set(metric, sum);
    }

    fn set(&mut self, metric: Metric, value: u64) {
        let mut values = self.values.iter_mut();
        match values.find(|(recorded, _)| *recorded == metric) {
            Some((_, stored)) => *stored = value,
            None => self.values.push((metric, value)),
        }
    }

    fn subject(&mut self, subject: Subject, id: &impl Display) {
        let id = id.to_string();
        if !self.ids(subject).any(|known| known == id) {
            self.subjects.push((subject, id));
        }
    }

    fn user(&mut self, user_id: &str) {
        self.user = Some(user_id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_added() {
        begin();
        NOTES_CREATED.add(1);
        NOTES_CREATED.add(2);
        let record = take().unwrap();
        assert_eq!(record.value(Metric::NotesCreated), Some(3));
        assert_eq!(record.value(Metric::NotesDeleted), None);
    }

    // part: billing {
    #[test]
    fn ages_are_replaced() {
        begin();
        for millis in [7_000, 90_900] {
            OLDEST_PENDING_AGE.set(Duration::from_millis(millis));
        }
        let record = take().unwrap();
        assert_eq!(record.value(Metric::OldestPendingAge), Some(90));
    }
    // part: billing }

    #[test]
    fn nothing_is_recorded_outside_an_invocation() {
        NOTES_CREATED.add(1);
        assert!(take().is_none());
        begin();
        assert_eq!(take().unwrap().value(Metric::NotesCreated), None);
    }

    #[test]
    fn each_id_is_kept_once() {
        begin();
        for id in ["a", "b", "a"] {
            Subject::File.log(id);
        }
        let record = take().unwrap();
        assert_eq!(Vec::from_iter(record.ids(Subject::File)), ["a", "b"]);
        assert_eq!(record.ids(Subject::Note).count(), 0);
    }
}
