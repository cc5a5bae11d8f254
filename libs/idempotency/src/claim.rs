//! The claim rules: which attempt may perform an operation, and what the other attempts do.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, Operation,
    store::{Expected, Record, State, Store, Version, WriteOutcome},
};

/// The default time to live of an idempotency record.
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// The time from the function's deadline to the end of a lease. The lease ends later than the
/// deadline because Lambda has been observed to stop a function 0.7 s late
/// (<https://github.com/aws-powertools/powertools-lambda-python/issues/4759>), and because the
/// clocks of two hosts differ slightly.
pub(crate) const LEASE_GRACE: Duration = Duration::from_secs(2);

/// The maximum size of the plan and the response of a record together, in bytes. A DynamoDB item is
/// limited to 400 KB, and the other attributes of the record take less than 2 KB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub(crate) const STORED_LIMIT: usize = 398 * 1024;

/// Claims operations, so that each operation takes effect once. Keeps the claims and the responses
/// of the operations as records in the store `S`.
pub struct Idempotency<S> {
    store: S,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    time_to_live: Duration,
}

/// The result of [`Idempotency::claim`]. It says what the caller must do next.
#[derive(Debug)]
#[must_use]
pub enum ClaimOutcome<'a, S, P, R> {
    /// This attempt holds the claim. The caller must perform the operation.
    Start {
        /// The guard of the claim. The caller must call [`ClaimGuard::complete`] or
        /// [`ClaimGuard::release`].
        guard: ClaimGuard<'a, S, R>,
        /// The plan for the operation. If this attempt took over from an earlier attempt, this is
        /// the plan of the first attempt. Otherwise it is the plan that the caller proposed.
        plan: P,
    },
    /// The operation is completed. The caller must return this stored response.
    Replay(R),
    /// Another attempt is in progress. The caller must retry later.
    InProgress {
        /// The time from now to the end of the other attempt's lease. At the end of the lease, the
        /// operation is completed or another attempt can take over.
        retry_after: Duration,
    },
    /// The idempotency key was already used with a different payload. The caller must reject the
    /// request.
    PayloadMismatch,
}

/// The right to perform an operation until the lease ends. Dropping the guard does not release the
/// claim: other attempts must then wait until the lease ends.
#[must_use]
pub struct ClaimGuard<'a, S, R> {
    idempotency: &'a Idempotency<S>,
    record: Record,
    response: PhantomData<fn(&R)>,
}

impl<S> Idempotency<S> {
    /// Creates an `Idempotency` that keeps its records in `store`. Records expire after 24 hours.
    pub fn new(store: S) -> Self {
        Self {
            store,
            clock: Box::new(SystemTime::now),
            time_to_live: DEFAULT_TIME_TO_LIVE,
        }
    }

    /// Sets the time to live of records. It starts when the lease of the last claim ends, or when
    /// the operation is completed or released.
    ///
    /// The time to live must be longer than the time for which the sender of a request or message
    /// retries. For example, SNS retries the delivery of a message to Lambda for up to 23 days
    /// (<https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>).
    pub fn with_time_to_live(self, time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            ..self
        }
    }

    /// Replaces the system clock with `clock`, for tests.
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            clock: Box::new(clock),
            ..self
        }
    }

    /// The store that contains the idempotency records.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The time at which a record expires if its time to live starts at `lease_until`, in seconds
    /// since the Unix epoch.
    fn expiry(&self, lease_until: SystemTime) -> u64 {
        since_epoch(lease_until + self.time_to_live).as_secs()
    }

    /// Creates the record for the first claim of an operation.
    fn first_record(&self, operation: &Operation, plan: String, lease_until: SystemTime) -> Record {
        Record {
            id: operation.id.clone(),
            fingerprint: operation.fingerprint.clone(),
            version: Version::generate(),
            attempts: 1,
            plan,
            state: State::InProgress {
                lease_until: since_epoch(lease_until).as_millis() as u64,
            },
            expires_at: self.expiry(lease_until),
        }
    }
}

