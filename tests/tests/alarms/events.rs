//! Failures of events: a stuck stream, unreadable messages.

use serde_json::json;
use test_support::stage::{Person, Stage, wait_for};
use test_support::stripe::unique_storage;
use uuid::Uuid;

use crate::watch::{RemovedGrant, assert_raises, done};

#[tokio::test]
async fn a_stuck_stream_raises_the_alarm_on_its_lag() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let removed = RemovedGrant::new(&stage, "billing-purchase-paid", "sns:Publish").await;
    ada.buy(unique_storage(), "tok_visa").await.json(200);
    let alarms = [("billing-purchase-paid-stream-lag", "stream-lag")];
    assert_raises(&stage, &alarms, done, async || {
        removed.restore(&stage).await;
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_purchase_raises_the_alarm_on_its_dead_letter_queue() {
    let stage = Stage::exclusive().await;
    let item = json!({
        "userId": {"S": Uuid::now_v7()}, "purchaseId": {"S": "1"},
        "status": {"S": "PAID"}, "amount": {"S": "unreadable"},
    });
    stage.put_purchase(&item).await;
    let alarms = [("billing-purchase-paid-waiting-dead-letters", "dead-letters")];
    assert_raises(&stage, &alarms, done, async || {
        // A record may be read twice.
        wait_for("the end of the alarm", async || {
            stage.purge_dead_letters_of("billing-purchase-paid").await;
            let alarm = &stage.alarms().await["billing-purchase-paid-waiting-dead-letters"];
            (alarm["StateValue"] == "OK").then_some(())
        })
        .await;
    })
    .await;
}
