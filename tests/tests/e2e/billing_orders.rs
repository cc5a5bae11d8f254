//! Tests of open orders: POST /billing/{id}, DELETE /billing/{id}, and the limits of POST /billing.

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::prices::price;
use test_support::stage::{Person, Stage};
use test_support::stripe::unique_storage;

use crate::billing::assert_paid;

/// A card that requires 3-D Secure authentication.
const AUTHENTICATED: &str = "pm_card_authenticationRequired";

async fn resume(person: &Person<'_>, id: &Value) -> Response {
    let path = format!("/billing/{}", id.as_str().unwrap());
    person.request(Method::POST, &path).send().await
}

async fn cancel(person: &Person<'_>, id: &Value) -> Response {
    person
        .delete(&format!("/billing/{}", id.as_str().unwrap()))
        .await
}

#[tokio::test]
async fn an_order_is_resumed_after_the_browser_was_closed_during_authentication() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let storage = unique_storage();
    let order = ada.buy(storage, AUTHENTICATED).await.problem(402);
    let id = &order["purchaseId"];
    for _ in 0..2 {
        let resumed = resume(&ada, id).await.problem(402);
        for member in ["code", "purchaseId", "clientSecret"] {
            assert_eq!(resumed[member], order[member]);
        }
    }
    let intent = stage.stripe().intent_of(id.as_str().unwrap()).await;
    stage.stripe().authenticate(&intent, "succeeds").await;
    let receipt = resume(&ada, id).await.json(200);
    assert_eq!(receipt["purchaseId"], *id);
    assert_paid(&ada, id, storage).await;
    assert_eq!(
        stage.stripe().charged_amounts(&intent).await,
        [u64::from(price(storage))]
    );
    let refused = cancel(&ada, id).await.problem(409);
    assert_eq!(refused["code"], "already_paid");
}

#[tokio::test]
async fn a_canceled_order_cannot_charge_the_card_and_frees_the_buyer() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = ada.buy(10, AUTHENTICATED).await.problem(402);
    let id = &order["purchaseId"];
    for _ in 0..2 {
        let open = ada.buy(10, "tok_visa").await.problem(409);
        assert_eq!(
            (&open["code"], &open["purchaseId"]),
            (&json!("order_open"), id)
        );
    }
    for _ in 0..2 {
        let canceled = cancel(&ada, id).await.json(200);
        assert_eq!(canceled["status"], "FAILED");
        assert_eq!(canceled["decline"]["code"], "payment_canceled");
    }
    let intent = stage.stripe().intent_of(id.as_str().unwrap()).await;
    assert_eq!(intent["status"], "canceled");
    resume(&ada, id).await.problem(402);
    ada.buy(10, "tok_visa").await.json(200);
    assert_eq!(ada.purchases().await.len(), 2);
}

#[tokio::test]
async fn an_order_of_another_user_or_an_unknown_order_is_not_found() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let order = ada.buy(10, AUTHENTICATED).await.problem(402);
    let unknown = json!("019aa0b4-e100-7d21-a6e4-3c8f1b52d90a");
    for (person, id) in [
        (&bob, &order["purchaseId"]),
        (&ada, &unknown),
        (&ada, &json!("1")),
    ] {
        resume(person, id).await.problem(404);
        cancel(person, id).await.problem(404);
    }
    let purchase = ada.purchase(&order["purchaseId"]).await;
    assert_eq!(purchase["status"], "PENDING");
}

#[tokio::test]
async fn an_order_at_another_price_returns_409_with_the_current_price() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let order = |amount: u32| {
        let body = json!({"storage": 10, "source": "tok_visa", "amount": amount});
        ada.request(Method::POST, "/billing").json(&body).send()
    };
    let problem = order(3_999).await.problem(409);
    assert_eq!(
        (&problem["code"], &problem["amount"]),
        (&json!("price_changed"), &json!(price(10)))
    );
    assert!(ada.purchases().await.is_empty());
    assert_eq!(order(price(10)).await.json(200)["amount"], price(10));
}

#[tokio::test]
async fn after_ten_declines_orders_are_refused_until_an_hour_has_passed() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for _ in 0..10 {
        ada.buy(10, "tok_chargeDeclined").await.problem(402);
    }
    for source in ["tok_chargeDeclined", "tok_visa"] {
        let refused = ada.buy(10, source).await;
        assert_eq!(refused.problem(429)["code"], "too_many_declines");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3_000..=3_600).contains(&seconds), "{seconds}");
    }
    assert_eq!(ada.purchases().await.len(), 10);
    let intents = stage.stripe().intents_of("userId", &ada.id).await;
    assert_eq!(intents.len(), 10);
}
