//! Tests of the dead-letter queues of functions that handle events of purchases.

use std::time::Duration;

use serde_json::json;
use test_support::stage::{Person, Stage, wait_for_up_to};
use test_support::stripe::unique_storage;
use uuid::Uuid;

use crate::billing::assert_paid;

/// How long a test waits for Lambda to retry an event and then send the event to the dead-letter
/// queue.
const RETRY_TIME: Duration = Duration::from_secs(40);

/// Waits until the function's dead-letter queue has exactly `number` messages that contain `text`.
async fn wait_for_dead_letters(stage: &Stage, function: &str, text: &str, number: usize) {
    wait_for_up_to(RETRY_TIME, "the dead-letter queue", async || {
        let messages = stage.dead_letters_of(function).await;
        let matching = messages.iter().filter(|message| message.contains(text));
        (matching.count() == number).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_message_goes_to_the_dead_letter_queue_and_blocks_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let marker = Uuid::now_v7().to_string();
    let incomplete = json!({
        "purchaseId": Uuid::now_v7(), "userId": "us-east-1:ada", "description": marker,
        "granted": 1, "revision": 1, "notices": [],
    });
    for message in [marker.clone(), incomplete.to_string()] {
        stage.publish(&message).await;
    }
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    assert_paid(&ada, &receipt["purchaseId"], storage).await;
    let subscribers = [
        "notify-send", // part: notify
        "notes-credit",
    ];
    for subscriber in subscribers {
        wait_for_dead_letters(&stage, subscriber, &marker, 2).await;
    }
}

#[tokio::test]
async fn items_that_are_not_purchases_go_to_the_dead_letter_queue_and_block_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let marker = Uuid::now_v7().to_string();
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
            "userId": {"S": marker}, "purchaseId": {"S": number.to_string()},
            "status": {"S": "PAID"}, "amount": attribute,
        });
        stage.put_purchase(&item).await;
    }
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    assert_paid(&ada, &receipt["purchaseId"], storage).await;
    wait_for_dead_letters(&stage, "billing-purchase-paid", &marker, attributes.len()).await;
}
