//! What becomes of purchases that nobody settled: reconcile.

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::http::Answer;
use e2e::stage::{Person, Stage};
use e2e::stripe::own_storage;
use serde_json::{Value, json};

use crate::billing::paid;
use crate::sample;
use crate::webhook::flood;

/// Runs reconcile, with a purchase due for it.
async fn reconcile(stage: &Stage, person: &Person<'_>, purchase: &Value) {
    let id = purchase.as_str().unwrap();
    stage.set_moment(&person.id, id, "dueAt", 1).await;
    run(stage).await;
}

async fn run(stage: &Stage) {
    let done = stage
        .invoke("billing-reconcile", &sample("billing-reconcile"))
        .await;
    done.unwrap_or_else(|error| panic!("reconcile: {error}"));
}

/// Checks that an answer says that it is not known whether a card is charged, and returns the
/// purchase that it is about, which is PENDING.
async fn undecided(person: &Person<'_>, answer: &Answer) -> Value {
    answer.problem(503);
    let [purchase] = person.purchases().await.try_into().unwrap();
    assert_eq!(purchase["status"], "PENDING");
    purchase["purchaseId"].clone()
}

#[tokio::test]
async fn an_order_that_never_reached_stripe_is_carried_out_later() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let storage = own_storage();
    stripe.fail(json!({"end": "close", "effect": false})).await;
    let order = async || ada.buy_under("unheard", storage, "tok_visa").await;
    let answer = order().await;
    stripe.heal().await;
    let purchase = undecided(&ada, &answer).await;
    assert!(stripe.intents_of("userId", &ada.id).await.is_empty());

    // It is left alone for two minutes.
    run(&stage).await;
    assert_eq!(ada.purchase(&purchase).await["status"], "PENDING");
    // Then two runs at once carry it out, while its owner asks again.
    tokio::join!(reconcile(&stage, &ada, &purchase), run(&stage), order());
    paid(&stage, &ada, &purchase, storage).await;
    assert_eq!(order().await.json(200)["purchaseId"], purchase);
    let intent = stripe.intent_of(purchase.as_str().unwrap()).await;
    assert_eq!(stripe.charged(&intent).await, [u64::from(storage) * 100]);
}

#[tokio::test]
async fn a_charge_that_nobody_heard_of_is_found_however_events_and_reconcile_come() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    // Also when it is found by its metadata, and when search does not know it yet.
    for lag in [0, 60] {
        let key = format!("lag {lag}");
        let storage = own_storage();
        stripe.unset_webhook().await;
        stripe.set_search_lag(lag).await;
        stripe.fail(json!({"end": "close"})).await;
        let answer = ada.buy_under(&key, storage, "tok_visa").await;
        stripe.heal().await;
        let purchases = ada.purchases().await;
        stripe.set_webhook(&stage).await;
        answer.problem(503);
        assert_eq!(purchases[0]["status"], "PENDING");
        let purchase = &purchases[0]["purchaseId"];
        let intent = stripe.intent_of(purchase.as_str().unwrap()).await;

        let events = stripe.events_of(&intent).await;
        let told = flood(&stage, &events);
        let order = ada.buy_under(&key, storage, "tok_visa");
        match lag {
            // All at once, and
            0 => drop(tokio::join!(
                told,
                order,
                reconcile(&stage, &ada, purchase),
                run(&stage)
            )),
            // reconcile before the others.
            _ => {
                reconcile(&stage, &ada, purchase).await;
                told.await;
                drop(order.await);
            }
        }
        let settled = paid(&stage, &ada, purchase, storage).await;
        assert_eq!(stripe.charged(&intent).await, [u64::from(storage) * 100]);

        flood(&stage, &events).await;
        run(&stage).await;
        let receipt = ada.buy_under(&key, storage, "tok_visa").await.json(200);
        assert_eq!(receipt["purchaseId"], *purchase);
        assert_eq!(ada.purchase(purchase).await, settled);
        paid(&stage, &ada, purchase, storage).await;
    }
    stripe.set_search_lag(60).await;
}

#[tokio::test]
async fn a_payment_that_its_owner_never_finishes_is_given_up_after_an_hour() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    stripe.set_search_lag(0).await;
    let answer = ada.buy(10, "pm_card_authenticationRequired").await;
    let purchase = answer.problem(402)["purchaseId"].clone();
    reconcile(&stage, &ada, &purchase).await;
    assert_eq!(ada.purchase(&purchase).await["status"], "PENDING");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (id, hour) = (purchase.as_str().unwrap(), 60 * 60 * 1_000);
    let created = u64::try_from(now.as_millis()).unwrap() - hour;
    stage.set_moment(&ada.id, id, "createdAt", created).await;
    reconcile(&stage, &ada, &purchase).await;
    stripe.set_search_lag(60).await;
    let failed = ada.purchase(&purchase).await;
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let intent = stripe.intent_of(id).await;
    assert_eq!(intent["status"], "canceled");
}
