//! Tests that the role of each payment function has only permissions that the function needs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;
use uuid::Uuid;

use crate::access::strings;
use crate::sample;

/// Whether Lambda itself uses this permission of the function's role. The local cloud does not
/// check such permissions.
fn is_used_by_lambda(function: &str, action: &str) -> bool {
    match action.split_once(':') {
        Some(("logs" | "xray", _)) => true,
        Some(("dynamodb", _)) => function == "billing-purchase-paid", // Lambda reads the stream
        // Lambda sends to the dead-letter queue
        Some(("sqs", _)) => !function.starts_with("billing-"),
        _ => false,
    }
}

/// Returns the actions that a policy allows, each with the index of the statement that allows the
/// action.
fn grants(policy: &Value) -> Vec<(usize, String)> {
    let statements = policy["Statement"].as_array().unwrap().iter().enumerate();
    let allow = statements.filter(|(_, statement)| statement["Effect"] == "Allow");
    let grants = allow.flat_map(|(number, statement)| {
        let actions = strings(&statement["Action"]).into_iter();
        actions.map(move |action| (number, action.to_owned()))
    });
    grants.collect()
}

/// Returns a copy of the policy without one action of one statement.
fn without_grant(policy: &Value, (number, action): &(usize, String)) -> Value {
    let mut policy = policy.clone();
    let statements = policy["Statement"].as_array_mut().unwrap();
    let mut actions = strings(&statements[*number]["Action"]);
    actions.retain(|allowed| allowed != action);
    if actions.is_empty() {
        statements.remove(*number);
    } else {
        statements[*number]["Action"] = json!(actions);
    }
    policy
}

/// Delivers a signed event to the webhook.
async fn deliver(stage: &Stage, person: &Person<'_>, event: &str) -> Response {
    let secret = stage.secret("stripe-webhook-secret").await;
    let signature = local_stripe::signature(event.as_bytes(), SystemTime::now(), &[secret]);
    let request = person.unsigned(Method::POST, "/billing/webhook");
    let request = request.header("Stripe-Signature", &signature).body(event);
    request.send().await
}

/// Places an order that waits for 3-D Secure authentication, or returns the one that does so already. Returns its id.
async fn open_order(person: &Person<'_>) -> String {
    let response = person.buy(10, "pm_card_authenticationRequired").await;
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    problem["purchaseId"].as_str().unwrap().to_owned()
}

/// A purchase with the status `status` for which work is due.
fn due_purchase(person: &Person<'_>, status: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = json!({"N": now.as_millis().to_string()});
    let mut item = json!({
        "userId": {"S": person.id}, "purchaseId": {"S": Uuid::now_v7()}, "storage": {"N": "10"},
        "amount": {"N": "4000"}, "currency": {"S": "usd"},
        "description": {"S": "storage of no real purchase"}, "createdAt": now, "updatedAt": now,
        "status": {"S": status}, "unsettledShard": {"N": "0"}, "dueAt": {"N": "1"},
    });
    if status == "PENDING" {
        item["source"] = json!({"S": "tok_visa"});
    } else {
        item["paymentIntentId"] = json!({"S": "pi_none"});
        item["revision"] = json!({"N": "1"});
        item["outbox"] = json!({"L": [{"M": {"type": {"S": "paid"}}}]});
    }
    item
}

/// Returns a request for the routes of purchases that require a signature: method, path and body.
pub(crate) fn routes() -> Vec<(Method, String, Option<Value>)> {
    let order = json!({"storage": 10, "source": "tok_visa"});
    vec![
        (Method::POST, "/billing".into(), Some(order)),
        (Method::GET, "/billing".into(), None),
    ]
}

