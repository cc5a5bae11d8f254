//! A test double of Stripe for the local stage and for tests: PaymentIntents with test cards,
//! charges, refunds, disputes, idempotency keys, signed webhooks, Stripe.js for browsers, and fault
//! injection.
//!
//! Each module has a link to the page of Stripe's documentation that it implements.
//!
//! # Differences from Stripe
//!
//! The double rejects what it does not support. In particular, it rejects unknown parameters
//! instead of ignoring them, because an ignored parameter could change what is charged.
//!
//! - The file `README.md` lists the behavior that no source confirms yet.
//! - It supports payments by card in US dollars. Cards are Stripe's
//!   [test cards](https://docs.stripe.com/testing).
//! - It has no customers, so a payment method or a token that was created through the API can be
//!   used only once.
//! - It has no [search](https://docs.stripe.com/search). A list contains a new object
//!   immediately.
//! - It rejects requests that have both a publishable key and an
//!   [idempotency key](https://docs.stripe.com/api/idempotent_requests).
//! - Only PaymentIntents create charges. Test cards and evidence texts
//!   (<https://docs.stripe.com/testing>) determine how refunds and disputes end, some time after the
//!   request ([`Settings::bank_delay`]). A dispute stays open after its deadline.
//! - Events have no `previous_attributes`.
//! - Webhook endpoints use plain HTTP, and receive events of all types.
//! - The control API under `/_double/` does not exist at Stripe. Neither does the route
//!   `authenticate` of a PaymentIntent, which completes a 3-D Secure challenge in place of the page
//!   of the card's bank.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use local_stripe::{Failure, Settings, Stripe};
//!
//! let stripe = Stripe::start(0, Settings::default()).await?;
//! stripe.inject(Failure::on("POST", "/v1/payment_intents").times(1).drop_response());
//! // … run the code under test with `stripe.url()` and `stripe.secret_key()` …
//! assert!(stripe.charges().is_empty());
//! # Ok(())
//! # }
//! ```

mod api;
mod authentication;
mod browser;
mod caller;
mod card;
mod charge;
mod clock;
mod command;
mod control;
mod dispute;
mod error;
mod failure;
mod idempotency;
mod json;
mod ledger;
mod pagination;
mod params;
mod payment_intent;
mod payment_method;
mod refund;
mod response;
mod server;
mod settings;
mod shared;
mod webhook;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::authentication::Authentication;
pub use crate::charge::Charge;
pub use crate::error::StatusError;
pub use crate::failure::Failure;
pub use crate::settings::{API_VERSION, Settings};
pub use crate::shared::Call;
pub use crate::webhook::{Delivery, Webhook, WebhookError, signature};

use crate::shared::Shared;

/// A running Stripe test double. Its server stops when this value is dropped.
#[derive(Debug)]
pub struct Stripe {
    address: SocketAddr,
    secret_key: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Stripe {
    /// Starts a Stripe test double on the loopback interface, on `port`, or on any free port if
    /// `port` is 0. The double runs on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if the port is in use.
    pub async fn start(port: u16, settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let secret_key = settings.secret_key.clone();
        let shared = Arc::new(Shared::new(settings));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            secret_key,
            shared,
            server,
        })
    }

    /// The base URL that replaces `https://api.stripe.com`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The secret API key that the test double accepts.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Injects a fault into later calls. If several injected faults match a call, only the fault
    /// that was injected first applies to the call.
    pub fn inject(&self, failure: Failure) {
        self.shared.state().failures.push(failure);
    }

    /// Removes all faults that were injected with [`Stripe::inject`].
    pub fn clear_failures(&self) {
        self.shared.state().failures.clear();
    }

    /// Sets the time until the bank or the cardholder acts (see [`Settings::bank_delay`]).
    pub fn set_bank_delay(&self, delay: Duration) {
        self.shared.state().ledger.bank_delay = delay;
    }

    /// If `hold` is true, each payment that would charge a card from now on gets the status
    /// `processing` instead. [`Stripe::process`] then charges the card.
    pub fn hold_payments(&self, hold: bool) {
        self.shared.state().ledger.hold = hold;
    }

    /// Charges the card of the PaymentIntent `id`, whose status is `processing`. Returns the API
    /// object of the PaymentIntent.
    ///
    /// # Errors
    ///
    /// Fails if there is no such PaymentIntent or its status is not `processing`.
    pub fn process(&self, id: &str) -> Result<Value, StatusError> {
        self.shared.process(id)
    }

    /// Sets the webhook endpoint that receives all events from now on, including retries of events
    /// that an earlier endpoint did not accept. None stops all deliveries.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.shared.state().webhook = webhook;
    }

    /// Ends the 3-D Secure challenge of the PaymentIntent `id` with the given result. Returns the
    /// API object of the PaymentIntent.
    ///
    /// # Errors
    ///
    /// Fails if there is no such PaymentIntent or its status is not `requires_action`.
    pub fn authenticate(
        &self,
        id: &str,
        authentication: Authentication,
    ) -> Result<Value, StatusError> {
        self.shared.authenticate(id, authentication)
    }

    /// Sends the event with the id `event` to the current webhook endpoint once more. Returns None
    /// if there is no such event or no endpoint.
    pub async fn redeliver(&self, event: &str) -> Option<Delivery> {
        self.shared.redeliver(event).await
    }

    /// The current time, according to the test double's clock.
    pub fn now(&self) -> SystemTime {
        self.shared.clock.now()
    }

    /// Moves the test double's clock forward by `by`. The clock controls the expiry of idempotency
    /// keys, the retries of deliveries, the bank delay and the delays of injected
    /// faults.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// The API objects of all PaymentIntents, oldest first.
    pub fn payment_intents(&self) -> Vec<Value> {
        self.shared.state().ledger.intents()
    }

    /// All attempts to charge a card, oldest first.
    pub fn charges(&self) -> Vec<Charge> {
        self.shared.state().ledger.charges.clone()
    }

    /// The API objects of all refunds, oldest first.
    pub fn refunds(&self) -> Vec<Value> {
        self.shared.state().ledger.refund_objects()
    }

    /// The API objects of all disputes, oldest first.
    pub fn disputes(&self) -> Vec<Value> {
        self.shared.state().ledger.dispute_objects()
    }

    /// The API objects of all events, oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.shared.state().ledger.events.clone()
    }

    /// All calls that the API received, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// All attempts to deliver events to a webhook endpoint, in the order in which the attempts
    /// ended.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.clone()
    }
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.server.abort();
        self.shared.stop();
    }
}
