//! What happens outside the API: the owner refunds purchases, and cardholders answer their banks.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use test_support::stage::Stage;
use tokio::process::Command;
use tokio::time::timeout;

use crate::quiet::XTASK;

/// The time limit of a request to the local Stripe, and of a command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The owner of the stage and of its Stripe account.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    client: Client,
    stripe_url: String,
    secret_key: String,
    /// The signing secret of the webhook.
    pub(super) webhook_secret: String,
}

impl Owner {
    pub(crate) async fn new(stage: &Stage) -> Self {
        Self {
            client: Client::new(),
            stripe_url: stage.stripe_url.clone(),
            secret_key: stage.secret("stripe-secret-key").await,
            webhook_secret: stage.secret("stripe-webhook-secret").await,
        }
    }

    /// Calls the control API of the local Stripe. `None` if the call fails.
    pub(crate) async fn control(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let url = format!("{}/_double/{path}", self.stripe_url);
        let request = self.client.request(method, url).timeout(TIMEOUT);
        let response = request.json(body).send().await.ok()?;
        response.error_for_status().ok()?.json().await.ok()
    }

    /// Calls Stripe's API. `None` if the call fails: it may or may not have taken effect.
    async fn call(&self, path: &str, form: &str) -> Option<Value> {
        let url = format!("{}/v1/{path}", self.stripe_url);
        let request = self.client.post(url).timeout(TIMEOUT);
        let request = request.bearer_auth(&self.secret_key);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form.to_owned()).send().await.ok()?;
        response.error_for_status().ok()?.json().await.ok()
    }

    /// Ends the challenge of a PaymentIntent, as the cardholder does. `outcome` is `succeeds` or `fails`.
    pub(crate) async fn authenticate(&self, intent: &str, outcome: &str) -> Option<Value> {
        let path = format!("payment_intents/{intent}/authenticate");
        let body = json!({"authentication": outcome});
        self.control(Method::POST, &path, &body).await
    }

    /// Returns all PaymentIntents, charges, refunds, events or deliveries. Empty if the call fails.
    pub(crate) async fn list(&self, what: &str) -> Vec<Value> {
        let list = self.control(Method::GET, what, &Value::Null).await;
        match list.map(|mut list| list["data"].take()) {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        }
    }

    /// Refunds a purchase, or `amount` cents of it: with `cargo xtask shop refund`, or as in the Stripe Dashboard.
    pub(crate) async fn refund(&self, purchase: &str, amount: Option<u64>, by_command: bool) {
        if let (true, Some(xtask)) = (by_command, std::env::var_os(XTASK)) {
            let mut refund = Command::new(xtask);
            refund.args(["shop", "refund", purchase, "--stage", "local", "--yes"]);
            if let Some(amount) = amount {
                refund.args(["--amount", &amount.to_string()]);
            }
            refund.kill_on_drop(true);
            // Stripe's ledger says whether the refund was made.
            let _ = timeout(TIMEOUT, refund.output()).await;
            return;
        }
        let intents = self.list("payment_intents").await;
        let mut intents = intents.iter();
        let intent = intents.find(|intent| {
            intent["metadata"]["purchaseId"] == purchase && intent["status"] == "succeeded"
        });
        if let Some(id) = intent.and_then(|intent| intent["id"].as_str()) {
            let amount = amount.map_or_else(String::new, |amount| format!("&amount={amount}"));
            self.call("refunds", &format!("payment_intent={id}{amount}"))
                .await;
        }
    }

    /// Charges the card of a random paid purchase again, which must not happen. Returns whether it was charged.
    pub(crate) async fn charge_again(&self, random: u64) -> bool {
        let mut intents = self.list("payment_intents").await;
        intents.retain(|intent| intent["status"] == "succeeded");
        let index = usize::try_from(random).unwrap_or(0) % intents.len().max(1);
        let Some(intent) = intents.get(index) else {
            return false;
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let form = format!(
            "amount={}&currency={}&confirm=true&payment_method=pm_card_visa&allowed_payment_method_types[]=card\
             &metadata[userId]={}&metadata[purchaseId]={}",
            intent["amount"],
            text(&intent["currency"]),
            text(&intent["metadata"]["userId"]),
            text(&intent["metadata"]["purchaseId"])
        );
        self.call("payment_intents", &form).await.is_some()
    }
}
