//! The faults of Stripe and of its events.

use std::time::Duration;

use fastrand::Rng;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::Shared;
use crate::faults::{Fault, Injector, Kind, Planned, any};
use crate::ledger::now;

/// A failure of payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PaymentFault {
    /// Stripe responds late.
    SlowStripe,
    /// Stripe responds with this status, or does not respond (0). The calls take effect or not.
    FailingStripe { status: u16, effect: bool },
    /// Stripe's events do not reach the webhook. They are delivered again at the end, as Stripe does for three days.
    LostWebhooks,
    /// Stripe charges a card for a purchase that is already paid.
    SecondCharge,
    /// Somebody sends an event that Stripe has not signed.
    ForgedEvent,
}

impl PaymentFault {
    /// The name of the kind of fault.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SlowStripe => "slow Stripe",
            Self::FailingStripe { .. } => "failing Stripe",
            Self::LostWebhooks => "lost webhook deliveries",
            Self::SecondCharge => "second charge",
            Self::ForgedEvent => "forged event",
        }
    }

    /// The suffixes of the names of the alarms that the fault may raise.
    pub(crate) fn possible_alarms(self) -> &'static [&'static str] {
        match self {
            Self::SlowStripe | Self::FailingStripe { .. } => &["-errors", "-lag", "-dead-letters"],
            Self::LostWebhooks => &["pending-purchases"],
            Self::SecondCharge => &["surplus-charges"],
            Self::ForgedEvent => &["rejected-events"],
        }
    }

    /// The name of the alarm that the fault must raise. `None` if it depends on the load.
    pub(crate) fn required_alarm(self) -> Option<String> {
        match self {
            Self::SecondCharge => Some("surplus-charges".into()),
            Self::ForgedEvent => Some("rejected-events".into()),
            _ => None,
        }
    }
}

/// The kinds of faults.
pub(crate) const KINDS: &[Kind] = &[
    |_| (Fault::Payments(PaymentFault::SlowStripe), 5..12),
    |random| {
        let status = any(random, &[0, 429, 500, 503]);
        let effect = random.bool() && status != 429;
        let fault = PaymentFault::FailingStripe { status, effect };
        (Fault::Payments(fault), 4..10)
    },
    |_| (Fault::Payments(PaymentFault::LostWebhooks), 5..15),
    |_| (Fault::Payments(PaymentFault::SecondCharge), 1..2),
    |_| (Fault::Payments(PaymentFault::ForgedEvent), 1..2),
];

impl Injector {
    /// Injects a fault for the time that is planned. Returns whether it took effect.
    pub(crate) async fn fail_payments(
        &self,
        fault: PaymentFault,
        planned: &Planned,
        shared: &Shared,
        random: &mut Rng,
    ) -> bool {
        match fault {
            PaymentFault::SlowStripe => {
                let delay = random.u32(1_000..6_000);
                self.fail_stripe(json!({"delay_ms": delay})).await;
                shared.pause(planned.lasts).await;
            }
            PaymentFault::FailingStripe { status, effect } => {
                let end = match status {
                    0 => json!("close"),
                    status => json!({"status": status}),
                };
                self.fail_stripe(json!({"end": end, "effect": effect}))
                    .await;
                shared.pause(planned.lasts).await;
            }
            PaymentFault::LostWebhooks => {
                self.control(Method::DELETE, "webhook", &Value::Null).await;
                shared.pause(planned.lasts).await;
            }
            PaymentFault::SecondCharge => return self.owner.charge_again(random.u64(..)).await,
            PaymentFault::ForgedEvent => return self.forge_event().await,
        }
        true
    }

    /// Removes all faults.
    pub(crate) async fn clear_payments(&self) {
        self.control(Method::DELETE, "failures", &Value::Null).await;
        let url = format!("{}/billing/webhook", self.stage.api_url);
        let webhook = json!({"url": url, "secrets": [self.owner.webhook_secret]});
        self.control(Method::PUT, "webhook", &webhook).await;
    }

    async fn control(&self, method: Method, path: &str, body: &Value) {
        // The local Stripe runs until the end, so a failed call shows in the comparison.
        self.owner.control(method, path, body).await;
    }

    /// Makes all calls of the functions to Stripe fail. `failure` has the fields of a failure in the control API.
    async fn fail_stripe(&self, failure: Value) {
        let mut whole = json!({"method": "*", "path": "/v1/*"});
        if let (Some(whole), Value::Object(failure)) = (whole.as_object_mut(), failure) {
            whole.extend(failure);
        }
        self.control(Method::POST, "failures", &whole).await;
    }

    async fn forge_event(&self) -> bool {
        let url = format!("{}/billing/webhook", self.stage.api_url);
        let signature = format!("t={},v1={}", now() / 1_000, "0".repeat(64));
        let event = self.client.post(url).header("stripe-signature", signature);
        let event = event.json(&json!({"id": "evt_forged", "type": "payment_intent.succeeded"}));
        let response = event.timeout(Duration::from_secs(30)).send().await;
        response.is_ok_and(|response| response.status().as_u16() == 400)
    }
}
