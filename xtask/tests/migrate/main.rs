//! Tests of `cargo xtask migrate` and `cargo xtask restore`: the real process with a local DynamoDB. The process is killed at
//! random moments; during a migration, users create and delete notes.

// Clippy does not treat helpers outside test functions as test code.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod aws;
mod purchases; // part: billing
mod random;
mod restore;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Output, Stdio},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use aws::{Aws, Kill};
use local_dynamodb::Dynamodb;
use random::Random;
use rustix::process::Pid;
use serde_json::{Value, json};
use tokio::process::Command;
use users::Client;

/// How often a migration is killed.
const KILLS: usize = 20;

/// How many clients create and delete notes during the migration.
const WRITERS: usize = 4;

/// The number of notes that exist before the migration: 10,000, or the value of the environment variable
/// `MIGRATED_NOTES`.
fn notes() -> usize {
    let notes = std::env::var("MIGRATED_NOTES").ok();
    notes.map_or(10_000, |notes| notes.parse().unwrap())
}

/// Returns the command `cargo xtask ARGUMENTS --stage dev`, whose AWS is the endpoint `aws`.
fn xtask(aws: &Aws, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(arguments)
        .args(["--stage", "dev"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .env("AWS_ENDPOINT_URL", &aws.url)
        .env("AWS_ACCESS_KEY_ID", aws::ACCOUNT)
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// Runs a command until it ends.
async fn run(aws: &Aws, arguments: &[&str]) -> Output {
    xtask(aws, arguments).output().await.unwrap()
}

/// Asserts that a command succeeded. Returns what it printed to standard error.
#[track_caller]
fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    error
}

/// Runs a command, and kills it when it sends one of its first `requests` requests to AWS. Returns whether it was
/// killed before it ended.
async fn run_and_kill(aws: &Aws, arguments: &[&str], random: &mut Random, requests: usize) -> bool {
    let child = xtask(aws, arguments).spawn().unwrap();
    let process = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    aws.set_kill(Some(Kill {
        process,
        after_requests: 1 + random.below(requests),
        takes_effect: random.below(2) == 0,
    }));
    let output = child.wait_with_output().await.unwrap();
    aws.set_kill(None);
    let was_killed = output.status.code().is_none();
    if !was_killed {
        succeeded(&output);
    }
    was_killed
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap()
}

fn number(item: &Value, name: &str) -> i64 {
    item[name]["N"]
        .as_str()
        .map_or(0, |number| number.parse().unwrap())
}

/// Returns the item `total` of each user.
fn totals(dynamodb: &Dynamodb) -> BTreeMap<String, Value> {
    let items = dynamodb.items("Storage").unwrap().into_iter();
    items
        .filter(|item| text(item, "entry") == "total")
        .map(|item| (text(&item, "userId").to_owned(), item))
        .collect()
}

/// Checks that each note is counted, and that each user's count is the number of their notes. Returns the number of all
/// notes.
fn check_counts(dynamodb: &Dynamodb) -> usize {
    let notes = dynamodb.items("Notes").unwrap();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for note in &notes {
        assert_eq!(note["counted"], json!({"BOOL": true}), "{note}");
        *counts.entry(text(note, "userId").to_owned()).or_default() += 1;
    }
    let totals = totals(dynamodb);
    for (user, total) in &totals {
        let count = counts.remove(user).unwrap_or_default();
        assert_eq!(number(total, "used"), count, "{user}");
        assert_eq!(number(total, "balance"), count, "{user}");
    }
    assert!(counts.is_empty(), "users without a count: {counts:?}");
    notes.len()
}

#[tokio::test]
async fn notes_are_counted_exactly_although_the_migration_is_killed_and_users_write() {
    let mut random = Random::from_env();
    let dynamodb = Dynamodb::start(&[("Notes", "noteId"), ("Storage", "entry")])
        .await
        .unwrap();
    let notes = notes();
    let old = (0..notes).map(|number| users::old_note(number, &mut random));
    dynamodb.put_all("Notes", old.collect::<Vec<_>>()).unwrap();
    let aws = Aws::start(dynamodb.url(), &["Notes", "Storage"]).await;
    aws.fail_transactions(25);

    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut client = Client::new(&dynamodb.url(), random.split(), notes);
            let ended = ended.clone();
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    client.write().await;
                }
                client
            })
        })
        .collect();

    let started = Instant::now();
    let arguments = ["migrate", "count-notes", "--rate", "100000"];
    // A run sends about 10 requests before it reads notes, and then at least one transaction for each user of a page. So
    // the migration is not done before the last kill.
    let requests = 10 + notes / 1000;
    for kill in 0..KILLS {
        let was_killed = run_and_kill(&aws, &arguments, &mut random, requests).await;
        assert!(was_killed, "the migration was done after {kill} kills");
    }
    let output = run(&aws, &arguments).await;
    let said = succeeded(&output);
    let duration = started.elapsed();
    ended.store(true, Ordering::Relaxed);
    let (mut created, mut deleted) = (0, BTreeSet::new());
    for writer in writers {
        let client = writer.await.unwrap();
        created += client.created.len();
        deleted.extend(client.deleted);
    }
    assert!(created > 0 && !deleted.is_empty());
    let left = check_counts(&dynamodb);
    println!(
        "{notes} notes, {KILLS} kills, {created} created and {} deleted meanwhile, {left} left, {} transactions, {:.1} s\n{said}",
        deleted.len(),
        aws.calls("TransactWriteItems"),
        duration.as_secs_f32(),
    );

    for note in dynamodb.items("Notes").unwrap() {
        let key = (
            text(&note, "userId").to_owned(),
            text(&note, "noteId").to_owned(),
        );
        assert!(!deleted.contains(&key), "a deleted note exists: {note}");
    }
    assert_eq!(left, notes + created - deleted.len());

    let transactions = aws.calls("TransactWriteItems");
    let said = succeeded(&run(&aws, &arguments).await);
    assert!(said.contains("was done"), "{said}");
    assert_eq!(aws.calls("TransactWriteItems"), transactions);
    let again = ["migrate", "count-notes", "--again"];
    let said = succeeded(&run(&aws, &again).await);
    assert!(said.contains("0 items changed"), "{said}");
    assert!(aws.object("dev/lock.json").is_none());
}
