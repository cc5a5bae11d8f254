//! Who may act on an operation, and what anybody else is to do.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Operation,
    store::{Expected, Record, State, Store, Version, Written},
};

/// How long an operation is remembered, unless another time is set.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a lease goes on after the function's deadline. Lambda was seen to stop a function 0.7 s
/// late (<https://github.com/aws-powertools/powertools-lambda-python/issues/4759>), and the clocks
/// of two hosts differ a little.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes that plan and answer may have together: an item of DynamoDB has at most 400 KB, and what
/// else is in it less than 2.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const STORED_LIMIT: usize = 398 * 1024;

/// Claims operations.
pub struct Idempotency<S> {
    store: S,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    time_to_live: Duration,
}

/// What who claimed an operation is to do next.
#[derive(Debug)]
#[must_use]
pub enum ClaimOutcome<'a, S, P, A> {
    /// Act on it.
    Start {
        /// The claim.
        held: ClaimGuard<'a, S, A>,
        /// What the first attempt proposed: on a takeover, another than was proposed now.
        plan: P,
    },
    /// Give this answer: it is done.
    Replay(A),
    /// Come back later: somebody else acts on it.
    InProgress {
        /// How long that can last at most: then it is done, or can be taken over.
        retry_after: Duration,
    },
    /// Refuse: something else was asked for under this key.
    Mismatch,
}

/// The right to act on an operation until the lease ends. Who drops it leaves the operation locked
/// until then.
#[must_use]
pub struct ClaimGuard<'a, S, A> {
    idempotency: &'a Idempotency<S>,
    record: Record,
    answer: PhantomData<fn(&A)>,
}

/// Why an operation cannot be claimed, completed or released.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refuses work at the moment. The call may have been carried out all the same.
    #[error("the store of claims refuses work at the moment")]
    Unavailable(#[source] Cause),
    /// The store failed.
    #[error("the store of claims failed")]
    Failed(#[source] Cause),
    /// The lease ran out, and somebody else took over, or the record is gone.
    #[error("the claim is no longer held")]
    Lost,
    /// Plan and answer have this many bytes, more than a record can take.
    #[error("{0} bytes are too many for the record of a claim")]
    TooLarge(usize),
    /// The plan or the answer cannot be written as JSON, or what is stored is not of its type.
    #[error("a plan or an answer does not have its type")]
    Json(#[from] serde_json::Error),
}

/// What went wrong, in the store's own words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<dynamodb::Error> for Error {
    fn from(error: dynamodb::Error) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

impl<S> Idempotency<S> {
    /// Claims kept in `store`, each for 24 hours.
    pub fn new(store: S) -> Self {
        Self {
            store,
            clock: Box::new(SystemTime::now),
            time_to_live: TIME_TO_LIVE,
        }
    }

    /// Remembers operations that long after they were last claimed, completed or released.
    ///
    /// It has to be longer than the sender goes on trying: three days for Stripe's events
    /// (<https://docs.stripe.com/webhooks#retries>).
    pub fn with_time_to_live(self, time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            ..self
        }
    }

    /// Goes by another clock than the system's.
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self {
            clock: Box::new(clock),
            ..self
        }
    }

    /// Where the claims are kept.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// When a record is forgotten whose claim can be held until `held_until`.
    fn expiry(&self, held_until: SystemTime) -> u64 {
        since_epoch(held_until + self.time_to_live).as_secs()
    }
}

