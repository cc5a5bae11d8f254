//! The proxy that receives all calls of the functions, forwards the calls to the services, and injects
//! failures.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};

use hyper::body::Bytes;
use hyper::http::request::Parts;
use test_support::proxy::{self, HttpResponse, Lost};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::call::{CHARGE, Call};
use crate::cloud::Cloud;
use crate::cpu_slot::CpuSlot;
use crate::failure::{Failure, Fault};
use crate::mutation::Mutation;

/// One invocation of a function (a run), and the calls that the function makes until it responds or exits. If the
/// invocation includes a cold start, the calls include those of the init phase.
#[derive(Debug, Default)]
struct Run {
    function: &'static str,
    /// The number of the invocation: 1 for the function's first invocation in the simulation.
    number: usize,
    calls: Vec<Call>,
}

struct State {
    run: Run,
    /// The failures to inject. The flag is true if the failure has been injected.
    faults: Vec<(Fault, bool)>,
    /// The form body of the first call that charges a card.
    charge: Option<String>,
    /// The names of the calls that charge or refund a card without an idempotency key.
    without_key: Vec<String>,
}

/// The proxy of one simulation. Only one function runs at a time in a simulation.
pub(crate) struct Proxy {
    cloud: Arc<Cloud>,
    mutation: Mutation,
    cpu_slot: Arc<CpuSlot>,
    state: Mutex<State>,
    kill: Notify,
}

impl Proxy {
    pub(crate) fn new(
        cloud: Arc<Cloud>,
        mutation: Mutation,
        faults: Vec<Fault>,
        cpu_slot: Arc<CpuSlot>,
    ) -> Self {
        let faults = faults.into_iter().map(|fault| (fault, false)).collect();
        let run = Run::default();
        Self {
            cloud,
            mutation,
            cpu_slot,
            state: Mutex::new(State {
                run,
                faults,
                charge: None,
                without_key: Vec::new(),
            }),
            kill: Notify::new(),
        }
    }

    /// Starts to listen on a free port. Returns the URL and the server's task. The functions use the URL as the
    /// endpoint of both AWS and Stripe.
    pub(crate) async fn listen(self: &Arc<Self>) -> (String, JoinHandle<()>) {
        let proxy = Arc::clone(self);
        proxy::listen(move |head, body| Arc::clone(&proxy).handle(head, body)).await
    }

    /// Starts to record the calls of the invocation `number` of `function`. Discards the calls of the previous
    /// invocation.
    pub(crate) fn begin(&self, function: &'static str, number: usize) {
        self.state.lock().unwrap().run = Run {
            function,
            number,
            calls: Vec::new(),
        };
    }

    /// Returns the names of the calls in the latest invocation, without retries.
    pub(crate) fn calls(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .run
            .calls
            .iter()
            .map(|call| call.name.clone())
            .collect()
    }

    /// Returns the form body of the first call that charged a card. `None` if there was none.
    pub(crate) fn charge(&self) -> Option<String> {
        self.state.lock().unwrap().charge.clone()
    }

    /// Returns the names of the calls that charge or refund a card without an idempotency key.
    pub(crate) fn without_key(&self) -> Vec<String> {
        self.state.lock().unwrap().without_key.clone()
    }

    /// Waits until a call gets a failure that kills the function ([`Failure::KilledBefore`] or
    /// [`Failure::KilledAfter`]).
    pub(crate) async fn killed(&self) {
        self.kill.notified().await;
    }

    /// Returns the failures that have not been injected yet.
    pub(crate) fn pending_faults(&self) -> Vec<Fault> {
        let state = self.state.lock().unwrap();
        let pending = state.faults.iter().filter(|(_, happened)| !happened);
        pending.map(|(fault, _)| fault.clone()).collect()
    }

    async fn handle(self: Arc<Self>, head: Parts, body: Bytes) -> Result<HttpResponse, Lost> {
        let call = Call::new(head, body, |shard| self.cloud.is_due(shard));
        let function = self.state.lock().unwrap().run.function;
        let sent = self.mutation.mutate(&call);
        if sent.creates_payment() && !sent.head.headers.contains_key("idempotency-key") {
            let mut state = self.state.lock().unwrap();
            state.without_key.push(sent.name.clone());
        }
        let response = self.forward(call.clone(), sent).await?;
        // The function with the bug ignores the result of the publication.
        if let Some(publication) =
            self.mutation
                .publication(function, &call, &response, &self.cloud)
        {
            let _ = self.forward(publication.clone(), publication).await;
        }
        Ok(response)
    }

    /// Records `call`, and sends `sent` to the service in place of `call`. Injects a failure if a fault applies to
    /// `call`.
    async fn forward(self: &Arc<Self>, call: Call, sent: Call) -> Result<HttpResponse, Lost> {
        let failure = self.record(call);
        let cloud = Arc::clone(&self.cloud);
        match failure {
            Some(Failure::KilledBefore) => match self.kill_function().await {},
            // From here on, the function waits until its own timeout and needs no CPU.
            Some(failure) if failure != Failure::KilledAfter => self.cpu_slot.release(),
            _ => (),
        }
        // Execute the call in its own task, because a service executes a call even if the caller no longer waits.
        let executed = tokio::spawn(async move {
            match failure {
                Some(Failure::Throttled) => cloud.throttle(sent).await,
                Some(Failure::Failed) => cloud.fail(sent, true).await,
                Some(Failure::FailedUndone) => cloud.fail(sent, false).await,
                _ => cloud.execute(sent).await,
            }
        });
        let response = executed.await.map_err(|_| Lost)?;
        match failure {
            Some(Failure::KilledAfter) => match self.kill_function().await {},
            Some(Failure::Lost | Failure::LostOnce) => Err(Lost),
            // The caller closes the connection after its timeout, which cancels this future.
            Some(Failure::Late | Failure::LateOnce) => pending().await,
            _ => Ok(response),
        }
    }

    /// Records a call of the current invocation. Returns the failure to inject into the call. `None` if the call does
    /// not fail.
    fn record(&self, call: Call) -> Option<Failure> {
        let mut state = self.state.lock().unwrap();
        let State {
            run,
            faults,
            charge,
            ..
        } = &mut *state;
        let name = call.name.clone();
        if name == CHARGE {
            charge.get_or_insert_with(|| String::from_utf8(call.body.to_vec()).unwrap());
        }
        let earlier = run
            .calls
            .iter()
            .position(|earlier| call.is_retry_of(earlier));
        let at = earlier.unwrap_or_else(|| {
            run.calls.push(call);
            run.calls.len() - 1
        });
        let same_name = run.calls[..=at].iter().filter(|call| call.name == name);
        let nth = same_name.count();
        if earlier.is_some() {
            // The function waits before a retry.
            self.cpu_slot.release();
        }
        let (fault, happened) = faults.iter_mut().find(|(fault, _)| {
            (fault.function, fault.run, &fault.call, fault.nth)
                == (run.function, run.number, &name, nth)
        })?;
        if earlier.is_some() && !fault.failure.is_persistent() {
            return None;
        }
        *happened = true;
        Some(fault.failure)
    }

    async fn kill_function(&self) -> Infallible {
        self.kill.notify_one();
        pending().await
    }
}
