//! From a purchase that is PAID to the owner's phone.

use std::time::Duration;

use e2e::stage::{Person, Stage, within};
use e2e::stripe::{own_storage, text_of};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::billing::paid;
use crate::sample;

/// The event that hands notify this message.
fn event(message: &str) -> Value {
    let mut event = sample("notify-send");
    event["Records"][0]["Sns"]["Message"] = json!(message);
    event
}

/// What the topic has of a purchase.
fn news(storage: u32) -> Value {
    json!({
        "purchaseId": Uuid::now_v7(), "userId": "us-east-1:notify", "amount": storage * 100,
        "description": format!("storage for {storage} notes"),
    })
}

/// Lambda runs a function that failed on an event again, and once more, before it puts it aside.
const RETRIES: Duration = Duration::from_secs(40);

/// Waits until so many failures of a function are put aside that tell of this.
async fn put_aside(stage: &Stage, function: &str, what: &str, number: usize) {
    within(RETRIES, "what was put aside", async || {
        let failures = stage.dead_letters_of(function).await;
        let ours = failures.iter().filter(|failure| failure.contains(what));
        (ours.count() == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_that_comes_twenty_times_at_once_is_one_sms() {
    let stage = Stage::alone().await;
    let storage = own_storage();
    let event = event(&news(storage).to_string());
    let mut deliveries = JoinSet::new();
    for _ in 0..20 {
        let event = event.clone();
        let stage = stage.for_task();
        deliveries.spawn(async move { stage.invoke("notify-send", &event).await });
    }
    let done = deliveries.join_all().await;
    // Others may find it being worked on, and come again.
    assert!(done.iter().any(Result::is_ok), "{done:?}");
    assert_eq!(stage.told(&text_of(storage)).await, 1);
    stage.invoke("notify-send", &event).await.unwrap();
    assert_eq!(stage.told(&text_of(storage)).await, 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_put_aside_and_holds_up_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mark = Uuid::now_v7().to_string();
    let mut incomplete = news(1);
    incomplete.as_object_mut().unwrap().remove("amount");
    incomplete["description"] = json!(mark);
    for message in [mark.clone(), incomplete.to_string()] {
        stage.publish(&message).await;
    }
    let storage = own_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    put_aside(&stage, "notify-send", &mark, 2).await;
}

#[tokio::test]
async fn items_that_are_no_purchases_are_put_aside_and_hold_up_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mark = Uuid::now_v7().to_string();
    let attributes = [
        json!({"S": ""}),
        json!({"N": "-1.25E+120"}),
        json!({"B": "/w=="}),
        json!({"BOOL": true}),
        json!({"NULL": true}),
        json!({"SS": ["", "\u{1f600}"]}),
        json!({"NS": ["1", "2.5"]}),
        json!({"BS": ["AA==", "/w=="]}),
        json!({"L": [{"L": []}, {"N": "1"}, {"NULL": true}]}),
        json!({"M": {"": {"M": {}}}}),
    ];
    for (number, attribute) in attributes.iter().enumerate() {
        let item = json!({
            "userId": {"S": mark}, "purchaseId": {"S": number.to_string()},
            "status": {"S": "PAID"}, "amount": attribute,
        });
        stage.put_purchase(&item).await;
    }
    let storage = own_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    put_aside(&stage, "billing-purchase-paid", &mark, attributes.len()).await;
}
