//! What is between the functions and the outside: the proxy through which all their calls go, and
//! where calls fail.

use std::convert::Infallible;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use hyper::body::Incoming;
use hyper::{Request, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::broken::Broken;
use crate::call::Call;
use crate::cloud::{Answer, Cloud};
use crate::failure::{Failure, Fault};
use crate::place::Place;

/// The run of a function: from the event that it is given until it has answered or is gone. What it
/// calls at its start belongs to its first run.
#[derive(Debug, Default)]
struct Run {
    function: &'static str,
    /// Counted from 1, for each function.
    number: usize,
    calls: Vec<Call>,
}

struct State {
    run: Run,
    /// Each with whether it has happened.
    faults: Vec<(Fault, bool)>,
}

/// The wire of one life, in which one function runs at a time.
pub(crate) struct Wire {
    cloud: Arc<Cloud>,
    broken: Broken,
    place: Arc<Place>,
    state: Mutex<State>,
    kill: Notify,
}

/// There is no answer: the connection breaks.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

impl Wire {
    pub(crate) fn new(
        cloud: Arc<Cloud>,
        broken: Broken,
        faults: Vec<Fault>,
        place: Arc<Place>,
    ) -> Self {
        let faults = faults.into_iter().map(|fault| (fault, false)).collect();
        let run = Run::default();
        Self {
            cloud,
            broken,
            place,
            state: Mutex::new(State { run, faults }),
            kill: Notify::new(),
        }
    }

    /// Listens at an address of its own, which takes the place of AWS and of Stripe alike.
    pub(crate) async fn listen(self: &Arc<Self>) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let wire = Arc::clone(self);
        let server = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                // Without it, the two writes of an answer wait for each other's receipt.
                let _ = connection.set_nodelay(true);
                let wire = Arc::clone(&wire);
                let service = service_fn(move |request| Arc::clone(&wire).answer(request));
                let connection = TokioIo::new(connection);
                let http = server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(connection, service));
            }
        });
        (url, server)
    }

    /// A function begins to run.
    pub(crate) fn begin(&self, function: &'static str, number: usize) {
        self.state.lock().unwrap().run = Run {
            function,
            number,
            calls: Vec::new(),
        };
    }

    /// What the function that ran last has called, without repetitions.
    pub(crate) fn calls(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .run
            .calls
            .iter()
            .map(|call| call.name.clone())
            .collect()
    }

    /// Waits until the function that runs is to be killed.
    pub(crate) async fn killed(&self) {
        self.kill.notified().await;
    }

    /// The faults that have not happened.
    pub(crate) fn unmet(&self) -> Vec<Fault> {
        let state = self.state.lock().unwrap();
        let unmet = state.faults.iter().filter(|(_, happened)| !happened);
        unmet.map(|(fault, _)| fault.clone()).collect()
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Lost> {
        let call = Call::read(request).await.ok_or(Lost)?;
        let function = self.state.lock().unwrap().run.function;
        let sent = self.broken.sends(&call);
        let answer = self.meet(call.clone(), sent).await?;
        // Whatever comes of that, a function that is broken in this way goes on.
        if let Some(publication) = self.broken.publishes(function, &call, &answer, &self.cloud) {
            let _ = self.meet(publication.clone(), publication).await;
        }
        Ok(answer)
    }

    /// Has `call` meet its fate, `sent` being what is carried out.
    async fn meet(self: &Arc<Self>, call: Call, sent: Call) -> Result<Answer, Lost> {
        let failure = self.fate(call);
        let cloud = Arc::clone(&self.cloud);
        match failure {
            Some(Failure::KilledBefore) => match self.die().await {},
            // From here on the function waits for its own patience to end, and takes no CPU.
            Some(failure) if failure != Failure::KilledAfter => self.place.leave(),
            _ => (),
        }
        // On its own: what has reached a service is carried out whether or not the caller waits.
        let carried_out = tokio::spawn(async move {
            match failure {
                Some(Failure::Throttled) => cloud.throttle(sent).await,
                Some(Failure::Failed) => cloud.fail(sent).await,
                _ => cloud.carry_out(sent).await,
            }
        });
        let answer = carried_out.await.map_err(|_| Lost)?;
        match failure {
            Some(Failure::KilledAfter) => match self.die().await {},
            Some(Failure::Lost | Failure::LostOnce) => Err(Lost),
            // Who has stopped waiting has closed the connection, which ends this.
            Some(Failure::Late | Failure::LateOnce) => pending().await,
            _ => Ok(answer),
        }
    }

    /// Notes a call, and says how it fails, if it does.
    fn fate(&self, call: Call) -> Option<Failure> {
        let mut state = self.state.lock().unwrap();
        let State { run, faults } = &mut *state;
        let name = call.name.clone();
        let earlier = run.calls.iter().position(|earlier| call.repeats(earlier));
        let at = earlier.unwrap_or_else(|| {
            run.calls.push(call);
            run.calls.len() - 1
        });
        let namesakes = run.calls[..=at].iter().filter(|call| call.name == name);
        let nth = namesakes.count();
        if earlier.is_some() {
            // Who tries again waits between its tries.
            self.place.leave();
        }
        let (fault, happened) = faults.iter_mut().find(|(fault, _)| {
            (fault.function, fault.run, &fault.call, fault.nth)
                == (run.function, run.number, &name, nth)
        })?;
        if earlier.is_some() && !fault.failure.lasts() {
            return None;
        }
        *happened = true;
        Some(fault.failure)
    }

    async fn die(&self) -> Infallible {
        self.kill.notify_one();
        pending().await
    }
}
