//! Tests of the claim rules, with the in-memory store.

use std::{
    collections::HashSet,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    ClaimGuard, ClaimOutcome, Error, Idempotency, IdempotencyKey, Operation, Scope,
    claim::{LEASE_GRACE, STORED_LIMIT},
    memory::{Clock, Failure, Memory},
    store::{Expected, Record, Store, Version, WriteOutcome},
};

/// The time from a claim to the deadline of its function.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time from a claim to the end of its lease: the timeout plus the grace period.
const LEASE: Duration = Duration::from_secs(12);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Outcome<'a> = ClaimOutcome<'a, Memory, String, String>;

fn operation(key: &str, body: &str) -> Operation {
    let key: IdempotencyKey = key.parse().unwrap();
    Scope::of("POST /notes", "ada").operation(&key, body.as_bytes())
}

async fn claim<'a>(idempotency: &'a Idempotency<Memory>, clock: &Clock, plan: &str) -> Outcome<'a> {
    let operation = operation("k", "{}");
    let deadline = clock.now() + TIMEOUT;
    let claim = idempotency.claim(&operation, deadline, plan.into());
    claim.await.unwrap()
}

fn started<'a>(outcome: Outcome<'a>) -> (ClaimGuard<'a, Memory, String>, String) {
    match outcome {
        ClaimOutcome::Start { guard, plan } => (guard, plan),
        other => panic!("{other:?}"),
    }
}

fn is_in_progress(outcome: &Outcome) -> bool {
    matches!(outcome, ClaimOutcome::InProgress { .. })
}

#[tokio::test]
async fn the_first_claim_starts_with_the_proposed_plan() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, plan) = started(claim(&idempotency, &clock, "first").await);
    assert_eq!(plan, "first");
    assert!(!guard.is_takeover());
    assert_eq!(idempotency.store().calls(), 1, "one write");
}

#[tokio::test]
async fn a_second_claim_is_in_progress_until_the_lease_ends() {
    let (idempotency, clock) = Idempotency::in_memory();
    let _guard = started(claim(&idempotency, &clock, "first").await);
    for (later, left) in [(0, 12_000), (11_999, 1)] {
        clock.advance(Duration::from_millis(later));
        let ClaimOutcome::InProgress { retry_after } = claim(&idempotency, &clock, "second").await
        else {
            panic!("the first claim holds the lease")
        };
        assert_eq!(retry_after, Duration::from_millis(left));
    }
}

#[tokio::test]
async fn a_completed_operation_is_replayed_for_a_day() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    clock.advance(TIMEOUT);
    guard.complete(&"done".into()).await.unwrap();
    for later in [Duration::ZERO, LEASE, DAY - LEASE - Duration::from_secs(1)] {
        clock.advance(later);
        let again = claim(&idempotency, &clock, "second").await;
        assert!(matches!(again, ClaimOutcome::Replay(response) if response == "done"));
    }
    clock.advance(Duration::from_secs(1));
    let (guard, plan) = started(claim(&idempotency, &clock, "next day").await);
    assert_eq!(plan, "next day", "an expired record is ignored");
    assert!(!guard.is_takeover());
}

#[tokio::test]
async fn an_operation_with_a_longer_time_to_live_is_replayed_longer() {
    let (idempotency, clock) = Idempotency::in_memory();
    let idempotency = idempotency.with_time_to_live(4 * DAY);
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    guard.complete(&"done".into()).await.unwrap();
    clock.advance(3 * DAY);
    let again = claim(&idempotency, &clock, "second").await;
    assert!(matches!(again, ClaimOutcome::Replay(_)));
}

