//! Tests of billing-reconcile, which settles purchases that neither a request nor a Stripe event
//! has settled.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use test_support::http::Response;
use test_support::prices::price;
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;

use crate::billing::assert_paid;
use crate::sample;
use crate::webhook::redeliver;

/// Sets the due time of a purchase to the past and invokes billing-reconcile.
async fn reconcile(stage: &Stage, person: &Person<'_>, purchase: &Value) {
    let id = purchase.as_str().unwrap();
    stage.set_purchase_time(&person.id, id, "dueAt", 1).await;
    run(stage).await;
}

async fn run(stage: &Stage) {
    let result = stage
        .invoke("billing-reconcile", &sample("billing-reconcile"))
        .await;
    result.unwrap_or_else(|error| panic!("billing-reconcile failed: {error}"));
}

/// Asserts that the response has status 503 and that the user's only purchase is PENDING. Returns
/// the purchase ID.
async fn pending_purchase(person: &Person<'_>, response: &Response) -> Value {
    response.problem(503);
    let [purchase] = person.purchases().await.try_into().unwrap();
    assert_eq!(purchase["status"], "PENDING");
    purchase["purchaseId"].clone()
}

#[tokio::test]
async fn an_order_that_never_reached_stripe_is_charged_by_reconcile() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = unique_storage();
    stripe
        .inject_failure(json!({"end": "close", "effect": false}))
        .await;
    let order = async || ada.buy_with_key("lost-order", storage, "tok_visa").await;
    let response = order().await;
    stripe.clear_failures().await;
    let purchase = pending_purchase(&ada, &response).await;
    assert!(stripe.intents_of("userId", &ada.id).await.is_empty());

    // The purchase is due in two minutes, so this invocation of billing-reconcile does not change it.
    run(&stage).await;
    assert_eq!(ada.purchase(&purchase).await["status"], "PENDING");
    // Once the purchase is due, two concurrent invocations of billing-reconcile and a repeated order complete it.
    tokio::join!(reconcile(&stage, &ada, &purchase), run(&stage), order());
    assert_paid(&ada, &purchase, storage).await;
    assert_eq!(order().await.json(200)["purchaseId"], purchase);
    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    assert_eq!(
        stripe.charged_amounts(&intent).await,
        [u64::from(price(storage))]
    );
}

#[tokio::test]
async fn a_purchase_whose_charge_response_is_lost_settles_once_in_any_order_of_events() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    for concurrent in [true, false] {
        let key = format!("concurrent: {concurrent}");
        let storage = unique_storage();
        stripe.unset_webhook().await;
        stripe.inject_failure(json!({"end": "close"})).await;
        let response = ada.buy_with_key(&key, storage, "tok_visa").await;
        stripe.clear_failures().await;
        let purchases = ada.purchases().await;
        stripe.set_webhook(&stage).await;
        response.problem(503);
        assert_eq!(purchases[0]["status"], "PENDING");
        let purchase = &purchases[0]["purchaseId"];
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;

        let events = stripe.events_of(&intent).await;
        let deliveries = redeliver(&stage, &events);
        let order = ada.buy_with_key(&key, storage, "tok_visa");
        match concurrent {
            // The deliveries, the order and both invocations of billing-reconcile happen at the same time.
            true => drop(tokio::join!(
                deliveries,
                order,
                reconcile(&stage, &ada, purchase),
                run(&stage)
            )),
            // Reconcile runs before the deliveries and the order.
            false => {
                reconcile(&stage, &ada, purchase).await;
                deliveries.await;
                drop(order.await);
            }
        }
        let settled = assert_paid(&ada, purchase, storage).await;
        assert_eq!(
            stripe.charged_amounts(&intent).await,
            [u64::from(price(storage))]
        );

        redeliver(&stage, &events).await;
        run(&stage).await;
        let receipt = ada.buy_with_key(&key, storage, "tok_visa").await.json(200);
        assert_eq!(receipt["purchaseId"], *purchase);
        assert_eq!(ada.purchase(purchase).await, settled);
        assert_paid(&ada, purchase, storage).await;
    }
}

#[tokio::test]
async fn an_unauthenticated_payment_is_canceled_after_an_hour() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let response = ada.buy(10, "pm_card_authenticationRequired").await;
    let purchase = response.problem(402)["purchaseId"].clone();
    reconcile(&stage, &ada, &purchase).await;
    assert_eq!(ada.purchase(&purchase).await["status"], "PENDING");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (id, hour) = (purchase.as_str().unwrap(), 60 * 60 * 1_000);
    let created = u64::try_from(now.as_millis()).unwrap() - hour;
    stage
        .set_purchase_time(&ada.id, id, "createdAt", created)
        .await;
    reconcile(&stage, &ada, &purchase).await;
    let failed = ada.purchase(&purchase).await;
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let intent = stripe.intent_of(id).await;
    assert_eq!(intent["status"], "canceled");
}
