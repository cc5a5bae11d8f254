//! Waits until a stage has no work left, so that its data can be compared with the ledger.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use test_support::functions;
use test_support::stage::Stage;
use tokio::process::Command;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::compare::Interruption; // part: notify
use crate::compare::{Comparison, compare};
use crate::ledger;
use crate::owner::{Owner, XTASK};
use crate::stored::{self, WITH_DEAD_LETTERS};

/// How long a stage may need until everything that was acknowledged is stored, settled and announced.
const LIMIT: Duration = Duration::from_secs(420);

/// How long a stage must stay without a difference: longer than the pauses between Lambda's retries.
const STABLE: Duration = Duration::from_secs(20);

/// After this time, the creation times of the purchases that are still PENDING are set to [`OLD`]. Stripe stores its response
/// to an idempotency key. If it stored an error, reconcile cannot settle the purchase before it abandons it.
const YOUNG: Duration = Duration::from_secs(30);

/// The age at which reconcile abandons each purchase without a payment, in milliseconds: two hours.
const OLD: u64 = 2 * 60 * 60 * 1_000;

const PAUSE: Duration = Duration::from_secs(3);

/// Invokes billing-reconcile, as its schedule does.
pub(crate) async fn reconcile(stage: &Stage) {
    let functions = functions::all();
    let reconcile = functions
        .iter()
        .find(|function| function.name == "billing-reconcile");
    if let Some(reconcile) = reconcile {
        // A failure is in the log, and the next run continues.
        let _ = stage.invoke(&reconcile.name, &reconcile.event()).await;
    }
}

/// Makes the stage do the work that is left, and compares its data with the ledger, until there is no difference for
/// [`STABLE`] or [`LIMIT`] is over. Returns the last comparison.
pub(crate) async fn settle_and_compare(
    stage: &'static Stage,
    owner: &Owner,
    ledger: &Path,
    users: &BTreeSet<String>,
    interruptions: &[Interruption], // part: notify
) -> Result<Comparison> {
    let entries = ledger::read(ledger)?;
    let started = Instant::now();
    let (mut last, mut equal_since) = (None, None);
    loop {
        let (work, reader) = (owner.clone(), owner.clone());
        let users = users.clone();
        let age = (started.elapsed() > YOUNG).then_some(OLD);
        // A helper of the tests panics if it fails. In a task of its own, that is an error of the task.
        let round = spawn_local(async move {
            do_work(stage, &work, age).await;
            stored::read(stage, &reader, &users).await
        });
        if let Ok(stored) = round.await {
            let comparison = compare(
                &entries,
                &stored,
                interruptions, // part: notify
            );
            let is_equal = comparison.differences.is_empty();
            equal_since = is_equal.then(|| equal_since.unwrap_or_else(Instant::now));
            last = Some(comparison);
        }
        let is_stable = equal_since.is_some_and(|since| since.elapsed() >= STABLE);
        if is_stable || started.elapsed() > LIMIT {
            return last.context("the stage does not respond after the load");
        }
        sleep(PAUSE).await;
    }
}

/// Does the work that would be done later: cardholders refuse the payments that are still open, Stripe delivers each event
/// that the webhook did not accept, reconcile handles each unsettled purchase, and the owner processes dead letters.
///
/// If `age` is given, the purchases that are still PENDING become that old, in milliseconds.
async fn do_work(stage: &'static Stage, owner: &Owner, age: Option<u64>) {
    for intent in owner.list("payment_intents").await {
        if let (Some(id), Some("requires_action")) =
            (intent["id"].as_str(), intent["status"].as_str())
        {
            owner.authenticate(id, "fails").await;
        }
    }
    deliver_events(owner).await;
    for item in stage.items(&stage.purchases_table).await {
        if item.get("unsettledShard").is_some() {
            make_due(stage, item, age).await;
        }
    }
    reconcile(stage).await;
    for function in WITH_DEAD_LETTERS {
        if !stage.dead_letters_of(function).await.is_empty() {
            redrive(function).await;
        }
    }
}

/// Delivers each event that the webhook has not accepted yet, as Stripe does for up to three days.
async fn deliver_events(owner: &Owner) {
    let deliveries = owner.list("deliveries").await;
    let accepted = deliveries.iter().filter(|delivery| {
        let status = delivery["status"].as_u64();
        status.is_some_and(|status| (200..300).contains(&status))
    });
    let accepted: BTreeSet<_> = accepted
        .filter_map(|delivery| delivery["event"].as_str())
        .collect();
    for event in owner.list("events").await {
        if let Some(id) = event["id"].as_str().filter(|id| !accepted.contains(id)) {
            let path = format!("events/{id}/redeliver");
            owner.control(Method::POST, &path, &Value::Null).await;
        }
    }
}

/// Makes an unsettled purchase due for reconcile now. If `age` is given and it is PENDING, it becomes that old.
async fn make_due(stage: &'static Stage, item: Value, age: Option<u64>) {
    let update = async move {
        let created = match age.filter(|_| item["status"]["S"] == "PENDING") {
            Some(age) => json!({"N": ledger::now().saturating_sub(age).to_string()}),
            None => item["createdAt"].clone(),
        };
        let input = json!({
            "TableName": stage.purchases_table,
            "Key": {"userId": item["userId"], "purchaseId": item["purchaseId"]},
            "UpdateExpression": "SET dueAt = :past, createdAt = :created",
            "ConditionExpression": "attribute_exists(unsettledShard)",
            "ExpressionAttributeValues": {":past": {"N": "1"}, ":created": created},
        });
        stage
            .call_as_owner("dynamodb", "DynamoDB_20120810.UpdateItem", &input)
            .await
    };
    // The update fails if the purchase was settled meanwhile.
    let _ = spawn_local(update).await;
}

/// Processes the dead letters of a function with `cargo xtask redrive`.
async fn redrive(function: &str) {
    if let Some(xtask) = std::env::var_os(XTASK) {
        let mut redrive = Command::new(xtask);
        redrive.args(["redrive", function, "--stage", "local"]);
        // The comparison shows messages that are left.
        let _ = redrive.kill_on_drop(true).output().await;
    }
}
