//! Helpers that control and inspect the local Stripe of the stage, that order storage and read purchases as a user, and that
//! read and write the stage's purchases as the owner of the AWS account.

use reqwest::{Client, Url};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Method, Request, Response};
use crate::stage::{Person, Stage, wait_for};

/// A client of the control API of the stage's local Stripe.
#[derive(Debug)]
pub struct Stripe {
    client: Client,
    url: String,
}

impl Stage {
    /// Returns a client of the control API of the stage's local Stripe.
    pub fn stripe(&self) -> Stripe {
        Stripe {
            client: Client::new(),
            url: self.stripe_url.clone(),
        }
    }
}

impl Stage {
    /// Publishes a message to the stage's SNS topic Purchases.
    pub async fn publish(&self, message: &str) {
        let publisher = self.configuration("billing-purchase-paid").await;
        let topic = &publisher["Environment"]["Variables"]["NOTE_PURCHASED_TOPIC"];
        let mut url = self.endpoint("/");
        url.query_pairs_mut()
            .append_pair("Action", "Publish")
            .append_pair("Version", "2010-03-31")
            .append_pair("TopicArn", topic.as_str().unwrap())
            .append_pair("Message", message);
        let request = Request::new(&Client::new(), Method::POST, self.endpoint("/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(url.query().unwrap());
        let response = request.signed_by(&self.owner_signer("sns")).send().await;
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Grants storage for `notes` more notes to a user, as a paid purchase does. `user` is the ID of the user's identity.
    pub async fn grant_storage(&self, user: &str, notes: u32) {
        let functions = crate::functions::all();
        let credit = functions.iter().find(|known| known.name == "notes-credit");
        let mut event = credit.unwrap().event();
        let message = &mut event["Records"][0]["Sns"]["Message"];
        let mut purchase: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
        purchase["purchaseId"] = json!(uuid::Uuid::now_v7());
        purchase["userId"] = json!(user);
        purchase["granted"] = json!(notes);
        *message = purchase.to_string().into();
        self.invoke("notes-credit", &event).await.unwrap();
    }

    /// Writes an item to the stage's table Purchases.
    pub async fn put_purchase(&self, item: &Value) {
        let input = json!({"TableName": self.purchases_table, "Item": item});
        self.call_as_owner("dynamodb", "DynamoDB_20120810.PutItem", &input)
            .await;
    }

    /// Sets the attribute `name` (`dueAt` or `createdAt`) of a purchase to `millis`, in milliseconds since the Unix
    /// epoch.
    pub async fn set_purchase_time(&self, user: &str, purchase: &str, name: &str, millis: u64) {
        let input = json!({
            "TableName": self.purchases_table,
            "Key": {"userId": {"S": user}, "purchaseId": {"S": purchase}},
            "UpdateExpression": "SET #name = :time",
            "ExpressionAttributeNames": {"#name": name},
            "ExpressionAttributeValues": {":time": {"N": millis.to_string()}},
        });
        self.call_as_owner("dynamodb", "DynamoDB_20120810.UpdateItem", &input)
            .await;
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

    /// Returns all `payment_intents`, `charges`, `refunds`, `disputes`, `events`, `calls` or `deliveries`, oldest first.
    pub async fn list(&self, what: &str) -> Vec<Value> {
        let mut list = self.control(Method::GET, what, None).await;
        match list["data"].take() {
            Value::Array(list) => list,
            other => panic!("{what}: {other}"),
        }
    }

    /// Returns the PaymentIntents whose metadata field `key` (`userId` or `purchaseId`) is `value`, oldest first.
    pub async fn intents_of(&self, key: &str, value: &str) -> Vec<Value> {
        let mut intents = self.list("payment_intents").await;
        intents.retain(|intent| intent["metadata"][key] == value);
        intents
    }

    /// Returns the PaymentIntent of a purchase. Panics if the purchase does not have exactly one PaymentIntent.
    pub async fn intent_of(&self, purchase: &str) -> Value {
        let intents = self.intents_of("purchaseId", purchase).await;
        let [intent] = intents
            .try_into()
            .expect("the purchase has exactly one intent");
        intent
    }

    /// Returns the amount of each successful charge of a PaymentIntent, in cents.
    pub async fn charged_amounts(&self, intent: &Value) -> Vec<u64> {
        let mut charges = self.list("charges").await;
        charges.retain(|charge| charge["payment_intent"] == intent["id"] && charge["paid"] == true);
        let amounts = charges.iter().map(|charge| charge["amount"].as_u64());
        amounts.map(Option::unwrap).collect()
    }

    /// Returns the IDs of the Stripe events about a PaymentIntent, oldest first.
    pub async fn events_of(&self, intent: &Value) -> Vec<String> {
        self.event_ids(|object| object["id"] == intent["id"]).await
    }

    /// Returns the IDs of the Stripe events about a PaymentIntent and its charges, refunds and disputes, oldest first.
    pub async fn events_around(&self, intent: &Value) -> Vec<String> {
        let id = &intent["id"];
        self.event_ids(|object| object["id"] == *id || object["payment_intent"] == *id)
            .await
    }

    /// Returns the IDs of the events whose object satisfies `is_wanted`, oldest first.
    async fn event_ids(&self, is_wanted: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut events = self.list("events").await;
        events.retain(|event| is_wanted(&event["data"]["object"]));
        let ids = events.iter().map(|event| event["id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }

    /// Returns the refunded amount of each successful charge of a PaymentIntent, in cents.
    pub async fn refunded_amounts(&self, intent: &Value) -> Vec<u64> {
        let mut charges = self.list("charges").await;
        charges.retain(|charge| charge["payment_intent"] == intent["id"] && charge["paid"] == true);
        let amounts = charges
            .iter()
            .map(|charge| charge["amount_refunded"].as_u64());
        amounts.map(Option::unwrap).collect()
    }

    /// Returns the refunds of a PaymentIntent, oldest first.
    pub async fn refunds_of(&self, intent: &Value) -> Vec<Value> {
        let mut refunds = self.list("refunds").await;
        refunds.retain(|refund| refund["payment_intent"] == intent["id"]);
        refunds
    }

    /// Waits until the charge of a PaymentIntent is disputed. Returns the dispute.
    pub async fn dispute_of(&self, intent: &Value) -> Value {
        wait_for("the dispute", async || {
            let disputes = self.list("disputes").await;
            let mut disputes = disputes.into_iter();
            disputes.find(|dispute| dispute["payment_intent"] == intent["id"])
        })
        .await
    }

    /// Calls Stripe's API with the stage's secret key, as a person does in the Stripe Dashboard. `path` is relative to
    /// `/v1/`, and `body` is form-encoded. Returns the response.
    pub async fn post(&self, stage: &Stage, path: &str, body: &str) -> Value {
        let url = Url::parse(&format!("{}/v1/{path}", self.url)).unwrap();
        let key = stage.secret("stripe-secret-key").await;
        let request = Request::new(&self.client, Method::POST, url)
            .header("authorization", &format!("Bearer {key}"))
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(body).send().await;
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Refunds `amount` cents of a PaymentIntent, or all that is not refunded yet. Returns the refund.
    pub async fn refund(&self, stage: &Stage, intent: &Value, amount: Option<u64>) -> Value {
        let id = intent["id"].as_str().unwrap();
        let amount = amount.map_or_else(String::new, |amount| format!("&amount={amount}"));
        let body = format!("payment_intent={id}{amount}");
        self.post(stage, "refunds", &body).await
    }

    /// Responds to a dispute with a text of evidence that forces the bank's decision, such as `winning_evidence`.
    pub async fn respond(&self, stage: &Stage, dispute: &Value, evidence: &str) {
        let path = format!("disputes/{}", dispute["id"].as_str().unwrap());
        let body = format!("evidence[uncategorized_text]={evidence}");
        self.post(stage, &path, &body).await;
    }

    /// Charges the card again for the purchase of a PaymentIntent, which must not happen: creates and confirms another
    /// PaymentIntent with the same amount and metadata. Returns the new PaymentIntent.
    pub async fn charge_again(&self, stage: &Stage, intent: &Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let metadata = &intent["metadata"];
        let body = format!(
            "amount={}&currency={}&confirm=true&payment_method=pm_card_visa&allowed_payment_method_types[]=card\
             &metadata[userId]={}&metadata[purchaseId]={}",
            intent["amount"],
            text(&intent["currency"]),
            text(&metadata["userId"]),
            text(&metadata["purchaseId"])
        );
        self.post(stage, "payment_intents", &body).await
    }

    /// Returns the number of requests to create a PaymentIntent that the local Stripe has received.
    pub async fn charge_requests(&self) -> usize {
        let calls = self.list("calls").await;
        let calls = calls.iter().filter(|call| call["method"] == "POST");
        calls
            .filter(|call| call["path"] == "/v1/payment_intents")
            .count()
    }

    /// Makes requests to create a PaymentIntent fail. `failure` has the fields of a failure in the control API. A
    /// missing field means normal behavior. If `failure` has the field `times`, only this number of requests fails.
    /// Otherwise requests fail until [`Stripe::clear_failures`] is called.
    pub async fn inject_failure(&self, failure: Value) {
        let mut whole = json!({"method": "POST", "path": "/v1/payment_intents"});
        let failure = failure.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(failure);
        self.control(Method::POST, "failures", Some(&whole)).await;
    }

    /// Removes all failures that were injected into the local Stripe.
    pub async fn clear_failures(&self) {
        self.control(Method::DELETE, "failures", None).await;
    }

    /// Ends the authentication of a PaymentIntent, as the cardholder would. `outcome` is `succeeds` or `fails`.
    pub async fn authenticate(&self, intent: &Value, outcome: &str) {
        let id = intent["id"].as_str().unwrap();
        let path = format!("payment_intents/{id}/authenticate");
        let body = json!({"authentication": outcome});
        self.control(Method::POST, &path, Some(&body)).await;
    }

    /// If `hold` is true, makes each payment from now on stay `processing` until [`Stripe::process`] charges its card.
    pub async fn hold_payments(&self, hold: bool) {
        let body = json!({"payments": hold});
        self.control(Method::PUT, "hold", Some(&body)).await;
    }

    /// Charges the card of a PaymentIntent whose status is `processing`.
    pub async fn process(&self, intent: &Value) {
        let path = format!("payment_intents/{}/process", intent["id"].as_str().unwrap());
        self.control(Method::POST, &path, None).await;
    }

    /// Makes the local Stripe send the event with this ID to the webhook again. Returns the HTTP status of the
    /// webhook's response.
    pub async fn redeliver(&self, event: &str) -> Value {
        let path = format!("events/{event}/redeliver");
        self.control(Method::POST, &path, None).await["status"].take()
    }

    /// Makes the local Stripe stop sending events to the stage's webhook.
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

/// Returns a random amount of storage, in notes, so that the description identifies one purchase.
pub fn unique_storage() -> u32 {
    let random = u32::from_le_bytes(*Uuid::now_v7().as_bytes().last_chunk().unwrap());
    1_000 + random % 999_000
}

impl Person<'_> {
    /// Orders storage for `storage` notes with the token or PaymentMethod `source`, without an idempotency key.
    pub async fn buy(&self, storage: u32, source: &str) -> Response {
        self.order(storage, source).send().await
    }

    /// Orders storage for `storage` notes with the token or PaymentMethod `source` and the idempotency key `key`.
    pub async fn buy_with_key(&self, key: &str, storage: u32, source: &str) -> Response {
        let order = self.order(storage, source);
        order.header("Idempotency-Key", key).send().await
    }

    /// Creates a request to order storage for `storage` notes with the token or PaymentMethod `source`. Does not send
    /// the request.
    pub fn order(&self, storage: u32, source: &str) -> Request {
        let body = json!({"storage": storage, "source": source});
        self.request(Method::POST, "/billing").json(&body)
    }

    /// Returns all purchases of the user, newest first.
    pub async fn purchases(&self) -> Vec<Value> {
        self.pages("/billing").await.concat()
    }

    /// Returns the user's purchase with this ID.
    pub async fn purchase(&self, id: &Value) -> Value {
        let mut purchases = self.purchases().await;
        purchases.retain(|purchase| purchase["purchaseId"] == *id);
        let [purchase] = purchases.try_into().expect("the purchase is listed once");
        purchase
    }
}