impl<S: Store> Idempotency<S> {
    /// Claims `operation` for as long as the function can run, to its `deadline`.
    ///
    /// `proposed` is what this attempt would choose, such as the id of what it makes. It is stored
    /// with the claim, and every later attempt gets it in place of its own.
    ///
    /// One conditional write in the ordinary case, whether the operation is new, being acted on or
    /// done; a second one takes over a claim whose lease ran out.
    ///
    /// # Errors
    /// When the store does not do its part. The claim may be there all the same, held by nobody
    /// until its lease ends.
    pub async fn claim<P, A>(
        &self,
        operation: &Operation,
        deadline: SystemTime,
        proposed: P,
    ) -> Result<ClaimOutcome<'_, S, P, A>, Error>
    where
        P: Serialize + DeserializeOwned,
        A: Serialize + DeserializeOwned,
    {
        let now = (self.clock)();
        let lease_until = deadline.max(now) + GRACE;
        let mut record = Record {
            id: operation.id.clone(),
            fingerprint: operation.fingerprint.clone(),
            version: Version::generate(),
            attempts: 1,
            plan: serde_json::to_string(&proposed)?,
            state: State::InProgress {
                lease_until: since_epoch(lease_until).as_millis() as u64,
            },
            expires_at: self.expiry(lease_until),
        };
        let mut plan = proposed;
        let mut expected = Expected::Nothing {
            now: since_epoch(now).as_secs(),
        };
        // Goes round again only where the record changed between two writes.
        loop {
            let there = match self.write(&record, expected).await? {
                Written::Done => {
                    let held = ClaimGuard::new(self, record);
                    return Ok(ClaimOutcome::Start { held, plan });
                }
                Written::Refused(Some(there)) => there,
                Written::Refused(None) => {
                    return Err(Error::Unavailable(
                        "the record went while it was claimed".into(),
                    ));
                }
            };
            if there.fingerprint != operation.fingerprint {
                return Ok(ClaimOutcome::Mismatch);
            }
            match there.state {
                State::Completed { answer } => {
                    return Ok(ClaimOutcome::Replay(serde_json::from_str(&answer)?));
                }
                State::InProgress { lease_until } => {
                    let left = Duration::from_millis(lease_until).saturating_sub(since_epoch(now));
                    if !left.is_zero() {
                        return Ok(ClaimOutcome::InProgress { retry_after: left });
                    }
                }
                State::Released => (),
            }
            plan = serde_json::from_str(&there.plan)?;
            record = Record {
                version: Version::generate(),
                attempts: there.attempts.saturating_add(1),
                plan: there.plan,
                ..record
            };
            expected = Expected::Version(there.version);
        }
    }

    /// Writes, and knows a write that the SDK sent twice for its own.
    async fn write(&self, record: &Record, expected: Expected) -> Result<Written, Error> {
        let answer = match &record.state {
            State::Completed { answer } => answer.len(),
            State::InProgress { .. } | State::Released => 0,
        };
        let stored = record.plan.len() + answer;
        if stored > STORED_LIMIT {
            return Err(Error::TooLarge(stored));
        }
        let written = self.store.write(record, expected).await?;
        Ok(match written {
            Written::Refused(Some(there)) if there.version == record.version => Written::Done,
            written => written,
        })
    }
}

impl<'a, S, A> ClaimGuard<'a, S, A> {
    fn new(idempotency: &'a Idempotency<S>, record: Record) -> Self {
        Self {
            idempotency,
            record,
            answer: PhantomData,
        }
    }

    /// Whether somebody held the claim before and did not complete: what was to be done may be done
    /// in part, or wholly.
    pub fn is_takeover(&self) -> bool {
        self.record.attempts > 1
    }

    /// How often the operation was claimed, this time included.
    pub fn attempts(&self) -> u32 {
        self.record.attempts
    }
}

