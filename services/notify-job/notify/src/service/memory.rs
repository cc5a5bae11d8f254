//! An SMS service in memory, for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use idempotency::memory::Failure;

use super::{Error, Sms};

/// An SMS service that keeps the texts, and can simulate failures.
#[derive(Debug, Default)]
pub(crate) struct MemorySms(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    texts: Vec<String>,
    failing: Option<(String, Failure)>,
}

impl MemorySms {
    /// Simulates `failure` in every call whose text contains `part`.
    pub(crate) fn fail(&self, part: &str, failure: Failure) {
        self.state().failing = Some((part.to_owned(), failure));
    }

    /// Undoes [`MemorySms::fail`]: all later calls succeed.
    pub(crate) fn recover(&self) {
        self.state().failing = None;
    }

    /// The texts of the SMS that were sent, oldest first.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.state().texts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sms for MemorySms {
    async fn send(&self, text: &str) -> Result<(), Error> {
        let mut state = self.state();
        let failing = state.failing.as_ref();
        let failure = failing.filter(|(part, _)| text.contains(part));
        let failure = failure.map(|(_, failure)| *failure);
        if failure != Some(Failure::Unsent) {
            state.texts.push(text.to_owned());
        }
        match failure {
            Some(_) => Err(Error::Unavailable("simulated failure".into())),
            None => Ok(()),
        }
    }
}
