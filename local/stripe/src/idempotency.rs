//! Stores the responses to requests with idempotency keys and replays them
//! (<https://docs.stripe.com/api/idempotent_requests>).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::error::ApiError;
use crate::response::ApiResponse;

/// How long a stored response is replayed, counted from the first request with the idempotency key.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The parts of a request that must be the same in all requests with the same idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) path: String,
    pub(crate) params: Vec<(String, String)>,
}

#[derive(Debug)]
struct IdempotencyRecord {
    fingerprint: Fingerprint,
    created: SystemTime,
    /// The response to the first request with the key. None while that request is in progress.
    response: Option<ApiResponse>,
}

/// What to do with a request, according to its idempotency key.
#[derive(Debug)]
pub(crate) enum NextAction {
    /// Execute the request, because it has no idempotency key or is the first request with its key.
    Execute,
    /// Return the response to the first request with the same idempotency key.
    Replay(ApiResponse),
}

/// The idempotency records, keyed by idempotency key.
#[derive(Debug, Default)]
pub(crate) struct IdempotencyRecords(HashMap<String, IdempotencyRecord>);

impl IdempotencyRecords {
    /// Looks up the record of the idempotency key `key`, and creates a record if there is none.
    /// Returns whether to execute the request or to replay a response.
    ///
    /// # Errors
    ///
    /// Fails if the key was used for another request, or the first request with the key is still in
    /// progress.
    pub(crate) fn begin(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        now: SystemTime,
    ) -> Result<NextAction, ApiError> {
        self.0
            .retain(|_, record| record.response.is_none() || now < record.created + RETENTION);
        match self.0.get(key) {
            None => {
                let record = IdempotencyRecord {
                    fingerprint,
                    created: now,
                    response: None,
                };
                self.0.insert(key.to_owned(), record);
                Ok(NextAction::Execute)
            }
            Some(record) if record.fingerprint.path != fingerprint.path => {
                Err(ApiError::reused_key(format!(
                    "Keys for idempotent requests can only be used for the same endpoint they \
                     were first used for ('{}' vs '{}'). Try using a key other than '{key}' if \
                     you meant to execute a different request.",
                    fingerprint.path, record.fingerprint.path
                )))
            }
            Some(record) if record.fingerprint != fingerprint => {
                Err(ApiError::reused_key(format!(
                    "Keys for idempotent requests can only be used with the same parameters they \
                     were first used with. Try using a key other than '{key}' if you meant to \
                     execute a different request."
                )))
            }
            Some(IdempotencyRecord { response: None, .. }) => Err(ApiError::key_in_use(key)),
            Some(IdempotencyRecord {
                response: Some(response),
                ..
            }) => Ok(NextAction::Replay(response.clone())),
        }
    }

    /// Completes the record of the first request with the idempotency key `key`: stores `response`,
    /// or deletes the record if `response` is None.
    pub(crate) fn finish(&mut self, key: &str, response: Option<ApiResponse>) {
        match (response, self.0.get_mut(key)) {
            (Some(response), Some(record)) => record.response = Some(response),
            _ => drop(self.0.remove(key)),
        }
    }
}
