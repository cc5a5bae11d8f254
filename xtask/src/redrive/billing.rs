//! The dead-letter queues of billing-api: Stripe's events, and positions in the stream of the table Purchases.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use aws_smithy_types::body::SdkBody;
use http::{Request, header::CONTENT_TYPE};
use https::{Https, RootCertStore};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::message::Action;
use crate::release::{StageContext, webhook_secret};

/// The function that handles Stripe's events. The messages of its queue are complete events.
const WEBHOOK: &str = "billing-webhook";

/// The function whose dead-letter queue refers to the stream of the table Purchases.
const ANNOUNCER: &str = "billing-purchase-paid";

const RECONCILE: &str = "billing-reconcile";

/// The time limit of a request to the webhook. API Gateway responds within 29 s.
pub(super) const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(40);

/// Returns how a message of the dead-letter queue of `function` is processed again. `None` if the message has none of the
/// formats that only the queues of billing-api have.
pub(super) fn action(function: &str, body: &str, message: &Value) -> Option<Action> {
    let has = |name: &str| message.get(name).is_some();
    if function == WEBHOOK && message.get("object").and_then(Value::as_str) == Some("event") {
        return Some(Action::Deliver(body.to_owned()));
    }
    // https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    if function == ANNOUNCER && has("DDBStreamBatchInfo") {
        return Some(Action::Reconcile);
    }
    // A record of the stream that the function could not parse.
    if function == ANNOUNCER && has("dynamodb") {
        return Some(Action::Invoke(json!({"Records": [message]})));
    }
    None
}

/// What a run needs to process the messages of billing-api.
pub(super) struct Redrive {
    pub(super) webhook: Webhook,
    /// The result of the run's invocation of billing-reconcile, which is enough for all messages.
    reconciled: Option<Result<(), String>>,
}

impl Redrive {
    pub(super) async fn new(context: &StageContext, function: &str) -> Result<Self> {
        let target = &context.target;
        let secret = if function == WEBHOOK {
            webhook_secret(target).await?
        } else {
            None
        };
        let exports = context.stacks.exports().await?;
        let api = exports.get(&format!("scratchpad-{}-ApiUrl", target.stage));
        let url = api.map(|api| target.reachable_url(&exports, api) + "/billing/webhook");
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self {
            webhook: Webhook {
                https: Https::trusting(roots, WEBHOOK_TIMEOUT),
                url,
                secret,
            },
            reconciled: None,
        })
    }
}

impl super::Redrive<'_> {
    /// Invokes billing-reconcile, once in a run.
    pub(super) async fn reconcile(&mut self) -> Result<()> {
        if self.billing.reconciled.is_none() {
            let result = self.invoke(RECONCILE, &json!({})).await;
            self.billing.reconciled = Some(result.map_err(|error| format!("{error:#}")));
        }
        match &self.billing.reconciled {
            Some(Err(error)) => bail!("{error}"),
            _ => Ok(()),
        }
    }
}

/// What is needed to send events to the webhook as Stripe does.
pub(super) struct Webhook {
    pub(super) https: Https,
    /// The URL. `None` if the stage has no API.
    pub(super) url: Option<String>,
    /// The signing secret. `None` if it is not set, or if the queue has no events of Stripe.
    pub(super) secret: Option<String>,
}

impl Webhook {
    /// Signs an event as Stripe does, and sends it to the webhook.
    pub(super) async fn deliver(&self, event: String) -> Result<()> {
        let url = self.url.as_deref();
        let url = url.context("the stage has no API: deploy it first")?;
        let secret = self.secret.as_deref();
        let secret = secret.context("the secret stripe-webhook-secret is not set")?;
        let signature = local_stripe::signature(event.as_bytes(), SystemTime::now(), &[secret]);
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header("stripe-signature", signature)
            .body(SdkBody::from(event))?;
        let response = timeout(WEBHOOK_TIMEOUT, self.https.exchange(request)).await;
        let response = response.context("the webhook did not respond in time")??;
        if !response.status().is_success() {
            bail!(
                "the webhook responded with {}: {}",
                response.status(),
                String::from_utf8_lossy(response.body())
            );
        }
        Ok(())
    }
}
