//! The state that the API, the control API and [`Stripe`](crate::Stripe) share, and the delivery of
//! events.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::authentication::Authentication;
use crate::caller::Caller;
use crate::clock::{Clock, unix_seconds};
use crate::error::StatusError;
use crate::failure::Failure;
use crate::idempotency::IdempotencyRecords;
use crate::json::str_field;
use crate::ledger::{BankAction, EventContext, Ledger};
use crate::settings::Settings;
use crate::webhook::{Delivery, Webhook};

/// A call that the API received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path of the URL, without the query.
    pub path: String,
    /// The `Idempotency-Key` header of a POST request. None if the request has no such header.
    pub idempotency_key: Option<String>,
    /// The status of the response. None while the call is in progress, or if the connection was
    /// closed without a response.
    pub status: Option<u16>,
}

/// The mutable state of a Stripe test double.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) calls: Vec<Call>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) idempotency: IdempotencyRecords,
}

/// The configuration, the state and the background tasks of a Stripe test double.
pub(crate) struct Shared {
    secret_key: String,
    publishable_key: String,
    retries: Vec<Duration>,
    state: Mutex<State>,
    pub(crate) clock: Clock,
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                ledger: Ledger::new(&settings),
                calls: Vec::new(),
                failures: Vec::new(),
                webhook: settings.webhook,
                deliveries: Vec::new(),
                idempotency: IdempotencyRecords::default(),
            }),
            secret_key: settings.secret_key,
            publishable_key: settings.publishable_key,
            retries: settings.retries,
            clock: Clock::default(),
            tasks: Mutex::new(JoinSet::new()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Returns the kind of caller that has this API key. None if the key is unknown.
    pub(crate) fn caller(&self, api_key: &str) -> Option<Caller> {
        if api_key == self.secret_key {
            Some(Caller::Server)
        } else if api_key == self.publishable_key {
            Some(Caller::Browser)
        } else {
            None
        }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Aborts all background tasks: calls in progress and deliveries of events.
    pub(crate) fn stop(&self) {
        lock(&self.tasks).abort_all();
    }

    /// Changes the ledger with `change`. Starts the delivery of the events that the change emits, and
    /// schedules the actions of banks that follow from it. `request` contains the id and the idempotency
    /// key of the request that causes the change.
    pub(crate) fn transact<T>(
        self: &Arc<Self>,
        state: &mut State,
        request: Option<(&str, Option<&str>)>,
        change: impl FnOnce(&mut Ledger, &EventContext) -> T,
    ) -> T {
        let context = EventContext {
            now: unix_seconds(self.clock.now()),
            request_id: request.map(|(id, _)| id.to_owned()),
            idempotency_key: request.and_then(|(_, key)| key).map(str::to_owned),
            endpoints: state.webhook.iter().len(),
        };
        let events_before = state.ledger.events.len();
        let result = change(&mut state.ledger, &context);
        if state.webhook.is_some() {
            for event in state.ledger.events.iter().skip(events_before) {
                self.spawn(Arc::clone(self).deliver(event.clone()));
            }
        }
        let delay = state.ledger.bank_delay;
        for action in std::mem::take(&mut state.ledger.bank_actions) {
            self.spawn(Arc::clone(self).act_as_bank(action, delay));
        }
        result
    }

    /// Carries out an action of a bank after `delay`.
    async fn act_as_bank(self: Arc<Self>, action: BankAction, delay: Duration) {
        self.clock.wait_until(self.clock.now() + delay).await;
        let mut state = self.state();
        self.transact(&mut state, None, |ledger, context| {
            ledger.act_as_bank(action, context);
        });
    }

    /// Sends an event to the webhook endpoint until the endpoint accepts the event or no retries
    /// remain.
    async fn deliver(self: Arc<Self>, event: Value) {
        let mut retries = self.retries.iter();
        loop {
            let Some(delivery) = self.attempt_delivery(&event).await else {
                return;
            };
            if delivery.succeeded() {
                return;
            }
            let Some(delay) = retries.next() else { return };
            let sent = UNIX_EPOCH + Duration::from_secs(delivery.at);
            self.clock.wait_until(sent + *delay).await;
        }
    }

    /// Sends an event once to the current webhook endpoint and records the attempt. None if there
    /// is no endpoint.
    async fn attempt_delivery(&self, event: &Value) -> Option<Delivery> {
        let webhook = self.state().webhook.clone()?;
        let at = self.clock.now();
        let result = webhook.post(event.to_string().into(), at).await;
        let delivery = Delivery {
            event: str_field(event, "id").to_owned(),
            kind: str_field(event, "type").to_owned(),
            at: unix_seconds(at),
            status: result.as_ref().ok().copied(),
            error: result.err(),
        };
        self.state().deliveries.push(delivery.clone());
        Some(delivery)
    }

    /// Sends the event `id` once to the current webhook endpoint. None if there is no such event or
    /// no endpoint.
    pub(crate) async fn redeliver(&self, id: &str) -> Option<Delivery> {
        let event = self.state().ledger.event(id).cloned()?;
        self.attempt_delivery(&event).await
    }

    /// Completes the PaymentIntent `id`, whose status is `processing`. Returns the API object of the
    /// PaymentIntent.
    pub(crate) fn process(self: &Arc<Self>, id: &str) -> Result<Value, StatusError> {
        let mut state = self.state();
        let intent = self.transact(&mut state, None, |ledger, context| {
            ledger.process(id, context)
        })?;
        Ok(intent)
    }

    /// Ends the 3-D Secure challenge of the PaymentIntent `id` with the given result. Returns the
    /// API object of the PaymentIntent.
    pub(crate) fn authenticate(
        self: &Arc<Self>,
        id: &str,
        authentication: Authentication,
    ) -> Result<Value, StatusError> {
        let mut state = self.state();
        let intent = self.transact(&mut state, None, |ledger, context| {
            ledger.authenticate(id, authentication, context)
        })?;
        Ok(intent)
    }
}