impl<S: Store> Idempotency<S> {
    /// Claims `operation`. The claim has a lease. The lease ends 2 s after `deadline`, the deadline
    /// of the invocation.
    ///
    /// `proposed` is the plan of this attempt: a choice, such as the id of the item to create, that
    /// every attempt must make in the same way. The plan of the first attempt is stored with the
    /// claim. Every later attempt receives the stored plan instead of its own.
    ///
    /// Makes one conditional write if the operation is new, in progress or completed. Makes a
    /// second conditional write to take over a claim that was released or whose lease has ended.
    ///
    /// # Errors
    /// Fails if the store fails. The store may have written the claim nevertheless: then other
    /// attempts must wait until the lease ends.
    pub async fn claim<P, R>(
        &self,
        operation: &Operation,
        deadline: SystemTime,
        proposed: P,
    ) -> Result<ClaimOutcome<'_, S, P, R>, Error>
    where
        P: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let now = (self.clock)();
        let lease_until = deadline.max(now) + LEASE_GRACE;
        let proposed_json = serde_json::to_string(&proposed)?;
        let mut record = self.first_record(operation, proposed_json, lease_until);
        let mut plan = proposed;
        let mut expected = Expected::AbsentOrExpired {
            now: since_epoch(now).as_secs(),
        };
        // The second iteration is a takeover. There is a third only if another attempt changed the
        // record in between.
        loop {
            let existing = match self.write(&record, expected).await? {
                WriteOutcome::Done => {
                    let guard = ClaimGuard::new(self, record);
                    return Ok(ClaimOutcome::Start { guard, plan });
                }
                WriteOutcome::ConditionFailed(Some(existing)) => existing,
                WriteOutcome::ConditionFailed(None) => {
                    return Err(Error::Unavailable(
                        "the idempotency record was deleted during the claim".into(),
                    ));
                }
            };
            if let Some(outcome) = outcome_of_existing(&existing, operation, now)? {
                return Ok(outcome);
            }
            plan = serde_json::from_str(&existing.plan)?;
            record = Record {
                version: Version::generate(),
                attempts: existing.attempts.saturating_add(1),
                plan: existing.plan,
                ..record
            };
            expected = Expected::Version(existing.version);
        }
    }

    /// Writes a record to the store. Returns [`WriteOutcome::Done`] also if the condition is false
    /// but the stored record has the version of `record`. In this case the SDK sent the write
    /// twice, and the first request wrote the record.
    async fn write(&self, record: &Record, expected: Expected) -> Result<WriteOutcome, Error> {
        let response = match &record.state {
            State::Completed { response } => response.len(),
            State::InProgress { .. } | State::Released => 0,
        };
        let stored = record.plan.len() + response;
        if stored > STORED_LIMIT {
            return Err(Error::TooLarge(stored));
        }
        let outcome = self.store.write(record, expected).await?;
        Ok(match outcome {
            WriteOutcome::ConditionFailed(Some(existing)) if existing.version == record.version => {
                WriteOutcome::Done
            }
            outcome => outcome,
        })
    }
}

/// The outcome of a claim for an operation that already has the record `existing`. None if the
/// claim may take over the operation.
fn outcome_of_existing<'a, S, P, R: DeserializeOwned>(
    existing: &Record,
    operation: &Operation,
    now: SystemTime,
) -> Result<Option<ClaimOutcome<'a, S, P, R>>, Error> {
    if existing.fingerprint != operation.fingerprint {
        return Ok(Some(ClaimOutcome::PayloadMismatch));
    }
    Ok(match &existing.state {
        State::Completed { response } => {
            Some(ClaimOutcome::Replay(serde_json::from_str(response)?))
        }
        State::InProgress { lease_until } => {
            let left = Duration::from_millis(*lease_until).saturating_sub(since_epoch(now));
            let in_progress = ClaimOutcome::InProgress { retry_after: left };
            (!left.is_zero()).then_some(in_progress)
        }
        State::Released => None,
    })
}

impl<'a, S, R> ClaimGuard<'a, S, R> {
    fn new(idempotency: &'a Idempotency<S>, record: Record) -> Self {
        Self {
            idempotency,
            record,
            response: PhantomData,
        }
    }

    /// Whether an earlier attempt claimed the operation and did not complete it. The work of the
    /// earlier attempt may have taken effect, in part or completely.
    pub fn is_takeover(&self) -> bool {
        self.record.attempts > 1
    }

    /// The number of times that the operation was claimed, including this claim.
    pub fn attempts(&self) -> u32 {
        self.record.attempts
    }
}

impl<S: Store, R: Serialize> ClaimGuard<'_, S, R> {
    /// Completes the operation: stores the response that all later attempts receive.
    ///
    /// # Errors
    /// Returns [`Error::LeaseLost`] if another attempt took over or the record was deleted. The
    /// stored record then stays unchanged. Also fails if the store fails. In this case the response
    /// may have been stored nevertheless. If the response was not stored, a later attempt can take
    /// over when the lease ends.
    pub async fn complete(self, response: &R) -> Result<(), Error> {
        let response = serde_json::to_string(response)?;
        self.write(State::Completed { response }).await
    }

    /// Releases the claim, so that the next attempt need not wait for the end of the lease. The
    /// next attempt receives the same plan, because this attempt may have had an effect.
    ///
    /// # Errors
    /// Returns [`Error::LeaseLost`] if another attempt took over. Also fails if the store fails. In
    /// this case the claim may have been released nevertheless.
    pub async fn release(self) -> Result<(), Error> {
        self.write(State::Released).await
    }

    async fn write(self, state: State) -> Result<(), Error> {
        let Self {
            idempotency,
            record: claimed,
            ..
        } = self;
        let expected = Expected::Version(claimed.version);
        let record = Record {
            version: Version::generate(),
            state,
            expires_at: idempotency.expiry((idempotency.clock)()),
            ..claimed
        };
        match idempotency.write(&record, expected).await? {
            WriteOutcome::Done => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(Error::LeaseLost),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Idempotency<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("store", &self.store)
            .field("time_to_live", &self.time_to_live)
            .finish_non_exhaustive()
    }
}

impl<S, R> fmt::Debug for ClaimGuard<'_, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimGuard")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