impl<S: Store, A: Serialize> ClaimGuard<'_, S, A> {
    /// Stores the answer that every repetition is to give.
    ///
    /// # Errors
    /// [`Error::Lost`] when somebody else took over, whose record stays as it is. When the store
    /// does not do its part, the answer may be stored all the same; if not, a repetition takes over
    /// once the lease has ended.
    pub async fn complete(self, answer: &A) -> Result<(), Error> {
        let answer = serde_json::to_string(answer)?;
        self.write(State::Completed { answer }).await
    }

    /// Gives up, so that a repetition need not wait for the end of the lease. It takes over, with
    /// the same plan: nobody can be sure that an attempt which failed had no effect.
    ///
    /// # Errors
    /// As for [`ClaimGuard::complete`].
    pub async fn release(self) -> Result<(), Error> {
        self.write(State::Released).await
    }

    async fn write(self, state: State) -> Result<(), Error> {
        let Self {
            idempotency,
            record: held,
            ..
        } = self;
        let expected = Expected::Version(held.version);
        let record = Record {
            version: Version::generate(),
            state,
            expires_at: idempotency.expiry((idempotency.clock)()),
            ..held
        };
        match idempotency.write(&record, expected).await? {
            Written::Done => Ok(()),
            Written::Refused(_) => Err(Error::Lost),
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

impl<S, A> fmt::Debug for ClaimGuard<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimGuard")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

fn since_epoch(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        IdempotencyKey, Scope,
        memory::{Clock, Failure, Memory},
    };

    /// How long the function can run, and then the lease.
    const TIMEOUT: Duration = Duration::from_secs(10);
    const LEASE: Duration = Duration::from_secs(12);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    type Outcome<'a> = ClaimOutcome<'a, Memory, String, String>;

    fn operation(key: &str, body: &str) -> Operation {
        let key: IdempotencyKey = key.parse().unwrap();
        Scope::of("POST /notes", "ada").operation(&key, body.as_bytes())
    }

    async fn claim<'a>(
        idempotency: &'a Idempotency<Memory>,
        clock: &Clock,
        plan: &str,
    ) -> Outcome<'a> {
        let operation = operation("k", "{}");
        let deadline = clock.now() + TIMEOUT;
        let claim = idempotency.claim(&operation, deadline, plan.into());
        claim.await.unwrap()
    }

    fn started<'a>(outcome: Outcome<'a>) -> (ClaimGuard<'a, Memory, String>, String) {
        match outcome {
            ClaimOutcome::Start { held, plan } => (held, plan),
            other => panic!("{other:?}"),
        }
    }

    fn is_in_progress(outcome: &Outcome) -> bool {
        matches!(outcome, ClaimOutcome::InProgress { .. })
    }

    #[tokio::test]
    async fn who_comes_first_starts_with_the_plan_it_proposed() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, plan) = started(claim(&idempotency, &clock, "first").await);
        assert_eq!(plan, "first");
        assert!(!held.is_takeover());
        assert_eq!(idempotency.store().calls(), 1, "by one write");
    }

    #[tokio::test]
    async fn who_comes_while_it_is_being_worked_on_waits_to_the_end_of_the_lease_at_most() {
        let (idempotency, clock) = Idempotency::in_memory();
        let _held = started(claim(&idempotency, &clock, "first").await);
        for (later, left) in [(0, 12_000), (11_999, 1)] {
            clock.advance(Duration::from_millis(later));
            let ClaimOutcome::InProgress { retry_after } =
                claim(&idempotency, &clock, "second").await
            else {
                panic!("it is being worked on")
            };
            assert_eq!(retry_after, Duration::from_millis(left));
        }
    }

    #[tokio::test]
    async fn who_comes_after_it_is_done_gets_the_answer_for_a_day() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        clock.advance(TIMEOUT);
        held.complete(&"done".into()).await.unwrap();
        for later in [Duration::ZERO, LEASE, DAY - LEASE - Duration::from_secs(1)] {
            clock.advance(later);
            let again = claim(&idempotency, &clock, "second").await;
            assert!(matches!(again, ClaimOutcome::Replay(answer) if answer == "done"));
        }
        clock.advance(Duration::from_secs(1));
        let (held, plan) = started(claim(&idempotency, &clock, "next day").await);
        assert_eq!(plan, "next day", "what is forgotten is new");
        assert!(!held.is_takeover());
    }

    #[tokio::test]
    async fn an_operation_is_remembered_as_long_as_its_sender_goes_on_trying() {
        let (idempotency, clock) = Idempotency::in_memory();
        let idempotency = idempotency.with_time_to_live(4 * DAY);
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        held.complete(&"done".into()).await.unwrap();
        clock.advance(3 * DAY);
        let again = claim(&idempotency, &clock, "second").await;
        assert!(matches!(again, ClaimOutcome::Replay(_)));
    }

    #[tokio::test]
    async fn another_body_under_the_same_key_is_refused_at_every_stage() {
        let (idempotency, clock) = Idempotency::in_memory();
        let other = async || {
            let operation = operation("k", "other");
            let claim = idempotency.claim(&operation, clock.now(), "other".into());
            let outcome: Outcome = claim.await.unwrap();
            assert!(matches!(outcome, ClaimOutcome::Mismatch), "{outcome:?}");
        };
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        other().await;
        held.release().await.unwrap();
        other().await;
        let (held, _) = started(claim(&idempotency, &clock, "second").await);
        clock.advance(LEASE);
        other().await;
        held.complete(&"done".into()).await.unwrap();
        other().await;
    }

    #[tokio::test]
    async fn another_key_is_another_operation() {
        let (idempotency, clock) = Idempotency::in_memory();
        let _held = started(claim(&idempotency, &clock, "first").await);
        let other = operation("other", "{}");
        let other = idempotency.claim(&other, clock.now(), "other".into());
        let _held = started(other.await.unwrap());
    }

    #[tokio::test]
    async fn who_takes_over_knows_it_and_keeps_the_first_plan() {
        let (idempotency, clock) = Idempotency::in_memory();
        for (attempt, proposed) in ["first", "second", "third"].into_iter().enumerate() {
            let (held, plan) = started(claim(&idempotency, &clock, proposed).await);
            assert_eq!(plan, "first");
            assert_eq!(held.is_takeover(), attempt > 0);
            assert_eq!(held.attempts() as usize, attempt + 1);
            clock.advance(LEASE);
        }
    }

    #[tokio::test]
    async fn a_takeover_is_a_claim_with_a_lease_of_its_own() {
        let (idempotency, clock) = Idempotency::in_memory();
        let _crashed = started(claim(&idempotency, &clock, "first").await);
        clock.advance(LEASE);
        let _held = started(claim(&idempotency, &clock, "second").await);
        clock.advance(LEASE - Duration::from_millis(1));
        assert!(is_in_progress(&claim(&idempotency, &clock, "third").await));
    }

    #[tokio::test]
    async fn who_was_taken_over_can_neither_complete_nor_release() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (first, _) = started(claim(&idempotency, &clock, "first").await);
        clock.advance(LEASE);
        let (second, _) = started(claim(&idempotency, &clock, "second").await);
        clock.advance(LEASE);
        let (third, _) = started(claim(&idempotency, &clock, "third").await);

        let lost = first.complete(&"of the first".into()).await.unwrap_err();
        assert!(matches!(lost, Error::Lost), "{lost:?}");
        let lost = second.release().await.unwrap_err();
        assert!(matches!(lost, Error::Lost), "{lost:?}");
        assert!(is_in_progress(&claim(&idempotency, &clock, "x").await));

        third.complete(&"of the third".into()).await.unwrap();
        let again = claim(&idempotency, &clock, "x").await;
        assert!(matches!(again, ClaimOutcome::Replay(answer) if answer == "of the third"));
    }

    #[tokio::test]
    async fn what_is_done_meanwhile_is_not_taken_over_by_who_saw_it_in_progress() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        let seen = idempotency.store().records().remove(0);
        held.complete(&"done".into()).await.unwrap();
        let takeover = Record {
            version: Version::generate(),
            ..seen
        };
        let late = Expected::Version(seen.version);
        let written = idempotency.store().write(&takeover, late).await.unwrap();
        assert!(matches!(written, Written::Refused(_)), "{written:?}");
    }

    #[tokio::test]
    async fn who_is_late_but_was_not_taken_over_completes() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        clock.advance(2 * LEASE);
        held.complete(&"done".into()).await.unwrap();
        let again = claim(&idempotency, &clock, "second").await;
        assert!(matches!(again, ClaimOutcome::Replay(_)));
    }

    #[tokio::test]
    async fn what_is_released_is_taken_over_at_once_with_its_plan() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        held.release().await.unwrap();
        let (held, plan) = started(claim(&idempotency, &clock, "second").await);
        assert!(held.is_takeover());
        assert_eq!(plan, "first");
    }

    #[tokio::test]
    async fn a_lease_never_ends_before_it_begins_whatever_the_deadline() {
        for deadline in [UNIX_EPOCH, Clock::default().now()] {
            let (idempotency, clock) = Idempotency::in_memory();
            let operation = operation("k", "{}");
            let claim_now = async || -> Outcome {
                let claim = idempotency.claim(&operation, deadline, "plan".into());
                claim.await.unwrap()
            };
            let _held = started(claim_now().await);
            assert!(is_in_progress(&claim_now().await));
            clock.advance(GRACE);
            let _held = started(claim_now().await);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_for_a_record_is_refused_before_it_is_sent() {
        let (idempotency, clock) = Idempotency::in_memory();
        let long = "x".repeat(STORED_LIMIT);
        let operation = operation("k", "{}");
        let refused = idempotency.claim::<String, String>(&operation, clock.now(), long.clone());
        let refused = refused.await.unwrap_err();
        assert!(matches!(refused, Error::TooLarge(_)), "{refused:?}");
        assert_eq!(idempotency.store().calls(), 0);

        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        let refused = held.complete(&long).await.unwrap_err();
        assert!(matches!(refused, Error::TooLarge(_)), "{refused:?}");
    }

    #[tokio::test]
    async fn an_answer_of_another_type_than_is_asked_for_is_an_error() {
        let (idempotency, clock) = Idempotency::in_memory();
        let (held, _) = started(claim(&idempotency, &clock, "first").await);
        held.complete(&"done".into()).await.unwrap();
        let operation = operation("k", "{}");
        let asked = idempotency.claim::<String, u32>(&operation, clock.now(), "x".into());
        let error = asked.await.unwrap_err();
        assert!(matches!(error, Error::Json(_)), "{error:?}");
    }

    /// One run of a function: claims, has its effect, completes, and crashes where the store fails.
    async fn run(
        idempotency: &Idempotency<Memory>,
        clock: &Clock,
        proposed: &str,
        effects: &mut HashSet<String>,
    ) -> &'static str {
        let operation = operation("k", "{}");
        let deadline = clock.now() + TIMEOUT;
        let claimed = idempotency.claim(&operation, deadline, proposed.to_owned());
        match claimed.await {
            Ok(ClaimOutcome::Start { held, plan }) => {
                // As with a charge whose idempotency key is the plan.
                effects.insert(plan.clone());
                let answer = format!("did {plan}");
                let completed = held.complete(&answer).await;
                completed.map_or("started and crashed", |()| "started and completed")
            }
            Ok(ClaimOutcome::Replay(answer)) => {
                let done = effects.iter().next().unwrap();
                assert_eq!(answer, format!("did {done}"));
                "replayed"
            }
            Ok(ClaimOutcome::InProgress { .. }) => "waits",
            Ok(ClaimOutcome::Mismatch) => panic!("the body was the same"),
            Err(_) => "crashed",
        }
    }

    #[tokio::test]
    async fn crashes_at_any_two_calls_leave_one_effect_one_start_a_lease_and_then_a_replay() {
        let failures = [Failure::Unsent, Failure::AnswerLost];
        // A run has two calls, and three when it takes over.
        for (one, first) in (0..=2).flat_map(|calls| failures.map(|failure| (calls, failure))) {
            for (two, second) in (0..=3).flat_map(|calls| failures.map(|failure| (calls, failure)))
            {
                let case = format!("{first:?} after {one}, {second:?} after {two}");
                let (idempotency, clock) = Idempotency::in_memory();
                let store = idempotency.store();
                let mut effects = HashSet::new();

                store.fail_after(one, first);
                let begun = run(&idempotency, &clock, "first", &mut effects).await;
                store.recover();
                if begun.starts_with("started") {
                    let within = run(&idempotency, &clock, "within", &mut effects).await;
                    assert!(["waits", "replayed"].contains(&within), "{case}: {within}");
                }

                clock.advance(LEASE);
                store.fail_after(two, second);
                let begun = run(&idempotency, &clock, "second", &mut effects).await;
                store.recover();
                if begun.starts_with("started") {
                    let within = run(&idempotency, &clock, "within", &mut effects).await;
                    assert!(["waits", "replayed"].contains(&within), "{case}: {within}");
                }

                clock.advance(LEASE);
                let third = run(&idempotency, &clock, "third", &mut effects).await;
                let ended = ["started and completed", "replayed"];
                assert!(ended.contains(&third), "{case}: {third}");
                let last = run(&idempotency, &clock, "last", &mut effects).await;
                assert_eq!(last, "replayed", "{case}");
                assert_eq!(effects.len(), 1, "{case}: {effects:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_claim_whose_answer_is_lost_is_held_by_nobody_until_its_lease_ends() {
        let (idempotency, clock) = Idempotency::in_memory();
        idempotency.store().fail_after(0, Failure::AnswerLost);
        let mut effects = HashSet::new();
        let first = run(&idempotency, &clock, "first", &mut effects).await;
        idempotency.store().recover();
        assert_eq!(first, "crashed");
        assert!(is_in_progress(&claim(&idempotency, &clock, "x").await));
        clock.advance(LEASE);
        let (_, plan) = started(claim(&idempotency, &clock, "second").await);
        assert_eq!(plan, "first");
    }
}
