//! What Stripe knows about a purchase.

use anyhow::{Context, Result, bail};
use domain::stripe::WEBHOOK_EVENTS;
use form_urlencoded::Serializer;
use serde_json::Value;

use super::{json::text, purchase::Purchase};
use crate::release::{StripeAnswer, StripeApi, Target, secret_key};

/// The maximum number of pages of a list that are read. A page has 100 objects.
const PAGES: usize = 20;

/// How long before and after the order Stripe can have created a PaymentIntent, in seconds. Functions charge the card
/// at most an hour after the order. The minute is for clock differences.
const BEFORE: u64 = 60;
const AFTER: u64 = 3660;

/// For how long Stripe returns events, in seconds: <https://docs.stripe.com/api/events>
const EVENT_RETENTION: u64 = 30 * 24 * 3600;

/// A client of Stripe's API with the secret key of a stage.
#[derive(Debug, Clone)]
pub(super) struct Stripe {
    api: StripeApi,
    key: String,
}

/// The objects of Stripe that belong to a purchase.
#[derive(Debug, Clone, Default)]
pub(super) struct Payments {
    pub(super) intents: Vec<Value>,
    pub(super) charges: Vec<Value>,
    pub(super) refunds: Vec<Value>,
    pub(super) disputes: Vec<Value>,
    pub(super) events: Vec<Value>,
}

impl Stripe {
    /// Creates a client with the secret key of the stage.
    ///
    /// # Errors
    /// Fails if the key is not set or cannot be read.
    pub(super) async fn of(target: &Target) -> Result<Self> {
        let key = secret_key(target).await?;
        Ok(Self {
            api: StripeApi::new(&target.row.stripe_url),
            key: key.context("the secret stripe-secret-key is not set")?,
        })
    }

    /// Reads the PaymentIntent of a payment. `id` is the id of the PaymentIntent (`pi_…`) or of a charge (`ch_…`).
    ///
    /// # Errors
    /// Fails if Stripe does not know the payment.
    pub(super) async fn payment_of(&self, id: &str) -> Result<Value> {
        if !id.starts_with("ch_") {
            return self.get(&format!("/v1/payment_intents/{id}")).await;
        }
        let charge = self.get(&format!("/v1/charges/{id}")).await?;
        let intent = text(&charge, "/payment_intent");
        if intent.is_empty() {
            bail!("the charge {id} has no PaymentIntent");
        }
        self.get(&format!("/v1/payment_intents/{intent}")).await
    }

    /// Reads everything that Stripe knows about a purchase.
    ///
    /// # Errors
    /// Fails if a request fails.
    pub(super) async fn payments(&self, purchase: &Purchase) -> Result<Payments> {
        let ordered = purchase.created_at() / 1000;
        let range = format!(
            "created[gte]={}&created[lte]={}",
            ordered.saturating_sub(BEFORE),
            ordered + AFTER
        );
        let mut found = Payments::default();
        let id = purchase.id();
        found.intents = self
            .list("/v1/payment_intents", &range, |intent| {
                text(intent, "/metadata/purchaseId") == id
            })
            .await?;
        for known in purchase.intents() {
            let is_found = |intent: &&Value| text(intent, "/id") == known;
            if !found.intents.iter().any(|intent| is_found(&intent)) {
                let intent = self.get(&format!("/v1/payment_intents/{known}")).await?;
                found.intents.push(intent);
            }
        }
        let intents: Vec<String> = found
            .intents
            .iter()
            .map(|intent| text(intent, "/id").to_owned())
            .collect();
        for intent in &intents {
            let of_intent = format!("payment_intent={intent}");
            for (path, objects) in [
                ("/v1/charges", &mut found.charges),
                ("/v1/refunds", &mut found.refunds),
                ("/v1/disputes", &mut found.disputes),
            ] {
                objects.extend(self.list(path, &of_intent, |_| true).await?);
            }
        }
        let types = WEBHOOK_EVENTS.map(|name| format!("&types[]={name}"));
        let since = format!(
            "created[gte]={}{}",
            ordered.saturating_sub(BEFORE),
            types.concat()
        );
        found.events = self
            .list("/v1/events", &since, |event| {
                let object = |name: &str| text(event, &format!("/data/object/{name}"));
                let names = [object("id"), object("payment_intent")];
                names.iter().any(|name| intents.iter().any(|id| id == name))
            })
            .await?;
        Ok(found)
    }

    /// Reads the charges of a PaymentIntent, the newest first.
    ///
    /// # Errors
    /// Fails if a request fails.
    pub(super) async fn charges(&self, intent: &str) -> Result<Vec<Value>> {
        let of_intent = format!("payment_intent={intent}");
        self.list("/v1/charges", &of_intent, |_| true).await
    }

    /// Refunds a part of a payment. Stripe executes requests with one idempotency key once.
    ///
    /// # Errors
    /// Fails if Stripe refuses the refund.
    pub(super) async fn refund(&self, intent: &str, amount: u64, key: &str) -> Result<Value> {
        let body = Serializer::new(String::new())
            .append_pair("payment_intent", intent)
            .append_pair("amount", &amount.to_string())
            .finish();
        let answer = self.api.post("/v1/refunds", body, &self.key, key).await?;
        object(answer)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        object(self.api.get(path, &self.key).await?)
    }

    /// Reads the objects of a list that `is_wanted` accepts, the newest first.
    async fn list(
        &self,
        path: &str,
        query: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES {
            let page = self
                .get(&format!("{path}?limit=100&{query}{after}"))
                .await?;
            let objects = page.get("data").and_then(Value::as_array);
            let objects = objects.context("the response of Stripe is not a list")?;
            let last = objects.last().map(|last| text(last, "/id").to_owned());
            found.extend(objects.iter().filter(|object| is_wanted(object)).cloned());
            let has_more = page.get("has_more").and_then(Value::as_bool) == Some(true);
            match last {
                Some(last) if has_more => after = format!("&starting_after={last}"),
                _ => return Ok(found),
            }
        }
        bail!(
            "{path} has more than {PAGES} pages since the order; look at the payment in the Stripe Dashboard"
        )
    }
}

/// Whether Stripe may have deleted events about a purchase that was ordered at `ordered`. Both times are in milliseconds
/// since the Unix epoch.
pub(super) fn lacks_events(ordered: u64, now: u64) -> bool {
    now.saturating_sub(ordered) / 1000 > EVENT_RETENTION
}

fn object(answer: StripeAnswer) -> Result<Value> {
    if !answer.is_success() {
        return Err(answer.failure().into());
    }
    Ok(answer.body)
}
