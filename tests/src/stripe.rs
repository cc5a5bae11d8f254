//! The stage's local Stripe and its control API, and the users' purchases.

use reqwest::{Client, Url};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Method, Request, Response};
use crate::stage::{Person, Stage};

/// The stage's local Stripe.
#[derive(Debug)]
pub struct Stripe {
    client: Client,
    url: String,
}

impl Stage {
    /// The stage's local Stripe.
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
        let response = match body {
            Some(body) => request.json(body).send().await,
            None => request.send().await,
        };
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    async fn list(&self, what: &str) -> Vec<Value> {
        let mut list = self.control(Method::GET, what, None).await;
        match list["data"].take() {
            Value::Array(list) => list,
            other => panic!("{what}: {other}"),
        }
    }

    /// The PaymentIntents with this metadata (`userId` or `purchaseId`), oldest first.
    pub async fn intents_of(&self, key: &str, value: &str) -> Vec<Value> {
        let mut intents = self.list("payment_intents").await;
        intents.retain(|intent| intent["metadata"][key] == value);
        intents
    }

    /// The PaymentIntent of a purchase. Panics if there is not exactly one.
    pub async fn intent_of(&self, purchase: &str) -> Value {
        let intents = self.intents_of("purchaseId", purchase).await;
        let [intent] = intents
            .try_into()
            .expect("the purchase has exactly one intent");
        intent
    }

    /// The amounts of all successful charges of a PaymentIntent, in cents.
    pub async fn charged_amounts(&self, intent: &Value) -> Vec<u64> {
        let mut charges = self.list("charges").await;
        charges.retain(|charge| charge["payment_intent"] == intent["id"] && charge["paid"] == true);
        let amounts = charges.iter().map(|charge| charge["amount"].as_u64());
        amounts.map(Option::unwrap).collect()
    }

    /// The IDs of the events about a PaymentIntent, oldest first.
    pub async fn events_of(&self, intent: &Value) -> Vec<String> {
        let mut events = self.list("events").await;
        events.retain(|event| event["data"]["object"]["id"] == intent["id"]);
        let ids = events.iter().map(|event| event["id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }

    /// The number of requests to create a PaymentIntent that Stripe has received.
    pub async fn charge_requests(&self) -> usize {
        let calls = self.list("calls").await;
        let calls = calls.iter().filter(|call| call["method"] == "POST");
        calls
            .filter(|call| call["path"] == "/v1/payment_intents")
            .count()
    }

    /// Makes requests to create a PaymentIntent fail until [`Stripe::clear_failures`]. `failure` has the fields
    /// of a failure in the control API; the behavior of missing fields is normal.
    pub async fn inject_failure(&self, failure: Value) {
        let mut whole = json!({"method": "POST", "path": "/v1/payment_intents"});
        let failure = failure.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(failure);
        self.control(Method::POST, "failures", Some(&whole)).await;
    }

    /// Removes all injected failures.
    pub async fn clear_failures(&self) {
        self.control(Method::DELETE, "failures", None).await;
    }

    /// Completes the authentication of a PaymentIntent by the card's owner. `outcome` is `succeeds` or
    /// `fails`.
    pub async fn authenticate(&self, intent: &Value, outcome: &str) {
        let id = intent["id"].as_str().unwrap();
        let path = format!("payment_intents/{id}/authenticate");
        let body = json!({"authentication": outcome});
        self.control(Method::POST, &path, Some(&body)).await;
    }

    /// Sends an event to the webhook again. Returns the status of the webhook's response.
    pub async fn redeliver(&self, event: &str) -> Value {
        let path = format!("events/{event}/redeliver");
        self.control(Method::POST, &path, None).await["status"].take()
    }

    /// Sets the indexing delay of the search API.
    pub async fn set_search_lag(&self, seconds: u32) {
        let body = json!({"seconds": seconds});
        self.control(Method::PUT, "search_lag", Some(&body)).await;
    }

    /// Makes the local Stripe send no events to the stage.
    pub async fn unset_webhook(&self) {
        self.control(Method::DELETE, "webhook", None).await;
    }

    /// Undoes [`Self::unset_webhook`]: registers the stage's webhook URL and signing secret with the local Stripe.
    pub async fn set_webhook(&self, stage: &Stage) {
        let url = format!("{}/billing/webhook", stage.api_url);
        let secret = stage.secret("stripe-webhook-secret").await;
        let body = json!({"url": url, "secrets": [secret]});
        self.control(Method::PUT, "webhook", Some(&body)).await;
    }
}

/// A random amount of storage, so that an SMS about it belongs to one purchase.
pub fn unique_storage() -> u32 {
    let random = u32::from_le_bytes(*Uuid::now_v7().as_bytes().last_chunk().unwrap());
    1_000 + random % 999_000
}

/// The text of the SMS about a purchase of storage at the lowest price.
pub fn sms_text(storage: u32) -> String {
    format!("Charged {} for storage for {storage} notes", storage * 100)
}

impl Person<'_> {
    /// Orders storage without an idempotency key.
    pub async fn buy(&self, storage: u32, source: &str) -> Response {
        self.order(storage, source).send().await
    }

    /// Orders storage with an idempotency key.
    pub async fn buy_with_key(&self, key: &str, storage: u32, source: &str) -> Response {
        let order = self.order(storage, source);
        order.header("Idempotency-Key", key).send().await
    }

    /// Creates the request for an order of storage.
    pub fn order(&self, storage: u32, source: &str) -> Request {
        let body = json!({"storage": storage, "source": source});
        self.request(Method::POST, "/billing").json(&body)
    }

    /// All purchases of the user, newest first.
    pub async fn purchases(&self) -> Vec<Value> {
        self.pages("/billing").await.concat()
    }

    /// The purchase of the user with this ID.
    pub async fn purchase(&self, id: &Value) -> Value {
        let mut purchases = self.purchases().await;
        purchases.retain(|purchase| purchase["purchaseId"] == *id);
        let [purchase] = purchases.try_into().expect("the purchase is listed once");
        purchase
    }
}
