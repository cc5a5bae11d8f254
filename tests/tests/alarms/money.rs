//! Failures of payments: keys, secrets, purchases that stay PENDING, surplus charges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use test_support::stage::{Person, Stage, wait_for};
use test_support::stripe::unique_storage;
use uuid::Uuid;

use crate::watch::{assert_raises, done};

/// After this time, billing-reconcile gives up a purchase that Stripe does not know.
const TWO_HOURS: Duration = Duration::from_secs(2 * 60 * 60);

/// A secret that Stripe does not know.
const OTHER_SECRET: &str = "sk_test_revoked";

#[tokio::test]
async fn a_revoked_stripe_key_raises_only_its_own_alarm() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let key = stage.secret("stripe-secret-key").await;
    let replace_key = async |key: &str| {
        stage.put_secret("stripe-secret-key", key).await;
        stage.restart("billing-purchase").await;
    };
    replace_key(OTHER_SECRET).await;
    let order = async || ada.buy_with_key("revoked", 10, "tok_visa").await;
    let alarms = [("stripe-key", "stripe-key")];
    let refused = async || {
        order().await.problem(503);
    };
    assert_raises(&stage, &alarms, refused, async || {
        replace_key(&key).await;
        // The last refused order may still be in progress, so another person orders.
        let bob = Person::sign_up(&stage).await;
        bob.buy(10, "tok_visa").await.json(200);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_webhook_secret_raises_the_alarm_on_rejected_events() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let secret = stage.secret("stripe-webhook-secret").await;
    let replace_secret = async |secret: &str| {
        stage.put_secret("stripe-webhook-secret", secret).await;
        stage.restart("billing-webhook").await;
    };
    replace_secret("whsec_of_another_endpoint").await;
    let alarms = [("rejected-events", "rejected-events")];
    let buy = async || {
        ada.buy(unique_storage(), "tok_visa").await.json(200);
    };
    assert_raises(&stage, &alarms, buy, async || {
        replace_secret(&secret).await;
    })
    .await;
}

#[tokio::test]
async fn a_purchase_that_stays_pending_raises_its_alarm_until_it_is_settled() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    stripe.hold_payments(true).await;
    ada.buy(10, "tok_visa").await;
    stripe.hold_payments(false).await;
    let [purchase] = ada.purchases().await.try_into().unwrap();
    assert_eq!(purchase["status"], "PENDING");
    let id = purchase["purchaseId"].as_str().unwrap();
    let set_time = async |name| {
        stage.set_purchase_time(&ada.id, id, name, 1).await;
    };
    set_time("createdAt").await;
    let alarms = [("pending-purchases", "pending-purchases")];
    let reconcile = async || set_time("dueAt").await; // at the next run
    assert_raises(&stage, &alarms, reconcile, async || {
        stripe.process(&stripe.intent_of(id).await).await;
        wait_for("the end of the payment", async || {
            let purchase = ada.purchase(&json!(id)).await;
            (purchase["status"] == "PAID").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_old_purchase_that_stripe_does_not_know_fails_without_an_alarm() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let created = json!({"N": (now - TWO_HOURS).as_millis().to_string()});
    let item = json!({
        "userId": {"S": ada.id}, "purchaseId": {"S": Uuid::now_v7()}, "storage": {"N": "10"},
        "amount": {"N": "4000"}, "currency": {"S": "usd"}, "source": {"S": "tok_visa"},
        "description": {"S": "storage that was never charged"}, "status": {"S": "PENDING"},
        "createdAt": created, "updatedAt": created, "unsettledShard": {"N": "0"}, "dueAt": {"N": "1"},
    });
    assert_raises(&stage, &[], done, async || {
        stage.put_purchase(&item).await;
        wait_for("the failure of the purchase", async || {
            let [purchase] = ada.purchases().await.try_into().unwrap();
            (purchase["status"] == "FAILED").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_charge_for_a_failed_purchase_raises_the_alarm_on_surplus_charges() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    ada.buy(10, "tok_chargeDeclined").await.problem(402);
    let [declined] = ada.purchases().await.try_into().unwrap();
    let purchase = declined["purchaseId"].as_str().unwrap();
    let intent = stripe.intent_of(purchase).await;
    stripe.charge_again(&stage, &intent).await;
    let alarms = [("surplus-charges", "surplus-charges")];
    assert_raises(&stage, &alarms, done, async || {
        // The charge is refunded, so there is nothing to fix.
    })
    .await;
}
