//! The work that is done later: reconcile, deliveries of events, and the answers of cardholders.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::functions;
use test_support::stage::Stage;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::Owner;
use crate::ledger;

/// The pause between two runs of reconcile. The five minutes of its schedule would be too long for a short run.
const RECONCILE: Duration = Duration::from_secs(20);

/// After this time, the creation times of the purchases that are still PENDING are set to [`OLD`]. Stripe stores its response
/// to an idempotency key. If it stored an error, reconcile cannot settle the purchase before it abandons it.
const YOUNG: Duration = Duration::from_secs(30);

/// The age at which reconcile abandons each purchase without a payment, in milliseconds: two hours.
const OLD: u64 = 2 * 60 * 60 * 1_000;

/// Invokes billing-reconcile, as its schedule does.
async fn reconcile(stage: &Stage) {
    let functions = functions::all();
    let reconcile = functions
        .iter()
        .find(|function| function.name == "billing-reconcile");
    if let Some(reconcile) = reconcile {
        // A failure is in the log, and the next run continues.
        let _ = stage.invoke(&reconcile.name, &reconcile.event()).await;
    }
}

/// Invokes reconcile until the task is aborted.
pub(crate) fn reconcile_regularly(stage: &'static Stage) -> JoinHandle<()> {
    spawn_local(async move {
        loop {
            sleep(RECONCILE).await;
            // The call fails while the local cloud is killed.
            let _ = spawn_local(reconcile(stage)).await;
        }
    })
}

/// Does the work that would be done later: cardholders refuse the payments that are still open, Stripe delivers each event
/// that the webhook did not accept, and reconcile handles each unsettled purchase. `elapsed` is the time since the end of the
/// load.
pub(crate) async fn do_work(stage: &'static Stage, owner: &Owner, elapsed: Duration) {
    let age = (elapsed > YOUNG).then_some(OLD);
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
