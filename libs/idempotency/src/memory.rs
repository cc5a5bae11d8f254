//! Claims in memory, for the tests of who claims: a store that can be told to fail, and a clock
//! that stands until it is told to move.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Error, Idempotency,
    store::{Expected, Record, Store, Written},
};

/// Records in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    records: HashMap<String, Record>,
    calls: usize,
    failing: Option<(usize, Failure)>,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It is never carried out.
    Unsent,
    /// It is carried out, and nobody hears of it.
    AnswerLost,
}

impl Memory {
    /// Lets that many more calls through, and fails all that follow.
    pub fn fail_after(&self, calls: usize, failure: Failure) {
        let mut inside = self.inside();
        inside.failing = Some((inside.calls + calls, failure));
    }

    /// Lets all calls through again.
    pub fn recover(&self) {
        self.inside().failing = None;
    }

    /// How many calls there were, those that failed among them.
    pub fn calls(&self) -> usize {
        self.inside().calls
    }

    /// All records.
    pub fn records(&self) -> Vec<Record> {
        self.inside().records.values().cloned().collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn write(&self, record: &Record, expected: Expected) -> Result<Written, Error> {
        let mut inside = self.inside();
        let failure = inside.failing.filter(|(calls, _)| inside.calls >= *calls);
        let failure = failure.map(|(_, failure)| failure);
        inside.calls += 1;
        let failed = || Error::Unavailable("told to fail".into());
        if failure == Some(Failure::Unsent) {
            return Err(failed());
        }
        let there = inside.records.get(&record.id);
        let as_expected = match expected {
            Expected::Nothing { now } => there.is_none_or(|there| there.expires_at <= now),
            Expected::Version(version) => there.is_some_and(|there| there.version == version),
        };
        let written = if as_expected {
            inside.records.insert(record.id.clone(), record.clone());
            Written::Done
        } else {
            Written::Refused(there.cloned())
        };
        match failure {
            Some(_) => Err(failed()),
            None => Ok(written),
        }
    }
}

/// A clock that stands. Its clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }
}

impl Clock {
    /// The time that it shows.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.load(SeqCst))
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, SeqCst);
    }
}

impl Idempotency<Memory> {
    /// Claims in memory, and the clock that they go by.
    pub fn in_memory() -> (Self, Clock) {
        let clock = Clock::default();
        let shown = clock.clone();
        let idempotency = Self::new(Memory::default()).with_clock(move || shown.now());
        (idempotency, clock)
    }
}
