//! Tests the claim rules with concurrent attempts, against a local DynamoDB that runs in the test's
//! process.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::HashMap, sync::Arc, time::Duration};

use idempotency::{
    ClaimGuard, ClaimOutcome, Error, Idempotency, IdempotencyKey, IdempotencyTable, Operation,
    Scope,
    memory::Clock,
    store::{Expected, Record, Store, WriteOutcome},
};
use local_dynamodb::{Dynamodb, client_variable};
use tokio::task::JoinSet;

const TIMEOUT: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(12);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Outcome<'a, S> = ClaimOutcome<'a, S, String, String>;

async fn database() -> Dynamodb {
    let database = Dynamodb::start(&[]).await.unwrap();
    database.create("Idempotency", &["id"]).unwrap();
    database
}

fn table(database: &Dynamodb) -> IdempotencyTable {
    let variable = |name| client_variable(&database.url(), name);
    let aws = aws::Stack::from_vars(variable).unwrap();
    IdempotencyTable::new(dynamodb::Dynamodb::new(&aws).table("Idempotency".parse().unwrap()))
}

fn idempotency<S: Store>(store: S) -> (Idempotency<S>, Clock) {
    let clock = Clock::default();
    let shared = clock.clone();
    let idempotency = Idempotency::new(store).with_clock(move || shared.now());
    (idempotency, clock)
}

fn operation(body: &str) -> Operation {
    let key: IdempotencyKey = "k".parse().unwrap();
    Scope::of("POST /notes", "us-east-1:ada").operation(&key, body.as_bytes())
}

async fn claim<'a, S: Store>(
    idempotency: &'a Idempotency<S>,
    clock: &Clock,
    plan: &str,
) -> Outcome<'a, S> {
    let operation = operation("{}");
    let claim = idempotency.claim(&operation, clock.now() + TIMEOUT, plan.into());
    claim.await.unwrap()
}

fn started<'a, S: std::fmt::Debug>(outcome: Outcome<'a, S>) -> (ClaimGuard<'a, S, String>, String) {
    match outcome {
        ClaimOutcome::Start { guard, plan } => (guard, plan),
        other => panic!("{other:?}"),
    }
}

/// Claims the same operation `count` times concurrently. Returns how often each outcome occurred,
/// and the plans that the outcomes `Start` contain.
async fn claim_concurrently(
    idempotency: &Arc<Idempotency<IdempotencyTable>>,
    clock: &Clock,
    count: usize,
) -> (HashMap<&'static str, usize>, Vec<String>) {
    let mut claims = JoinSet::new();
    for number in 0..count {
        let (idempotency, clock) = (Arc::clone(idempotency), clock.clone());
        claims.spawn(async move {
            match claim(&idempotency, &clock, &number.to_string()).await {
                ClaimOutcome::Start { plan, .. } => ("start", Some(plan)),
                ClaimOutcome::Replay(_) => ("replay", None),
                ClaimOutcome::InProgress { .. } => ("in progress", None),
                ClaimOutcome::PayloadMismatch => ("payload mismatch", None),
            }
        });
    }
    let (mut outcomes, mut plans) = (HashMap::new(), Vec::new());
    for (outcome, plan) in claims.join_all().await {
        *outcomes.entry(outcome).or_default() += 1;
        plans.extend(plan);
    }
    (outcomes, plans)
}

#[tokio::test]
async fn only_one_of_100_concurrent_claims_starts() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (outcomes, _) = claim_concurrently(&Arc::new(idempotency), &clock, 100).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 99)]));
}

#[tokio::test]
async fn only_one_of_50_concurrent_takeovers_starts_and_receives_the_plan_of_the_first_attempt() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let idempotency = Arc::new(idempotency);
    let _crashed = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let (outcomes, plans) = claim_concurrently(&idempotency, &clock, 50).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 49)]));
    assert_eq!(plans, ["first"]);
}

#[tokio::test]
async fn only_one_of_50_concurrent_claims_of_an_expired_record_starts_and_keeps_its_own_plan() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let idempotency = Arc::new(idempotency);
    let _crashed = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE + DAY);
    assert_eq!(database.items("Idempotency").unwrap().len(), 1);
    let (outcomes, plans) = claim_concurrently(&idempotency, &clock, 50).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 49)]));
    assert_ne!(plans, ["first"]);
}

