//! The HTTP side: a request comes in, is remembered, held up or carried out, and answered.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, CONTENT_TYPE,
    HeaderMap,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::command::Command;
use crate::error::{ApiError, NoChallenge};
use crate::failure::{End, Failure, fate};
use crate::idempotency::{Fingerprint, Keys, Next};
use crate::ledger::{Cause, Ledger, text};
use crate::params::Params;
use crate::webhook::{Delivery, Webhook, seconds};
use crate::{API_VERSION, Authentication, Settings, browser, control};

/// The longest body that is read, in bytes.
const BODY: usize = 1024 * 1024;

/// A call that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its verb.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// Its `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The status that it was answered; none while it runs, and when its connection was closed.
    pub status: Option<u16>,
}

/// An answer as it goes out, and as it is remembered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Value,
    request_id: String,
}

/// All that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) calls: Vec<Call>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) deliveries: Vec<Delivery>,
    keys: Keys,
}

/// What the tasks of a double share.
pub(crate) struct Shared {
    secret_key: String,
    publishable_key: String,
    retries: Vec<Duration>,
    state: Mutex<State>,
    /// How far the double's clock is ahead.
    ahead: watch::Sender<Duration>,
    tasks: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Who calls, by the key that they have (<https://docs.stripe.com/keys>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A server, with the secret key.
    Server,
    /// Anybody, with the publishable key.
    Browser,
}

/// A call that gets no answer.
#[derive(Debug, thiserror::Error)]
#[error("closed on request")]
pub(crate) struct Closed;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            secret_key: settings.secret_key,
            publishable_key: settings.publishable_key,
            retries: settings.retries,
            state: Mutex::new(State {
                ledger: Ledger::new(settings.run, settings.search_lag),
                calls: Vec::new(),
                failures: Vec::new(),
                webhook: settings.webhook,
                deliveries: Vec::new(),
                keys: Keys::default(),
            }),
            ahead: watch::Sender::new(Duration::ZERO),
            tasks: Mutex::new(JoinSet::new()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn now(&self) -> SystemTime {
        SystemTime::now() + *self.ahead.borrow()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ahead
            .send_modify(|ahead| *ahead = ahead.saturating_add(by));
    }

    /// Waits until the double's clock shows `time`.
    async fn until(&self, time: SystemTime) {
        let mut ahead = self.ahead.subscribe();
        while let Ok(left) = time.duration_since(self.now()) {
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = ahead.changed() => {}
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(crate) fn stop(&self) {
        lock(&self.tasks).abort_all();
    }

    /// Changes the ledger, and sends the events that this makes.
    pub(crate) fn transact<T>(
        self: &Arc<Self>,
        state: &mut State,
        request: Option<(&str, Option<&str>)>,
        change: impl FnOnce(&mut Ledger, &Cause) -> T,
    ) -> T {
        let cause = Cause {
            now: seconds(self.now()),
            request_id: request.map(|(id, _)| id.to_owned()),
            idempotency_key: request.and_then(|(_, key)| key).map(str::to_owned),
            endpoints: state.webhook.iter().len(),
        };
        let known = state.ledger.events.len();
        let outcome = change(&mut state.ledger, &cause);
        if state.webhook.is_some() {
            for event in state.ledger.events.iter().skip(known) {
                self.spawn(Arc::clone(self).deliver(event.clone()));
            }
        }
        outcome
    }

    async fn deliver(self: Arc<Self>, event: Value) {
        let mut retries = self.retries.iter();
        loop {
            let Some(delivery) = self.attempt(&event).await else {
                return;
            };
            if delivery.is_taken() {
                return;
            }
            let Some(wait) = retries.next() else { return };
            let sent = UNIX_EPOCH + Duration::from_secs(delivery.at);
            self.until(sent + *wait).await;
        }
    }

    /// Sends an event once, to the endpoint of the moment if there is one.
    pub(crate) async fn attempt(&self, event: &Value) -> Option<Delivery> {
        let webhook = self.state().webhook.clone()?;
        let at = self.now();
        let outcome = webhook.post(event.to_string().into(), at).await;
        let delivery = Delivery {
            event: text(event, "id").to_owned(),
            kind: text(event, "type").to_owned(),
            at: seconds(at),
            status: outcome.as_ref().ok().copied(),
            error: outcome.err(),
        };
        self.state().deliveries.push(delivery.clone());
        Some(delivery)
    }

    /// Sends an event that is known to the endpoint that there is.
    pub(crate) async fn redeliver(&self, id: &str) -> Option<Delivery> {
        let event = self.state().ledger.event(id).cloned()?;
        self.attempt(&event).await
    }

    /// Has the holder of a card answer the challenge of an intent.
    pub(crate) fn authenticate(
        self: &Arc<Self>,
        id: &str,
        authentication: Authentication,
    ) -> Result<Value, NoChallenge> {
        let mut state = self.state();
        let intent = self.transact(&mut state, None, |ledger, cause| {
            ledger.authenticate(id, authentication, cause)
        })?;
        Ok(intent)
    }

    async fn call(
        self: Arc<Self>,
        parts: Parts,
        body: Incoming,
    ) -> Result<Response<Full<Bytes>>, Closed> {
        let body = Limited::new(body, BODY).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes);
        let path = parts.uri.path().to_owned();
        // One that can't be read is refused as an empty one is: without it the call might charge twice
        let key = parts.headers.get("idempotency-key");
        let key = key.filter(|_| parts.method == Method::POST);
        let key = key.map(|key| key.to_str().unwrap_or_default());
        let (number, request_id, fate, due) = {
            let mut state = self.state();
            state.calls.push(Call {
                method: parts.method.to_string(),
                path: path.clone(),
                idempotency_key: key.map(str::to_owned),
                status: None,
            });
            let request_id = state.ledger.id("req");
            let fate = fate(&mut state.failures, parts.method.as_str(), &path);
            let due = self.now() + fate.delay;
            (state.calls.len() - 1, request_id, fate, due)
        };

        let version = version(&parts.headers).unwrap_or(API_VERSION);
        let begun = body
            .map_err(|_| ApiError::invalid("The request's body can't be read, or is too long."))
            .and_then(|body| self.begin(&parts, key, &body));
        self.until(due).await;
        let injected = match fate.end {
            End::Status(status) => Some(Answer::error(ApiError::injected(status), &request_id)),
            End::Answer | End::Close => None,
        };
        let mut replayed = false;
        let own = match begun {
            Err(error) => Some(Answer::error(error, &request_id)),
            Ok((_, Next::Replay(answer))) => {
                replayed = true;
                Some(answer)
            }
            Ok((command, Next::Execute)) => {
                let mut state = self.state();
                let own = fate.effect.then(|| {
                    let request = Some((request_id.as_str(), key));
                    self.transact(&mut state, request, |ledger, cause| {
                        match ledger.execute(command, cause) {
                            Ok(body) => Answer::new(200, body, &request_id),
                            Err(error) => Answer::error(error, &request_id),
                        }
                    })
                });
                if let Some(key) = key {
                    let failed = injected.clone().filter(|answer| answer.status >= 500);
                    state.keys.end(key, failed.or_else(|| own.clone()));
                }
                own
            }
        };
        let answer = match (fate.end, injected.or(own)) {
            (End::Answer | End::Status(_), Some(answer)) => answer,
            (End::Close, _) | (_, None) => return Err(Closed),
        };
        replayed &= matches!(fate.end, End::Answer);
        if let Some(call) = self.state().calls.get_mut(number) {
            call.status = Some(answer.status);
        }
        Ok(answer.response(&request_id, version, replayed))
    }

    /// Reads a request, and finds what its key is known for.
    fn begin(
        &self,
        parts: &Parts,
        key: Option<&str>,
        body: &[u8],
    ) -> Result<(Command, Next), ApiError> {
        version(&parts.headers)?;
        let encoded = match parts.method {
            Method::GET => parts.uri.query().unwrap_or_default().as_bytes(),
            _ => body,
        };
        let mut params = Params::parse(encoded);
        let caller = self.identify(&parts.headers, &mut params)?;
        if caller == Caller::Browser && key.is_some() {
            // It would have the double remember what it was sent with: a card's number
            return Err(ApiError::invalid(
                "The double takes no idempotency keys with a publishable key.",
            ));
        }
        let fingerprint = Fingerprint {
            path: parts.uri.path().to_owned(),
            params: params.fingerprint(),
        };
        let command = Command::parse(caller, parts.method.as_str(), parts.uri.path(), params)?;
        let next = match key {
            None => Next::Execute,
            Some(key) if (1..=255).contains(&key.chars().count()) => {
                self.state().keys.begin(key, fingerprint, self.now())?
            }
            Some(_) => {
                return Err(ApiError::invalid(
                    "Idempotency keys have 1 to 255 characters.",
                ));
            }
        };
        Ok((command, next))
    }

    /// Knows a caller by the key in the header, or else, as Stripe.js sends it, by the parameter.
    fn identify(&self, headers: &HeaderMap, params: &mut Params) -> Result<Caller, ApiError> {
        let given = match header(headers, AUTHORIZATION.as_str()) {
            Some(given) => given.strip_prefix("Bearer ").map(str::to_owned),
            None => params.take("key"),
        };
        let given = given.ok_or_else(|| {
            ApiError::unauthorized(
                "You did not provide an API key. You need to provide your API key in the \
                 Authorization header, using Bearer auth (e.g. 'Authorization: Bearer \
                 YOUR_SECRET_KEY').",
            )
        })?;
        if given == self.secret_key {
            return Ok(Caller::Server);
        }
        if given == self.publishable_key {
            return Ok(Caller::Browser);
        }
        let shown: String = given
            .chars()
            .rev()
            .take(4)
            .collect::<Vec<_>>()
            .iter()
            .rev()
            .collect();
        Err(ApiError::unauthorized(format!(
            "Invalid API Key provided: ****{shown}"
        )))
    }
}

impl Answer {
    fn new(status: u16, body: Value, request_id: &str) -> Self {
        let request_id = request_id.to_owned();
        Self {
            status,
            body,
            request_id,
        }
    }

    fn error(error: ApiError, request_id: &str) -> Self {
        Self::new(error.status, error.body(request_id), request_id)
    }

    fn response(self, request_id: &str, version: &str, replayed: bool) -> Response<Full<Bytes>> {
        let mut response = Response::builder()
            .status(self.status)
            .header(CONTENT_TYPE, "application/json")
            .header("Request-Id", request_id)
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
            .header(ACCESS_CONTROL_EXPOSE_HEADERS, "Request-Id")
            .header("Stripe-Version", version);
        // To send again what was answered for good changes nothing
        // (https://docs.stripe.com/error-low-level#retries)
        let retry = match self.status {
            409 => Some("true"),
            _ if replayed => Some("false"),
            400..=404 => Some("false"),
            _ => None,
        };
        if let Some(retry) = retry {
            response = response.header("Stripe-Should-Retry", retry);
        }
        if replayed {
            response = response
                .header("Idempotent-Replayed", "true")
                .header("Original-Request", self.request_id);
        }
        let body = Full::from(self.body.to_string());
        // Its parts are ids of the double's own, and a version that was checked
        response.body(body).unwrap_or_default()
    }
}

/// A header that there is one of, in visible characters.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The version that a request asks for (<https://docs.stripe.com/api/versioning>).
fn version(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(version) = headers.get("stripe-version") else {
        return Ok(API_VERSION);
    };
    let version = version.to_str().unwrap_or_default();
    let (date, name) = version.split_once('.').unwrap_or((version, "name"));
    let date: Vec<_> = date
        .split('-')
        .map(|part| (part.len(), part.parse::<u16>().is_ok()))
        .collect();
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    if date == [(4, true), (2, true), (2, true)] && named {
        Ok(version)
    } else {
        Err(ApiError::invalid(format!(
            "Invalid Stripe API version: {version}"
        )))
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        // Without it, the two writes of an answer wait for each other's receipt
        let _ = connection.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| answer(Arc::clone(&shared), request));
        connections
            .spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    if request.uri().path().starts_with(control::PREFIX) {
        return Ok(control::answer(&shared, request).await);
    }
    if let Some(answer) = browser::answer(request.method(), request.uri().path()) {
        return Ok(answer);
    }
    let (parts, body) = request.into_parts();
    let (answered, answer) = oneshot::channel();
    // On its own, for Stripe carries out what it has received whether or not the caller still waits
    let call = Arc::clone(&shared).call(parts, body);
    shared.spawn(async move {
        let _ = answered.send(call.await);
    });
    answer.await.unwrap_or(Err(Closed))
}
