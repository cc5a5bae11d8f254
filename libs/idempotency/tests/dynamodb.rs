//! The table Idempotency behind a real DynamoDB API: what claims promise, whoever races.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::HashMap, ffi::OsString, sync::Arc, time::Duration};

use idempotency::{
    ClaimGuard, ClaimOutcome, Error, Idempotency, IdempotencyKey, IdempotencyTable, Operation,
    Scope,
    memory::Clock,
    store::{Expected, Record, Store, Written},
};
use local_dynamodb::Dynamodb;
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
    let vars = |variable| {
        let value = match variable {
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            "AWS_ENDPOINT_URL" => &database.url(),
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let aws = aws::Stack::from_vars(vars).unwrap();
    IdempotencyTable::new(dynamodb::Dynamodb::new(&aws).table("Idempotency".parse().unwrap()))
}

fn idempotency<S: Store>(store: S) -> (Idempotency<S>, Clock) {
    let clock = Clock::default();
    let shown = clock.clone();
    let idempotency = Idempotency::new(store).with_clock(move || shown.now());
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
        ClaimOutcome::Start { held, plan } => (held, plan),
        other => panic!("{other:?}"),
    }
}

/// Claims that many times at once, and counts the outcomes and the plans of those that started.
async fn at_once(
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
                ClaimOutcome::Mismatch => ("mismatch", None),
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
async fn of_a_hundred_claims_at_once_one_starts() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (outcomes, _) = at_once(&Arc::new(idempotency), &clock, 100).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 99)]));
}

#[tokio::test]
async fn of_fifty_takeovers_at_once_one_starts_with_the_first_plan() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let idempotency = Arc::new(idempotency);
    let _crashed = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let (outcomes, plans) = at_once(&idempotency, &clock, 50).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 49)]));
    assert_eq!(plans, ["first"]);
}

#[tokio::test]
async fn of_fifty_claims_at_once_of_what_is_forgotten_one_starts_anew() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let idempotency = Arc::new(idempotency);
    let _crashed = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE + DAY);
    assert_eq!(database.items("Idempotency").unwrap().len(), 1);
    let (outcomes, plans) = at_once(&idempotency, &clock, 50).await;
    assert_eq!(outcomes, HashMap::from([("start", 1), ("in progress", 49)]));
    assert_ne!(plans, ["first"]);
}

#[tokio::test]
async fn what_is_done_is_replayed_until_it_is_forgotten_though_the_record_is_still_there() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (held, _) = started(claim(&idempotency, &clock, "first").await);
    held.complete(&"done \u{0} \"😀\"".into()).await.unwrap();
    clock.advance(DAY - Duration::from_secs(1));
    let again = claim(&idempotency, &clock, "second").await;
    assert!(matches!(again, ClaimOutcome::Replay(answer) if answer == "done \u{0} \"😀\""));
    clock.advance(Duration::from_secs(1));
    let (held, plan) = started(claim(&idempotency, &clock, "second").await);
    assert_eq!(plan, "second");
    assert!(!held.is_takeover());
}

#[tokio::test]
async fn another_body_is_refused() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let _held = started(claim(&idempotency, &clock, "first").await);
    let other = operation("other");
    let outcome: Outcome<_> = idempotency
        .claim(&other, clock.now(), "other".into())
        .await
        .unwrap();
    assert!(matches!(outcome, ClaimOutcome::Mismatch), "{outcome:?}");
}

#[tokio::test]
async fn who_was_taken_over_changes_nothing_any_more() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (first, _) = started(claim(&idempotency, &clock, "first").await);
    clock.advance(LEASE);
    let (second, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    let (third, plan) = started(claim(&idempotency, &clock, "third").await);
    assert_eq!((third.attempts(), plan.as_str()), (3, "first"));

    let before = database.items("Idempotency").unwrap();
    let lost = [
        first.complete(&"of the first".into()).await.unwrap_err(),
        second.release().await.unwrap_err(),
    ];
    assert!(lost.iter().all(|lost| matches!(lost, Error::Lost)));
    assert_eq!(database.items("Idempotency").unwrap(), before);
    third.complete(&"of the third".into()).await.unwrap();
}

/// Sends every write twice, as the SDK does when the first answer is lost.
#[derive(Debug)]
struct SentTwice(IdempotencyTable);

impl Store for SentTwice {
    async fn write(&self, record: &Record, expected: Expected) -> Result<Written, Error> {
        self.0.write(record, expected).await?;
        self.0.write(record, expected).await
    }
}

#[tokio::test]
async fn a_write_sent_twice_is_one_write() {
    let database = database().await;
    let (idempotency, clock) = idempotency(SentTwice(table(&database)));
    let (held, _) = started(claim(&idempotency, &clock, "first").await);
    assert!(!held.is_takeover());
    held.release().await.unwrap();
    let (_crashed, _) = started(claim(&idempotency, &clock, "second").await);
    clock.advance(LEASE);
    let (held, plan) = started(claim(&idempotency, &clock, "third").await);
    assert_eq!((held.attempts(), plan.as_str()), (3, "first"));
    held.complete(&"done".into()).await.unwrap();
    let again = claim(&idempotency, &clock, "fourth").await;
    assert!(matches!(again, ClaimOutcome::Replay(answer) if answer == "done"));
}

#[tokio::test]
async fn a_record_is_as_the_table_declares_it() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let (held, _) = started(claim(&idempotency, &clock, "first").await);
    let item = &database.items("Idempotency").unwrap()[0];
    let id = item["id"]["S"].as_str().unwrap();
    assert!(id.starts_with("POST /notes#"), "{id}");
    assert_eq!(item["status"]["S"], "INPROGRESS");
    assert_eq!(item["leaseUntil"]["N"], "1700000012000", "milliseconds");
    assert_eq!(item["expiresAt"]["N"], "1700086412", "seconds");
    held.complete(&"done".into()).await.unwrap();
    let item = &database.items("Idempotency").unwrap()[0];
    assert_eq!(item["status"]["S"], "COMPLETED");
    assert_eq!(item["expiresAt"]["N"], "1700086400");
    assert!(item.get("leaseUntil").is_none(), "{item}");
}

#[tokio::test]
async fn the_largest_answer_that_is_let_through_fits_into_an_item() {
    let database = database().await;
    let (idempotency, clock) = idempotency(table(&database));
    let largest = "x".repeat(398 * 1024 - r#""first""#.len() - r#""""#.len());
    let (held, _) = started(claim(&idempotency, &clock, "first").await);
    let too_large = held.complete(&(largest.clone() + "x")).await.unwrap_err();
    assert!(matches!(too_large, Error::TooLarge(_)), "{too_large:?}");
    clock.advance(LEASE);
    let (held, _) = started(claim(&idempotency, &clock, "second").await);
    held.complete(&largest).await.unwrap();
    let again = claim(&idempotency, &clock, "third").await;
    assert!(matches!(again, ClaimOutcome::Replay(answer) if answer == largest));
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_failure_and_a_database_that_is_gone_is_busy() {
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
    let busy = claim().await;
    assert!(matches!(busy, Error::Unavailable(_)), "{busy:?}");
}
