//! Tests of the lock of a stage: concurrent commands on one stage, and locks that other machines
//! hold.

use std::time::{Duration, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use test_support::stage::wait_for;
use uuid::Uuid;

use crate::account::Account;
use crate::checkout::{Checkout, Running};

const LOCK: &str = "feature-4/lock.json";

/// Returns the record of a lock that a user on another machine holds. The lock expires in
/// `expires_in` milliseconds.
fn lock_elsewhere(expires_in: i64) -> Value {
    let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    json!({
        "id": Uuid::now_v7(), "who": "carol", "what": "a deploy", "host": "elsewhere", "machine": "elsewhere 1",
        "process": 1, "since": now - 90_000, "until": now + expires_in,
    })
}

#[tokio::test]
async fn a_concurrent_deploy_fails_with_an_error_that_names_the_lock_holder() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage feature-4 --yes").await;
    let first = Running::start(checkout, "deploy --stage feature-4");
    // Pause the first deploy as soon as it holds the lock, so that the second one starts while the lock is held.
    let lock = async || account.object(LOCK).await;
    let holder =
        test_support::stage::wait_for_up_to(Duration::from_secs(60), "the lock", lock).await;
    first.signal(Signal::STOP);
    let output = checkout.run("deploy --stage feature-4").await.failure();
    assert!(
        output.contains("feature-4 is locked: tester on"),
        "{output}"
    );
    assert!(
        output.contains(holder["host"].as_str().unwrap()),
        "{output}"
    );
    assert!(output.contains("began a deploy"), "{output}");
    let output = checkout
        .run("remove --stage feature-4 --yes")
        .await
        .failure();
    assert!(
        output.contains("feature-4 is locked: tester on"),
        "{output}"
    );
    first.signal(Signal::CONT);
    first.wait().await.success();
    assert_eq!(account.releases("feature-4").await.len(), 1);
    let released = async || account.object(LOCK).await.is_none().then_some(());
    wait_for("the release of the lock", released).await;
}

#[tokio::test]
async fn a_lock_of_another_machine_is_taken_over_only_after_the_lock_expires() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage feature-4 --yes").await;
    let history = account.history().await;
    account.put_object(LOCK, &lock_elsewhere(40_000)).await;
    let output = checkout.run("deploy --stage feature-4").await.failure();
    assert!(
        output.contains("feature-4 is locked: carol on elsewhere began a deploy"),
        "{output}"
    );
    assert_eq!(account.history().await, history);

    account.put_object(LOCK, &lock_elsewhere(-1)).await;
    checkout.run("deploy --stage feature-4").await.success();
    assert_eq!(account.object(LOCK).await, None);
    assert_eq!(account.releases("feature-4").await[0]["outcome"], "done");
}
