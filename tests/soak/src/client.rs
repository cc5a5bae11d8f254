//! A client that repeats requests until they are acknowledged, as a good client does, and counts the responses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use test_support::http::{Request, Response};
use test_support::stage::{Person, Stage};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

/// The time limit of an attempt. API Gateway responds within 29 s.
const ATTEMPT: Duration = Duration::from_secs(35);

/// How long a client repeats a request before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client repeats a request after the load has ended.
const FINAL_PATIENCE: Duration = Duration::from_secs(45);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stage: &'static Stage,
    counts: Mutex<Counts>,
    /// The e-mail addresses of all users.
    users: Mutex<BTreeSet<String>>,
    /// Whether and since when the load has ended.
    ended: watch::Sender<Option<Instant>>,
    /// The share of responses that do not reach the client.
    lost: f64,
}

/// The responses to the attempts of all clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// The number of attempts, by the kind of request and the status of the response. 0 means no response.
    pub(crate) statuses: BTreeMap<&'static str, BTreeMap<u16, u64>>,
    /// The durations of the attempts with a response, in milliseconds, by the kind of request.
    pub(crate) latencies: BTreeMap<&'static str, Vec<u32>>,
    /// The number of operations that a client gave up.
    pub(crate) given_up: u64,
}

impl Counts {
    /// The number of attempts.
    pub(crate) fn requests(&self) -> u64 {
        self.statuses.values().flat_map(BTreeMap::values).sum()
    }
}

impl Shared {
    /// `lost` is the share of responses that do not reach the client.
    pub(crate) fn new(stage: &'static Stage, lost: f64) -> Arc<Self> {
        Arc::new(Self {
            stage,
            counts: Mutex::default(),
            users: Mutex::default(),
            ended: watch::Sender::new(None),
            lost,
        })
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The e-mail addresses of all users.
    pub(crate) fn users(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the load: users begin no new operation, and give up soon.
    pub(crate) fn end(&self) {
        self.ended.send_replace(Some(Instant::now()));
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for `duration`, or until the load ends.
    pub(crate) async fn pause(&self, duration: Duration) {
        let mut ended = self.ended.subscribe();
        // An error means that the sender is dropped, which happens only at the end of the program.
        let _ = timeout(duration, ended.wait_for(Option::is_some)).await;
    }
}

/// A user's client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) person: Person<'static>,
    pub(crate) random: Rng,
}

/// The final response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Whether an earlier attempt may have taken effect.
    pub(crate) is_repeated: bool,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }

    /// The JSON body. Null if the body is not JSON.
    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.response.body).unwrap_or_default()
    }

    /// A text in the JSON body. Empty if the body has no such text.
    pub(crate) fn text(&self, field: &str) -> String {
        self.body()[field].as_str().unwrap_or_default().to_owned()
    }
}

/// What a client does after an attempt.
enum Next {
    Finish,
    SignIn,
    RepeatAfter(Option<Duration>),
}

impl Client {
    /// Signs up a new user. Tries again until it succeeds. `None` if the load ended before.
    pub(crate) async fn sign_up(shared: &Arc<Shared>, mut random: Rng) -> Option<Self> {
        while !shared.has_ended() {
            let stage = shared.stage;
            let started = Instant::now();
            // A helper of the tests panics if it fails. In a task of its own, that is an error of the task.
            let person = spawn_local(Person::sign_up(stage)).await;
            count(
                shared,
                "sign up",
                started,
                person.as_ref().map_or(0, |_| 200),
            );
            if let Ok(person) = person {
                shared.users().insert(person.email.clone());
                return Some(Self {
                    shared: Arc::clone(shared),
                    person,
                    random,
                });
            }
            shared
                .pause(Duration::from_millis(random.u64(500..3000)))
                .await;
        }
        None
    }

    /// Signs in again, because the credentials are not accepted any more.
    async fn sign_in(&mut self) {
        let email = self.person.email.clone();
        let started = Instant::now();
        let person = spawn_local(Person::sign_in(self.shared.stage, email)).await;
        count(
            &self.shared,
            "sign in",
            started,
            person.as_ref().map_or(0, |_| 200),
        );
        if let Ok(person) = person {
            self.person = person;
        }
    }

    /// Sends the request that `request` creates until the response is final. `kind` is the request's method and route.
    /// `None` if the client gave up: the request may or may not have taken effect.
    pub(crate) async fn send(
        &mut self,
        kind: &'static str,
        request: impl Fn(&Person<'static>) -> Request,
    ) -> Option<Answer> {
        let first = Instant::now();
        let (mut pause, mut is_repeated) = (Duration::from_millis(100), false);
        loop {
            let started = Instant::now();
            let attempt = request(&self.person).attempt();
            let response = match self.random.f64() < self.shared.lost {
                true => {
                    // The stage handles the request, but the client does not see the response.
                    spawn_local(attempt);
                    None
                }
                false => timeout(ATTEMPT, attempt).await.ok().and_then(Result::ok),
            };
            let status = response.as_ref().map_or(0, |response| response.status);
            count(&self.shared, kind, started, status);
            let wait = match (next(response.as_ref()), response) {
                (Next::Finish, Some(response)) => {
                    return Some(Answer {
                        response,
                        is_repeated,
                    });
                }
                (Next::SignIn, _) => {
                    self.sign_in().await;
                    None
                }
                (Next::RepeatAfter(wait), _) => wait,
                (Next::Finish, None) => None,
            };
            is_repeated |= status == 0 || status >= 500;
            let is_patient = match *self.shared.ended.borrow() {
                Some(ended) => ended.elapsed() < FINAL_PATIENCE,
                None => true,
            };
            if first.elapsed() > PATIENCE || !is_patient {
                self.shared.counts().given_up += 1;
                return None;
            }
            let jitter = 0.5 + self.random.f64();
            sleep(wait.unwrap_or(pause).mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn next(response: Option<&Response>) -> Next {
    let Some(response) = response else {
        return Next::RepeatAfter(None);
    };
    let after = response.header("retry-after");
    let after = after.and_then(|after| after.parse().ok());
    let after = after.map(Duration::from_secs);
    match (response.status, after) {
        (403, _) => Next::SignIn,
        (409 | 429, Some(after)) if after > PATIENCE => Next::Finish,
        (409, None) => Next::Finish,
        (409 | 429 | 500.., after) => Next::RepeatAfter(after),
        _ => Next::Finish,
    }
}

/// Counts an attempt.
fn count(shared: &Shared, kind: &'static str, started: Instant, status: u16) {
    let mut counts = shared.counts();
    let statuses = counts.statuses.entry(kind).or_default();
    *statuses.entry(status).or_default() += 1;
    if status != 0 {
        let latency = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        counts.latencies.entry(kind).or_default().push(latency);
    }
}
