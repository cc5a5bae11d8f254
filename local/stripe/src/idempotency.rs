//! What Stripe remembers of requests with an `Idempotency-Key`
//! (<https://docs.stripe.com/api/idempotent_requests>).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::error::ApiError;
use crate::server::Answer;

/// How long a result is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) path: String,
    pub(crate) params: Vec<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Fingerprint,
    since: SystemTime,
    /// None while the request runs.
    answer: Option<Answer>,
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Next {
    /// Carry it out and say how it ended.
    Execute,
    /// Give the answer that it had.
    Replay(Answer),
}

/// The keys in use.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<String, Entry>);

impl Keys {
    pub(crate) fn begin(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        now: SystemTime,
    ) -> Result<Next, ApiError> {
        self.0
            .retain(|_, entry| entry.answer.is_none() || now < entry.since + KEPT);
        match self.0.get(key) {
            None => {
                let entry = Entry {
                    fingerprint,
                    since: now,
                    answer: None,
                };
                self.0.insert(key.to_owned(), entry);
                Ok(Next::Execute)
            }
            Some(entry) if entry.fingerprint.path != fingerprint.path => {
                Err(ApiError::reused_key(format!(
                    "Keys for idempotent requests can only be used for the same endpoint they \
                     were first used for ('{}' vs '{}'). Try using a key other than '{key}' if \
                     you meant to execute a different request.",
                    fingerprint.path, entry.fingerprint.path
                )))
            }
            Some(entry) if entry.fingerprint != fingerprint => Err(ApiError::reused_key(format!(
                "Keys for idempotent requests can only be used with the same parameters they \
                     were first used with. Try using a key other than '{key}' if you meant to \
                     execute a different request."
            ))),
            Some(Entry { answer: None, .. }) => Err(ApiError::key_in_use(key)),
            Some(Entry {
                answer: Some(answer),
                ..
            }) => Ok(Next::Replay(answer.clone())),
        }
    }

    /// Ends the request of a key: keeps its answer, or forgets the key when there is none to keep.
    pub(crate) fn end(&mut self, key: &str, answer: Option<Answer>) {
        match (answer, self.0.get_mut(key)) {
            (Some(answer), Some(entry)) => entry.answer = Some(answer),
            _ => drop(self.0.remove(key)),
        }
    }
}