#[tokio::test]
async fn a_completed_operation_is_replayed_until_it_expires_even_if_the_record_still_exists() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    guard.complete(&"done \u{0} \"😀\"".into()).await.unwrap();
    clock.advance(DAY - Duration::from_secs(1));
    let again = claim(&idempotency, &clock, "second").await;
    assert!(matches!(again, ClaimOutcome::Replay(response) if response == "done \u{0} \"😀\""));
    clock.advance(Duration::from_secs(1));
    let (guard, plan) = started(claim(&idempotency, &clock, "second").await);
    assert_eq!(plan, "second");
    assert!(!guard.is_takeover());
}

#[tokio::test]
async fn a_different_body_is_a_mismatch() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let _guard = started(claim(&idempotency, &clock, "first").await);
    let other = operation("other");
    let outcome: Outcome<_> = idempotency
        .claim(&other, clock.now(), "other".into())
        .await
        .unwrap();
    assert!(
        matches!(outcome, ClaimOutcome::PayloadMismatch),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_claim_that_was_taken_over_cannot_change_the_record() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (first, _) = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let (second, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    let (third, plan) = started(claim(&idempotency, &clock, "third").await);
    assert_eq!((third.attempts(), plan.as_str()), (3, "first"));

    let before = database.items("Idempotency").unwrap();
    let errors = [
        first.complete(&"first response".into()).await.unwrap_err(),
        second.release().await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| matches!(error, Error::LeaseLost)));
    assert_eq!(database.items("Idempotency").unwrap(), before);
    third.complete(&"third response".into()).await.unwrap();
}

/// A store that sends every write twice, as the SDK does if the first response is lost.
#[derive(Debug)]
struct SentTwice(IdempotencyTable);

impl Store for SentTwice {
    async fn write(&self, record: &Record, expected: Expected) -> Result<WriteOutcome, Error> {
        self.0.write(record, expected).await?;
        self.0.write(record, expected).await
    }
}

#[tokio::test]
async fn a_write_that_is_sent_twice_takes_effect_once() {
    let database = database().await;
    let (idempotency, clock) = idempotency(SentTwice(table(&database)));
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    assert!(!guard.is_takeover());
    guard.release().await.unwrap();
    let (_crashed, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    let (guard, plan) = started(claim(&idempotency, &clock, "third").await);
    assert_eq!((guard.attempts(), plan.as_str()), (3, "first"));
    guard.complete(&"done".into()).await.unwrap();
    let again = claim(&idempotency, &clock, "fourth").await;
    assert!(matches!(again, ClaimOutcome::Replay(response) if response == "done"));
}

#[tokio::test]
async fn a_stored_record_has_the_status_and_times_of_its_claim() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    let item = &database.items("Idempotency").unwrap()[0];
    let id = item["id"]["S"].as_str().unwrap();
    assert!(id.starts_with("POST /notes#"), "{id}");
    assert_eq!(item["status"]["S"], "INPROGRESS");
    assert_eq!(item["leaseUntil"]["N"], "1700000012000", "milliseconds");
    assert_eq!(item["expiresAt"]["N"], "1700086412", "seconds");
    guard.complete(&"done".into()).await.unwrap();
    let item = &database.items("Idempotency").unwrap()[0];
    assert_eq!(item["status"]["S"], "COMPLETED");
    assert_eq!(item["expiresAt"]["N"], "1700086400");
    assert!(item.get("leaseUntil").is_none(), "{item}");
}

#[tokio::test]
async fn the_largest_accepted_response_fits_into_an_item() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let largest = "x".repeat(398 * 1024 - r#""first""#.len() - r#""""#.len());
    let (guard, _) = started(claim(&idempotency, &clock, "first").await);
    let too_large = guard.complete(&(largest.clone() + "x")).await.unwrap_err();
    assert!(matches!(too_large, Error::TooLarge(_)), "{too_large:?}");
    clock.advance(LEASE);
    let (guard, _) = started(claim(&idempotency, &clock, "second").await);
    guard.complete(&largest).await.unwrap();
    let again = claim(&idempotency, &clock, "third").await;
    assert!(matches!(again, ClaimOutcome::Replay(response) if response == largest));
}

#[tokio::test]
async fn the_error_for_a_missing_table_is_failed_and_for_an_unreachable_database_unavailable() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let (idempotency, clock) = idempotency(table(&empty));
    let operation = operation("{}");
    let claim = async || {
        let claim = idempotency.claim::<(), ()>(&operation, clock.now(), ());
        claim.await.unwrap_err()
    };
    let failed = claim().await;
    assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    drop(empty);
    let unavailable = claim().await;
    assert!(
        matches!(unavailable, Error::Unavailable(_)),
        "{unavailable:?}"
    );
}
