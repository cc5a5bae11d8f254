//! Test doubles: an in-memory store that can simulate failures, and a clock that moves only when a
//! test advances it.

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
    store::{Expected, Record, Store, WriteOutcome},
};

/// An in-memory store of idempotency records, for tests.
#[derive(Debug, Default)]
pub struct Memory(Mutex<MemoryState>);

#[derive(Debug, Default)]
struct MemoryState {
    records: HashMap<String, Record>,
    calls: usize,
    failing: Option<(usize, Failure)>,
}

/// How a simulated failure of the store affects a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The call has no effect, and the caller gets an error.
    Unsent,
    /// The call takes effect, but the caller gets an error.
    ResponseLost,
}

impl Memory {
    /// Lets the next `calls` calls to the store succeed, and simulates `failure` in every call
    /// after them.
    pub fn fail_after(&self, calls: usize, failure: Failure) {
        let mut state = self.state();
        state.failing = Some((state.calls + calls, failure));
    }

    /// Undoes [`Memory::fail_after`]: all later calls succeed.
    pub fn recover(&self) {
        self.state().failing = None;
    }

    /// The number of calls to the store so far, including failed calls.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// All records in the store, in no particular order.
    pub fn records(&self) -> Vec<Record> {
        self.state().records.values().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    async fn write(&self, record: &Record, expected: Expected) -> Result<WriteOutcome, Error> {
        let mut state = self.state();
        let failure = state.failing.filter(|(calls, _)| state.calls >= *calls);
        let failure = failure.map(|(_, failure)| failure);
        state.calls += 1;
        let failed = || Error::Unavailable("simulated failure".into());
        if failure == Some(Failure::Unsent) {
            return Err(failed());
        }
        let existing = state.records.get(&record.id);
        let condition_holds = match expected {
            Expected::AbsentOrExpired { now } => {
                existing.is_none_or(|existing| existing.expires_at <= now)
            }
            Expected::Version(version) => {
                existing.is_some_and(|existing| existing.version == version)
            }
        };
        let outcome = if condition_holds {
            state.records.insert(record.id.clone(), record.clone());
            WriteOutcome::Done
        } else {
            WriteOutcome::ConditionFailed(existing.cloned())
        };
        match failure {
            Some(_) => Err(failed()),
            None => Ok(outcome),
        }
    }
}

/// A clock for tests. Starts at a fixed time in November 2023. All clones of a clock show the same
/// time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_700_000_000_000)))
    }
}

impl Clock {
    /// The time that the clock shows.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.load(SeqCst))
    }

    /// Moves the clock and its clones forward by the duration `by`.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, SeqCst);
    }
}

impl Idempotency<Memory> {
    /// Creates an `Idempotency` with a new in-memory store and a new test clock. Returns both the
    /// `Idempotency` and the clock.
    pub fn in_memory() -> (Self, Clock) {
        let clock = Clock::default();
        let shared = clock.clone();
        let idempotency = Self::new(Memory::default()).with_clock(move || shared.now());
        (idempotency, clock)
    }
}
