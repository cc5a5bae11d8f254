//! Two that deploy the same stage.

use std::time::{Duration, UNIX_EPOCH};

use e2e::stage::until;
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::Account;
use crate::checkout::{Checkout, Running};

const LOCK: &str = "releases/pr-4/lock.json";

/// A lock that somebody took on another machine, and that holds for a time from now.
fn elsewhere(from_now: i64) -> Value {
    let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    json!({
        "id": Uuid::now_v7(), "who": "carol", "what": "a deploy", "host": "elsewhere", "machine": "elsewhere 1",
        "process": 1, "since": now - 90_000, "until": now + from_now,
    })
}

#[tokio::test]
async fn of_two_that_deploy_a_stage_at_once_one_does_and_the_other_is_told_who() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage pr-4 --yes").await;
    let first = Running::start(checkout, "deploy --stage pr-4");
    // It stands still as soon as it has the lock, so the two are sure to meet.
    let locked = async || account.object(LOCK).await;
    let holder = e2e::stage::within(Duration::from_secs(60), "the lock", locked).await;
    first.signal(Signal::STOP);
    let said = checkout.run("deploy --stage pr-4").await.refused();
    assert!(said.contains("pr-4 is locked: tester on"), "{said}");
    assert!(said.contains(holder["host"].as_str().unwrap()), "{said}");
    assert!(said.contains("began a deploy"), "{said}");
    let said = checkout.run("remove --stage pr-4 --yes").await.refused();
    assert!(said.contains("pr-4 is locked: tester on"), "{said}");
    first.signal(Signal::CONT);
    first.end().await.did();
    assert_eq!(account.releases("pr-4").await.len(), 1);
    let gone = async || account.object(LOCK).await.is_none().then_some(());
    until("the end of the lock", gone).await;
}

#[tokio::test]
async fn a_lock_of_another_machine_is_kept_until_its_time_is_over_and_then_taken_over() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage pr-4 --yes").await;
    let history = account.history().await;
    account.put_object(LOCK, &elsewhere(40_000)).await;
    let said = checkout.run("deploy --stage pr-4").await.refused();
    assert!(
        said.contains("pr-4 is locked: carol on elsewhere began a deploy"),
        "{said}"
    );
    assert_eq!(account.history().await, history);

    account.put_object(LOCK, &elsewhere(-1)).await;
    checkout.run("deploy --stage pr-4").await.did();
    assert_eq!(account.object(LOCK).await, None);
    assert_eq!(account.releases("pr-4").await[0]["outcome"], "done");
}
