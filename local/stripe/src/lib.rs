//! What stands in for Stripe on a laptop and in tests: PaymentIntents by card, idempotency keys,
//! signed webhooks, a script for browsers, and failures on request. Money is what it is about, so what it can't do it
//! refuses: it never takes a parameter that it ignores.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use local_stripe::{Failure, Settings, Stripe};
//!
//! let stripe = Stripe::start(0, Settings::default()).await?;
//! stripe.fail(Failure::on("POST", "/v1/payment_intents").times(1).lose_answer());
//! // … call what calls Stripe, with `stripe.url()` and `stripe.secret_key()` …
//! assert!(stripe.charges().is_empty());
//! # Ok(())
//! # }
//! ```

mod browser;
mod card;
mod command;
mod control;
mod error;
mod failure;
mod idempotency;
mod ledger;
mod params;
mod search;
mod server;
mod wallet;
mod webhook;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::error::NoChallenge;
pub use crate::failure::Failure;
pub use crate::ledger::{Authentication, Charge};
pub use crate::server::Call;
pub use crate::webhook::{Delivery, Webhook, WebhookError, signature};

use crate::server::Shared;

/// The version of the API whose shapes it answers in, that of async-stripe's own types.
pub const API_VERSION: &str = "2026-09-30.endive";

/// What a double is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The API key that callers have to have: `sk_test_double`.
    pub secret_key: String,
    /// The API key by which browsers may make payment methods and tokens, and finish the payments
    /// whose client secrets they know: `pk_test_double`.
    pub publishable_key: String,
    /// Where events go: nowhere.
    pub webhook: Option<Webhook>,
    /// How long it waits before each further attempt to deliver an event: 5 s, a minute, an hour.
    /// As many attempts as in Stripe's sandboxes
    /// (<https://docs.stripe.com/webhooks#automatic-retries>).
    pub retries: Vec<Duration>,
    /// Part of every id, so that those of a double that is started anew are new: 0. With the same
    /// number, the same calls get the same ids.
    pub run: u32,
    /// How far what search finds is behind, by the double's clock: a minute, Stripe's bound for
    /// normal conditions, so that what counts on less fails here too. In an outage it may be an hour
    /// (<https://docs.stripe.com/search#data-freshness>).
    pub search_lag: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            secret_key: "sk_test_double".to_owned(),
            publishable_key: "pk_test_double".to_owned(),
            webhook: None,
            retries: [5, 60, 3600].map(Duration::from_secs).to_vec(),
            run: 0,
            search_lag: Duration::from_secs(60),
        }
    }
}

/// A running double. It ends when this is dropped.
#[derive(Debug)]
pub struct Stripe {
    address: SocketAddr,
    secret_key: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Stripe {
    /// Starts one on the loopback interface: on `port`, or with 0 on any that is free. It serves
    /// from the runtime in which it was started.
    ///
    /// # Errors
    ///
    /// When the port is taken.
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

    /// What stands in for `https://api.stripe.com`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The API key that it takes.
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Has calls go wrong. Of several failures that concern a call, the one asked for first happens.
    pub fn fail(&self, failure: Failure) {
        self.shared.state().failures.push(failure);
    }

    /// Has no more calls go wrong.
    pub fn heal(&self) {
        self.shared.state().failures.clear();
    }

    /// Has what search finds be so far behind from now on.
    pub fn set_search_lag(&self, lag: Duration) {
        self.shared.state().ledger.search_lag = lag;
    }

    /// Sends events to `webhook` from now on, also those that are still to be tried again.
    pub fn set_webhook(&self, webhook: Option<Webhook>) {
        self.shared.state().webhook = webhook;
    }

    /// Has the holder of the card answer the challenge of the PaymentIntent with this id, and gives
    /// what becomes of it.
    ///
    /// # Errors
    ///
    /// When there is no such intent, or it waits for no answer.
    pub fn authenticate(
        &self,
        id: &str,
        authentication: Authentication,
    ) -> Result<Value, NoChallenge> {
        self.shared.authenticate(id, authentication)
    }

    /// Sends the event with this id once more, now; none when there is no such event, or nowhere to
    /// send it.
    pub async fn redeliver(&self, event: &str) -> Option<Delivery> {
        self.shared.redeliver(event).await
    }

    /// The time on the double's clock.
    pub fn now(&self) -> SystemTime {
        self.shared.now()
    }

    /// Puts the double's clock forward: idempotency keys expire and deliveries fall due by it.
    pub fn advance(&self, by: Duration) {
        self.shared.advance(by);
    }

    /// All PaymentIntents, oldest first, as the API shows them.
    pub fn payment_intents(&self) -> Vec<Value> {
        self.shared.state().ledger.intents()
    }

    /// All attempts to charge a card, oldest first.
    pub fn charges(&self) -> Vec<Charge> {
        self.shared.state().ledger.charges.clone()
    }

    /// All events, oldest first, as they are sent.
    pub fn events(&self) -> Vec<Value> {
        self.shared.state().ledger.events.clone()
    }

    /// All calls of the API, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// All attempts to deliver events, in the order in which they ended.
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