#[tokio::test]
async fn a_different_body_under_the_same_key_is_a_mismatch_in_every_state() {
    let (idempotency, clock) = Idempotency::in_memory();
    let other = async || {
        let operation = operation("k", "other");
        let claim = idempotency.claim(&operation, clock.now(), "other".into());
        let outcome: Outcome = claim.await.unwrap();
        assert!(
            matches!(outcome, ClaimOutcome::PayloadMismatch),
            "{outcome:?}"
        );
    };
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    other().await;
    guard.release().await.unwrap();
    other().await;
    let (guard, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    other().await;
    guard.complete(&"done".into()).await.unwrap();
    other().await;
}

#[tokio::test]
async fn a_different_key_is_a_different_operation() {
    let (idempotency, clock) = Idempotency::in_memory();
    let _guard = started(claim(&idempotency, &clock, "first").await);
    let other = operation("other", "{}");
    let other = idempotency.claim(&other, clock.now(), "other".into());
    let _guard = started(other.await.unwrap());
}

#[tokio::test]
async fn a_takeover_is_reported_and_receives_the_first_plan() {
    let (idempotency, clock) = Idempotency::in_memory();
    for (attempt, proposed) in ["first", "second", "third"].into_iter().enumerate() {
        let (guard, plan) = started(claim(&idempotency, &clock, proposed).await);
        assert_eq!(plan, "first");
        assert_eq!(guard.is_takeover(), attempt > 0);
        assert_eq!(guard.attempts() as usize, attempt + 1);
        clock.advance(LEASE);
    }
}

#[tokio::test]
async fn a_takeover_gets_its_own_lease() {
    let (idempotency, clock) = Idempotency::in_memory();
    let _crashed = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let _guard = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE - Duration::from_millis(1));
    assert!(is_in_progress(&claim(&idempotency, &clock, "third").await));
}

#[tokio::test]
async fn a_claim_that_was_taken_over_can_neither_complete_nor_release() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (first, _) = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let (second, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    let (third, _) = started(claim(&idempotency, &clock, "third").await);

    let error = first.complete(&"first response".into()).await.unwrap_err();
    assert!(matches!(error, Error::LeaseLost), "{error:?}");
    let error = second.release().await.unwrap_err();
    assert!(matches!(error, Error::LeaseLost), "{error:?}");
    assert!(is_in_progress(&claim(&idempotency, &clock, "x").await));

    third.complete(&"third response".into()).await.unwrap();
    let again = claim(&idempotency, &clock, "x").await;
    assert!(matches!(again, ClaimOutcome::Replay(response) if response == "third response"));
}

#[tokio::test]
async fn a_stale_takeover_does_not_overwrite_a_completed_operation() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    let seen = idempotency.store().records().remove(0);
    guard.complete(&"done".into()).await.unwrap();
    let takeover = Record {
        version: Version::generate(),
        ..seen
    };
    let stale = Expected::Version(seen.version);
    let written = idempotency.store().write(&takeover, stale).await.unwrap();
    assert!(
        matches!(written, WriteOutcome::ConditionFailed(_)),
        "{written:?}"
    );
}

#[tokio::test]
async fn a_claim_completes_after_its_lease_if_no_other_attempt_took_over() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    clock.advance(2 * LEASE);
    guard.complete(&"done".into()).await.unwrap();
    let again = claim(&idempotency, &clock, "second").await;
    assert!(matches!(again, ClaimOutcome::Replay(_)));
}

#[tokio::test]
async fn a_released_operation_is_taken_over_at_once_with_its_plan() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    guard.release().await.unwrap();
    let (guard, plan) = started(claim(&idempotency, &clock, "second").await);
    assert!(guard.is_takeover());
    assert_eq!(plan, "first");
}

#[tokio::test]
async fn a_lease_lasts_at_least_the_grace_period_for_any_deadline() {
    for deadline in [UNIX_EPOCH, Clock::default().now()] {
        let (idempotency, clock) = Idempotency::in_memory();
        let operation = operation("k", "{}");
        let claim_now = async || -> Outcome {
            let claim = idempotency.claim(&operation, deadline, "plan".into());
            claim.await.unwrap()
        };
        let _guard = started(claim_now().await);
        assert!(is_in_progress(&claim_now().await));
        clock.advance(LEASE_GRACE);
        let _guard = started(claim_now().await);
    }
}

#[tokio::test]
async fn an_oversized_record_is_refused_before_it_is_sent() {
    let (idempotency, clock) = Idempotency::in_memory();
    let long = "x".repeat(STORED_LIMIT);
    let operation = operation("k", "{}");
    let refused = idempotency.claim::<String, String>(&operation, clock.now(), long.clone());
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge(_)), "{refused:?}");
    assert_eq!(idempotency.store().calls(), 0);

    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    let refused = guard.complete(&long).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge(_)), "{refused:?}");
}