/// Invokes a payment function in a way that uses all its permissions. Returns whether the
/// invocation succeeded.
async fn works(stage: &Stage, ada: &Person<'_>, function: &str) -> bool {
    match function {
        "billing-purchase" => {
            let key = Uuid::now_v7().to_string();
            ada.buy_with_key(&key, 10, "tok_visa").await.status == 200
        }
        "billing-list" => ada.get("/billing").await.status == 200,
        "billing-resume" => {
            let id = open_order(ada).await;
            let resumed = ada.post(&format!("/billing/{id}"), &json!({})).await;
            resumed.status == 402 && resumed.text().contains("requires_action")
        }
        "billing-cancel" => {
            let id = open_order(ada).await;
            ada.delete(&format!("/billing/{id}")).await.status == 200
        }
        "billing-webhook" => {
            let stripe = stage.stripe();
            let intents = stripe.intents_of("userId", &ada.id).await;
            let mut paid = intents.iter();
            let paid = paid.find(|intent| intent["status"] == "succeeded").unwrap();
            let mut works = true;
            for (kind, is_live) in [
                ("payment_intent.succeeded", false),
                // The purchase is read before it is compared with a failed payment.
                ("payment_intent.payment_failed", false),
                // The secret key is one of test mode, so this event goes to the queue.
                ("payment_intent.succeeded", true),
            ] {
                let event = json!({
                    "id": "evt_1", "object": "event", "type": kind, "created": 1_700_000_000,
                    "livemode": is_live, "data": {"object": paid},
                });
                works &= deliver(stage, ada, &event.to_string()).await.status == 200;
            }
            works
        }
        "billing-purchase-paid" => {
            let mut event = sample("billing-purchase-paid");
            let mut unreadable = event["Records"][0].clone();
            unreadable["dynamodb"]["NewImage"] = json!({"userId": {"S": "us-east-1:x"}});
            let image = &mut event["Records"][0]["dynamodb"]["NewImage"];
            image["purchaseId"] = json!({"S": Uuid::now_v7()});
            image["description"] = json!({"S": "storage of no real purchase"});
            event["Records"].as_array_mut().unwrap().push(unreadable);
            let response = stage.invoke("billing-purchase-paid", &event).await;
            response.is_ok_and(|response| response["batchItemFailures"] == json!([]))
        }
        "billing-reconcile" => {
            // One order never reached Stripe, and one paid purchase was not announced.
            stage.put_purchase(&due_purchase(ada, "PENDING")).await;
            stage.put_purchase(&due_purchase(ada, "PAID")).await;
            let event = sample("billing-reconcile");
            let summary = stage.invoke("billing-reconcile", &event).await;
            summary.is_ok_and(|summary| summary["errors"] == 0)
        }
        "notes-credit" => {
            let mut event = sample("notes-credit");
            let message = &mut event["Records"][0]["Sns"]["Message"];
            let mut purchase: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
            purchase["purchaseId"] = json!(Uuid::now_v7());
            *message = purchase.to_string().into();
            stage.invoke("notes-credit", &event).await.is_ok()
        }
        // part: notify {
        "notify-send" => {
            let message = json!({
                "purchaseId": Uuid::now_v7(), "userId": ada.id, "amount": unique_storage(),
                "currency": "usd", "description": "storage of no real purchase",
                "granted": 0, "revision": 1, "notices": [{"type": "paid"}],
            });
            let mut event = sample("notify-send");
            event["Records"][0]["Sns"]["Message"] = json!(message.to_string());
            stage.invoke("notify-send", &event).await.is_ok()
        }
        // part: notify }
        other => panic!("{other} is not a payment function"),
    }
}

#[tokio::test]
async fn every_permission_of_the_payment_functions_is_needed() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    // Two orders: the second one replaces the first as the last order of the buyer.
    for _ in 0..2 {
        ada.buy(10, "tok_visa").await.json(200);
    }
    let mut unneeded = Vec::new();
    for function in [
        "billing-purchase",
        "billing-list",
        "billing-resume",
        "billing-cancel",
        "billing-webhook",
        "billing-purchase-paid",
        "billing-reconcile",
        "notes-credit",
        "notify-send", // part: notify
    ] {
        let role = stage.role_of(function).await;
        let role = role.rsplit('/').next().unwrap();
        let [name] = stage.inline_policies(role).await.try_into().unwrap();
        let whole = stage.inline_policy(role, &name).await;
        let grants = grants(&whole);
        assert!(works(&stage, &ada, function).await, "{function}");
        for grant in grants
            .iter()
            .filter(|(_, action)| !is_used_by_lambda(function, action))
        {
            stage
                .put_inline_policy(role, &name, &without_grant(&whole, grant))
                .await;
            // Some permissions are used only at a cold start.
            stage.restart(function).await;
            let succeeded = works(&stage, &ada, function).await;
            stage.put_inline_policy(role, &name, &whole).await;
            stage.restart(function).await;
            if succeeded {
                unneeded.push((function, grant.clone()));
            }
            let again = works(&stage, &ada, function).await;
            assert!(again, "{function} with {grant:?} again");
        }
    }
    assert!(unneeded.is_empty(), "{unneeded:?}");
}

#[tokio::test]
async fn an_order_without_a_needed_permission_returns_500_without_internal_details() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let storage = unique_storage();
    for action in ["dynamodb:PutItem", "dynamodb:UpdateItem"] {
        let order = async || ada.buy_with_key(action, storage, "tok_visa").await;
        let refused =
            crate::access::without_permission(&stage, ("billing-purchase", action), &order).await;
        let problem = refused.problem(500).to_string();
        for inside in [
            "dynamodb",
            "DynamoDB",
            "stripe",
            "AccessDenied",
            "arn:",
            "role",
            "pi_",
        ] {
            assert!(
                !problem.contains(inside),
                "billing-purchase without {action}: {problem}"
            );
        }
        // With the permission, the same order creates one purchase.
        order().await.json(200);
    }
    assert_eq!(ada.purchases().await.len(), 2);
    for intent in stage.stripe().intents_of("userId", &ada.id).await {
        assert_eq!(stage.stripe().charged_amounts(&intent).await.len(), 1);
    }
}
