//! Tests of the SMS about a purchase.

use serde_json::{Value, json};
use test_support::prices::{currency, money, price};
use test_support::sms::sms_text;
use test_support::stage::{Person, Stage, wait_for};
use test_support::stripe::unique_storage;
use tokio::task::JoinSet;
use uuid::Uuid;

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

#[tokio::test]
async fn a_paid_purchase_sends_one_sms_with_its_amount() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for storage in [10, 100, 101] {
        let receipt = ada.buy(storage, "tok_visa").await.json(200);
        let text = sms_text(&stage, &receipt["purchaseId"], storage);
        wait_for(&text, async || {
            (stage.sms_count(&text).await == 1).then_some(())
        })
        .await;
    }
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
