//! Every grant of the functions of the money path is needed: without it they fail, with it they work.

use e2e::stage::{Person, Stage};
use e2e::stripe::own_storage;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::texts;
use crate::sample;

/// What Lambda does in a function's name, and the local cloud without asking what its role may.
fn is_lambdas(function: &str, action: &str) -> bool {
    match action.split_once(':') {
        Some(("logs" | "xray", _)) => true,
        Some(("dynamodb", _)) => function == "billing-purchase-paid", // to read the stream
        Some(("sqs", _)) => function == "notify-send",                // to put failures aside
        _ => false,
    }
}

/// The grants of a policy: of which statement, and which action.
fn grants(policy: &Value) -> Vec<(usize, String)> {
    let statements = policy["Statement"].as_array().unwrap().iter().enumerate();
    let allowed = statements.filter(|(_, statement)| statement["Effect"] == "Allow");
    let grants = allowed.flat_map(|(number, statement)| {
        let actions = texts(&statement["Action"]).into_iter();
        actions.map(move |action| (number, action.to_owned()))
    });
    grants.collect()
}

fn without(policy: &Value, (number, action): &(usize, String)) -> Value {
    let mut policy = policy.clone();
    let statements = policy["Statement"].as_array_mut().unwrap();
    let mut actions = texts(&statements[*number]["Action"]);
    actions.retain(|allowed| allowed != action);
    if actions.is_empty() {
        statements.remove(*number);
    } else {
        statements[*number]["Action"] = json!(actions);
    }
    policy
}

/// Has a function do all that it can, and returns whether it could.
async fn works(stage: &Stage, ada: &Person<'_>, function: &str) -> bool {
    match function {
        "billing-purchase" => {
            let key = Uuid::now_v7().to_string();
            ada.buy_under(&key, 10, "tok_visa").await.status == 200
        }
        "billing-list" => ada.get("/billing").await.status == 200,
        "billing-webhook" => {
            let stripe = stage.stripe();
            let intents = stripe.intents_of("userId", &ada.id).await;
            let paid = intents
                .iter()
                .find(|intent| intent["status"] == "succeeded");
            let events = stripe.events_of(paid.unwrap()).await;
            stripe.redeliver(events.last().unwrap()).await == 200
        }
        "billing-purchase-paid" => {
            let mut event = sample("billing-purchase-paid");
            let mut unreadable = event["Records"][0].clone();
            unreadable["dynamodb"]["NewImage"] = json!({"userId": {"S": "us-east-1:x"}});
            let image = &mut event["Records"][0]["dynamodb"]["NewImage"];
            image["purchaseId"] = json!({"S": Uuid::now_v7()});
            image["description"] = json!({"S": "storage that nobody counts"});
            event["Records"].as_array_mut().unwrap().push(unreadable);
            stage.invoke("billing-purchase-paid", &event).await.is_ok()
        }
        "billing-reconcile" => {
            let waiting = ada.purchases().await;
            let waiting = waiting
                .iter()
                .find(|purchase| purchase["status"] == "PENDING");
            let id = waiting.unwrap()["purchaseId"].as_str().unwrap().to_owned();
            stage.set_moment(&ada.id, &id, "dueAt", 1).await;
            let event = sample("billing-reconcile");
            stage.invoke("billing-reconcile", &event).await.is_ok()
        }
        "notify-send" => {
            let news = json!({
                "purchaseId": Uuid::now_v7(), "userId": ada.id, "amount": own_storage(),
                "description": "storage that nobody counts",
            });
            let mut event = sample("notify-send");
            event["Records"][0]["Sns"]["Message"] = json!(news.to_string());
            stage.invoke("notify-send", &event).await.is_ok()
        }
        other => panic!("{other} is not of the money path"),
    }
}

#[tokio::test]
async fn a_function_of_the_money_path_needs_every_grant_that_it_has() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    // One that is PAID, and one that waits.
    ada.buy(10, "tok_visa").await.json(200);
    ada.buy(10, "pm_card_authenticationRequired")
        .await
        .problem(402);
    let mut needless = Vec::new();
    for function in [
        "billing-purchase",
        "billing-list",
        "billing-webhook",
        "billing-purchase-paid",
        "billing-reconcile",
        "notify-send",
    ] {
        let role = stage.role_of(function).await;
        let role = role.rsplit('/').next().unwrap();
        let [name] = stage.policies_of(role).await.try_into().unwrap();
        let whole = stage.policy(role, &name).await;
        let grants = grants(&whole);
        assert!(works(&stage, &ada, function).await, "{function}");
        for grant in grants
            .iter()
            .filter(|(_, action)| !is_lambdas(function, action))
        {
            stage.put_policy(role, &name, &without(&whole, grant)).await;
            // Some of it is needed at init alone.
            stage.restart(function).await;
            let worked = works(&stage, &ada, function).await;
            stage.put_policy(role, &name, &whole).await;
            stage.restart(function).await;
            if worked {
                needless.push((function, grant.clone()));
            }
            let again = works(&stage, &ada, function).await;
            assert!(again, "{function} with {grant:?} again");
        }
    }
    assert!(needless.is_empty(), "{needless:?}");
}

#[tokio::test]
async fn an_order_that_a_function_has_no_leave_for_says_nothing_of_the_inside() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let storage = own_storage();
    for action in ["dynamodb:PutItem", "dynamodb:UpdateItem"] {
        let order = async || ada.buy_under(action, storage, "tok_visa").await;
        let refused = crate::access::without(&stage, ("billing-purchase", action), &order).await;
        let said = refused.problem(500).to_string();
        for inside in [
            "dynamodb",
            "DynamoDB",
            "stripe",
            "AccessDenied",
            "arn:",
            "role",
            "pi_",
        ] {
            assert!(!said.contains(inside), "purchase without {action}: {said}");
        }
        // The same order, once it can be carried out, is one purchase.
        order().await.json(200);
    }
    assert_eq!(ada.purchases().await.len(), 2);
    for intent in stage.stripe().intents_of("userId", &ada.id).await {
        assert_eq!(stage.stripe().charged(&intent).await.len(), 1);
    }
}