#[tokio::test]
async fn a_stored_response_of_a_different_type_is_an_error() {
    let (idempotency, clock) = Idempotency::in_memory();
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    guard.complete(&"done".into()).await.unwrap();
    let operation = operation("k", "{}");
    let asked = idempotency.claim::<String, u32>(&operation, clock.now(), "x".into());
    let error = asked.await.unwrap_err();
    assert!(matches!(error, Error::Json(_)), "{error:?}");
}

/// Simulates one invocation: claims the operation, performs its effect and completes it. If a call
/// to the store fails, the invocation ends after this call, as in a crash.
async fn invoke(
    idempotency: &Idempotency<Memory>,
    clock: &Clock,
    proposed: &str,
    effects: &mut HashSet<String>,
) -> &'static str {
    let operation = operation("k", "{}");
    let deadline = clock.now() + TIMEOUT;
    let claimed = idempotency.claim(&operation, deadline, proposed.to_owned());
    match claimed.await {
        Ok(ClaimOutcome::Start { guard, plan }) => {
            // The same plan has the same effect only once, like a charge with the plan as its
            // idempotency key.
            effects.insert(plan.clone());
            let response = format!("did {plan}");
            let completed = guard.complete(&response).await;
            completed.map_or("started and crashed", |()| "started and completed")
        }
        Ok(ClaimOutcome::Replay(response)) => {
            let done = effects.iter().next().unwrap();
            assert_eq!(response, format!("did {done}"));
            "replayed"
        }
        Ok(ClaimOutcome::InProgress { .. }) => "in progress",
        Ok(ClaimOutcome::PayloadMismatch) => panic!("the body is the same"),
        Err(_) => "crashed",
    }
}

#[tokio::test]
async fn after_any_two_crashes_the_operation_has_one_effect_and_is_then_replayed() {
    let failures = [Failure::Unsent, Failure::ResponseLost];
    // An invocation makes two calls to the store, or three if it takes over.
    for (one, first) in (0..=2).flat_map(|calls| failures.map(|failure| (calls, failure))) {
        for (two, second) in (0..=3).flat_map(|calls| failures.map(|failure| (calls, failure))) {
            let case = format!("{first:?} after {one}, {second:?} after {two}");
            let (idempotency, clock) = Idempotency::in_memory();
            let store = idempotency.store();
            let mut effects = HashSet::new();

            store.fail_after(one, first);
            let result = invoke(&idempotency, &clock, "first", &mut effects).await;
            store.recover();
            if result.starts_with("started") {
                let during_lease = invoke(&idempotency, &clock, "during lease", &mut effects).await;
                assert!(
                    ["in progress", "replayed"].contains(&during_lease),
                    "{case}: {during_lease}"
                );
            }

            clock.advance(LEASE);
            store.fail_after(two, second);
            let result = invoke(&idempotency, &clock, "second", &mut effects).await;
            store.recover();
            if result.starts_with("started") {
                let during_lease = invoke(&idempotency, &clock, "during lease", &mut effects).await;
                assert!(
                    ["in progress", "replayed"].contains(&during_lease),
                    "{case}: {during_lease}"
                );
            }

            clock.advance(LEASE);
            let third = invoke(&idempotency, &clock, "third", &mut effects).await;
            let ended = ["started and completed", "replayed"];
            assert!(ended.contains(&third), "{case}: {third}");
            let last = invoke(&idempotency, &clock, "last", &mut effects).await;
            assert_eq!(last, "replayed", "{case}");
            assert_eq!(effects.len(), 1, "{case}: {effects:?}");
        }
    }
}

#[tokio::test]
async fn a_claim_whose_response_is_lost_blocks_other_claims_until_its_lease_ends() {
    let (idempotency, clock) = Idempotency::in_memory();
    idempotency.store().fail_after(0, Failure::ResponseLost);
    let mut effects = HashSet::new();
    let first = invoke(&idempotency, &clock, "first", &mut effects).await;
    idempotency.store().recover();
    assert_eq!(first, "crashed");
    assert!(is_in_progress(&claim(&idempotency, &clock, "x").await));
    clock.advance(LEASE);
    let (_, plan) = started(claim(&idempotency, &clock, "second").await);
    assert_eq!(plan, "first");
}
