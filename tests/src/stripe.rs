//! The double that the stage takes for Stripe, by its control API, and what people buy by it.

use reqwest::{Client, Url};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Answer, Method, Request};
use crate::stage::{Person, Stage};

/// The stage's Stripe.
#[derive(Debug)]
pub struct Stripe {
    client: Client,
    url: String,
}

impl Stage {
    /// What the stage takes for Stripe.
    pub fn stripe(&self) -> Stripe {
        Stripe {
            client: Client::new(),
            url: self.stripe_url.clone(),
        }
    }
}

impl Stripe {
    async fn control(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let url = Url::parse(&format!("{}/_double/{path}", self.url)).unwrap();
        let request = Request::new(&self.client, method, url);
        let answer = match body {
            Some(body) => request.json(body).send().await,
            None => request.send().await,
        };
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn list(&self, what: &str) -> Vec<Value> {
        let mut list = self.control(Method::GET, what, None).await;
        match list["data"].take() {
            Value::Array(list) => list,
            other => panic!("{what}: {other}"),
        }
    }

    /// The PaymentIntents of whom or what this metadata says (`userId`, `purchaseId`), oldest first.
    pub async fn intents_of(&self, key: &str, value: &str) -> Vec<Value> {
        let mut intents = self.list("payment_intents").await;
        intents.retain(|intent| intent["metadata"][key] == value);
        intents
    }

    /// The one PaymentIntent of a purchase.
    pub async fn intent_of(&self, purchase: &str) -> Value {
        let intents = self.intents_of("purchaseId", purchase).await;
        let [intent] = intents.try_into().expect("a purchase has one intent");
        intent
    }

    /// What was charged for a PaymentIntent, each time that it was, in cents.
    pub async fn charged(&self, intent: &Value) -> Vec<u64> {
        let mut charges = self.list("charges").await;
        charges.retain(|charge| charge["payment_intent"] == intent["id"] && charge["paid"] == true);
        let amounts = charges.iter().map(|charge| charge["amount"].as_u64());
        amounts.map(Option::unwrap).collect()
    }

    /// The ids of the events that tell of a PaymentIntent, oldest first.
    pub async fn events_of(&self, intent: &Value) -> Vec<String> {
        let mut events = self.list("events").await;
        events.retain(|event| event["data"]["object"]["id"] == intent["id"]);
        let ids = events.iter().map(|event| event["id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }

    /// How many calls have come in that are to charge a card.
    pub async fn orders(&self) -> usize {
        let calls = self.list("calls").await;
        let calls = calls.iter().filter(|call| call["method"] == "POST");
        calls
            .filter(|call| call["path"] == "/v1/payment_intents")
            .count()
    }

    /// Has calls that charge cards go wrong, until [`Stripe::heal`]. What is left out of `failure` is
    /// as if nothing went wrong.
    pub async fn fail(&self, failure: Value) {
        let mut whole = json!({"method": "POST", "path": "/v1/payment_intents"});
        let failure = failure.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(failure);
        self.control(Method::POST, "failures", Some(&whole)).await;
    }

    /// Has no more calls go wrong.
    pub async fn heal(&self) {
        self.control(Method::DELETE, "failures", None).await;
    }

    /// Has the owner of the card answer the challenge of a PaymentIntent: `succeeds` or `fails`.
    pub async fn authenticate(&self, intent: &Value, how: &str) {
        let id = intent["id"].as_str().unwrap();
        let path = format!("payment_intents/{id}/authenticate");
        let body = json!({"authentication": how});
        self.control(Method::POST, &path, Some(&body)).await;
    }

    /// Sends an event once more, and gives the status of the answer.
    pub async fn redeliver(&self, event: &str) -> Value {
        let path = format!("events/{event}/redeliver");
        self.control(Method::POST, &path, None).await["status"].take()
    }

    /// Has what search finds be so many seconds behind.
    pub async fn set_search_lag(&self, seconds: u32) {
        let body = json!({"seconds": seconds});
        self.control(Method::PUT, "search_lag", Some(&body)).await;
    }

    /// Sends no events to the stage.
    pub async fn unset_webhook(&self) {
        self.control(Method::DELETE, "webhook", None).await;
    }

    /// Sends events to the stage, as it does from the beginning.
    pub async fn set_webhook(&self, stage: &Stage) {
        let url = format!("{}/billing/webhook", stage.api_url);
        let secret = stage.secret("stripe-webhook-secret").await;
        let body = json!({"url": url, "secrets": [secret]});
        self.control(Method::PUT, "webhook", Some(&body)).await;
    }
}

/// An amount of storage that nobody else buys, so that what is told of it is told of one purchase.
pub fn own_storage() -> u32 {
    let random = u32::from_le_bytes(*Uuid::now_v7().as_bytes().last_chunk().unwrap());
    1_000 + random % 999_000
}

/// What the owner is told of a purchase of storage at the lowest price.
pub fn text_of(storage: u32) -> String {
    format!("Charged {} for storage for {storage} notes", storage * 100)
}

impl Person<'_> {
    /// Orders storage.
    pub async fn buy(&self, storage: u32, source: &str) -> Answer {
        self.order(storage, source).send().await
    }

    /// Orders storage under an idempotency key.
    pub async fn buy_under(&self, key: &str, storage: u32, source: &str) -> Answer {
        let order = self.order(storage, source);
        order.header("Idempotency-Key", key).send().await
    }

    /// An order of storage.
    pub fn order(&self, storage: u32, source: &str) -> Request {
        let body = json!({"storage": storage, "source": source});
        self.request(Method::POST, "/billing").json(&body)
    }

    /// All their purchases, newest first.
    pub async fn purchases(&self) -> Vec<Value> {
        self.pages("/billing").await.concat()
    }

    /// One of their purchases.
    pub async fn purchase(&self, id: &Value) -> Value {
        let mut purchases = self.purchases().await;
        purchases.retain(|purchase| purchase["purchaseId"] == *id);
        let [purchase] = purchases.try_into().expect("it is listed once");
        purchase
    }
}
