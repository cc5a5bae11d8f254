//! SMS that are not delivered.

use serde_json::json;
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;

use crate::watch::{assert_raises, done};

#[tokio::test]
async fn an_sms_that_is_not_delivered_raises_its_alarm() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    stage.set_faults(&json!({"smsFails": true}));
    ada.buy(unique_storage(), "tok_visa").await.json(200);
    let alarms = [("sms", "sms")];
    assert_raises(&stage, &alarms, done, async || {
        stage.set_faults(&json!({}));
    })
    .await;
}
