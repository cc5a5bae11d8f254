//! Tests of the SMS about a purchase, and of the dead-letter queues of functions.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::prices::{currency, money, price};
use test_support::stage::{Person, Stage, wait_for_up_to};
use test_support::stripe::{sms_text, unique_storage};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::billing::assert_paid;
use crate::sample;

/// Returns the event with which SNS delivers `message` to notify-send.
fn event(message: &str) -> Value {
    let mut event = sample("notify-send");
    event["Records"][0]["Sns"]["Message"] = json!(message);
    event
}

/// Returns a message of the SNS topic Purchases, about a purchase of `storage` notes.
fn purchase_message(storage: u32, notices: &[Value]) -> Value {
    json!({
        "purchaseId": Uuid::now_v7(), "userId": "us-east-1:notify", "amount": price(storage),
        "currency": currency(), "description": format!("storage for {storage} notes"),
        "granted": storage, "revision": 1, "notices": notices,
    })
}

fn paid() -> Value {
    json!({"type": "paid"})
}

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
async fn twenty_concurrent_deliveries_of_a_message_send_one_sms() {
    let stage = Stage::exclusive().await;
    let storage = unique_storage();
    let message = purchase_message(storage, &[paid()]);
    let text = sms_text(&stage, &message["purchaseId"], storage);
    let event = event(&message.to_string());
    let mut deliveries = JoinSet::new();
    for _ in 0..20 {
        let event = event.clone();
        let stage = stage.for_task();
        deliveries.spawn(async move { stage.invoke("notify-send", &event).await });
    }
    let results = deliveries.join_all().await;
    // The other deliveries may fail because one is in progress. In production, Lambda retries them.
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    assert_eq!(stage.sms_count(&text).await, 1);
    stage.invoke("notify-send", &event).await.unwrap();
    assert_eq!(stage.sms_count(&text).await, 1);
}

#[tokio::test]
async fn each_notice_of_a_message_is_announced_once() {
    let stage = Stage::shared().await;
    let dispute = json!({
        "type": "disputed", "disputeId": "dp_1", "amount": 2_050, "reason": "fraudulent",
    });
    let surplus = json!({"type": "surplusRefunded", "paymentIntentId": "pi_1", "amount": 4_000});
    let mut message = purchase_message(10, &[paid()]);
    let (name, id) = (stage.name(), message["purchaseId"].clone());
    let id = id.as_str().unwrap();
    let texts = [
        format!(
            "[{name}] Paid: {} for storage for 10 notes ({id})",
            money(price(10))
        ),
        format!(
            "[{name}] Dispute opened: {}, reason fraudulent, storage for 10 notes ({id})",
            money(2_050)
        ),
        format!(
            "[{name}] Refunded a surplus charge: {} for storage for 10 notes ({id})",
            money(4_000)
        ),
    ];
    let all = json!([paid(), dispute, surplus]);
    for (notices, counts) in [
        (json!([paid()]), [1, 0, 0]),
        (all.clone(), [1, 1, 1]),
        (all, [1, 1, 1]),
    ] {
        message["notices"] = notices;
        let event = event(&message.to_string());
        stage.invoke("notify-send", &event).await.unwrap();
        for (text, count) in texts.iter().zip(counts) {
            assert_eq!(stage.sms_count(text).await, count, "{text}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_message_goes_to_the_dead_letter_queue_and_blocks_nothing() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let marker = Uuid::now_v7().to_string();
    let mut incomplete = purchase_message(1, &[paid()]);
    incomplete.as_object_mut().unwrap().remove("amount");
    incomplete["description"] = json!(marker);
    for message in [marker.clone(), incomplete.to_string()] {
        stage.publish(&message).await;
    }
    let storage = unique_storage();
    let receipt = ada.buy(storage, "tok_visa").await.json(200);
    assert_paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    wait_for_dead_letters(&stage, "notify-send", &marker, 2).await;
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
    assert_paid(&stage, &ada, &receipt["purchaseId"], storage).await;
    wait_for_dead_letters(&stage, "billing-purchase-paid", &marker, attributes.len()).await;
}
