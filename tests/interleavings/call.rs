//! Runs an invocation of a function up to its next calls of the services, and performs one call.
//!
//! A controller is an async function. Its future cannot be copied, but its state depends only on the responses that it
//! received. So the state of an invocation is the list of these responses: [`run`] starts the controller again, gives it
//! the recorded responses, and then performs one more call.

use std::{
    any::Any,
    fmt::{self, Debug},
    hash::{DefaultHasher, Hash, Hasher},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use crate::{
    bugs::Bug,
    functions::{self, End, Function},
    world::World,
};

/// What happens with a call of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    /// The call takes effect, and the caller gets the response.
    Done,
    /// The call has no effect, and the caller gets an error.
    Unsent,
    /// The call takes effect, and the caller gets an error.
    ResponseLost,
    /// The caller gets an error, and the call takes effect later.
    Late,
    /// The call reads an index that does not contain the last write of each item.
    Outdated,
}

/// The error of a call that failed, as the caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// The response of a service, or its failure.
#[derive(Clone)]
pub(crate) struct Reply {
    value: Arc<dyn Any + Send + Sync>,
    hash: u64,
    show: fn(&(dyn Any + Send + Sync)) -> String,
}

impl Reply {
    fn new<T: Response>(value: Result<T, Failed>) -> Self {
        Self {
            hash: hash_of_debug(&value),
            value: Arc::new(value),
            show: |value| match value.downcast_ref::<Result<T, Failed>>().unwrap() {
                Ok(value) => value.brief(),
                Err(Failed) => "error".into(),
            },
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.show)(&*self.value))
    }
}

/// A response that an invocation can receive again.
pub(crate) trait Response: Debug + Clone + Send + Sync + 'static {
    /// The response in a few words.
    fn brief(&self) -> String {
        format!("{self:?}")
    }
}

/// The hash of the debug output of `value`. Equal values have equal hashes in all runs of the tests.
pub(crate) fn hash_of_debug(value: &impl Debug) -> u64 {
    struct Sink(DefaultHasher);
    impl fmt::Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut sink = Sink(DefaultHasher::new());
    fmt::write(&mut sink, format_args!("{value:?}")).unwrap();
    sink.0.finish()
}

/// An invocation of a function that has not ended.
#[derive(Clone)]
pub(crate) struct Invocation {
    pub(crate) function: Function,
    /// The hash of the function, its event and the attempt.
    pub(crate) id: u64,
    /// How many times the function was invoked before with this event.
    pub(crate) attempt: u8,
    /// The clock step from which the function may be invoked.
    pub(crate) not_before: u8,
    /// The clock step at which the first call was made.
    pub(crate) step: u8,
    /// The responses so far: the number of the call, and its response.
    pub(crate) history: Vec<(u16, Reply)>,
    /// The calls that wait for a response.
    pub(crate) pending: Vec<(u16, &'static str)>,
}

impl Invocation {
    pub(crate) fn is_running(&self) -> bool {
        !self.history.is_empty()
    }

    /// An invocation that has not started.
    pub(crate) fn new(function: Function, attempt: u8, not_before: u8, step: u8) -> Self {
        Self {
            id: hash_of_debug(&(&function, attempt)),
            function,
            attempt,
            not_before,
            step,
            history: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// The name of the waiting call `number`.
    pub(crate) fn name_of(&self, number: u16) -> &'static str {
        let mut pending = self.pending.iter();
        let call = pending.find(|(call, _)| *call == number);
        call.map(|(_, name)| *name).unwrap()
    }
}

impl Hash for Invocation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        (self.not_before, self.step).hash(state);
        for (call, reply) in &self.history {
            (call, reply.hash).hash(state);
        }
    }
}

enum Grant {
    Replay(Reply),
    Perform(Fate),
}

struct Slot {
    name: &'static str,
    grant: Option<Grant>,
    waker: Option<Waker>,
    reply: Option<Reply>,
}

struct Inner {
    world: Option<World>,
    slots: Vec<Slot>,
    /// The versions that the code under test generated, and the deterministic ones that the services see.
    versions: Vec<(idempotency::store::Version, idempotency::store::Version)>,
}

/// The services as one invocation sees them.
#[derive(Clone)]
pub(crate) struct Port {
    inner: Arc<Mutex<Inner>>,
    id: u64,
}

impl Port {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A call of a service. It waits until the scheduler performs it.
    pub(crate) async fn call<T: Response>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut World) -> T,
    ) -> Result<T, Failed> {
        let number = {
            let mut inner = self.inner();
            inner.slots.push(Slot {
                name,
                grant: None,
                waker: None,
                reply: None,
            });
            inner.slots.len() - 1
        };
        let grant = std::future::poll_fn(|context| {
            let slot = &mut self.inner().slots[number];
            match slot.grant.take() {
                Some(grant) => Poll::Ready(grant),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        let reply = match grant.await {
            Grant::Replay(reply) => reply,
            Grant::Perform(fate) => {
                let mut inner = self.inner();
                let world = inner.world.as_mut().unwrap();
                Reply::new(match fate {
                    Fate::Done => Ok(work(world)),
                    Fate::Outdated => {
                        world.outdated = true;
                        let response = work(world);
                        world.outdated = false;
                        Ok(response)
                    }
                    Fate::ResponseLost => {
                        work(world);
                        Err(Failed)
                    }
                    Fate::Unsent | Fate::Late => Err(Failed),
                })
            }
        };
        self.inner().slots[number].reply = Some(reply.clone());
        reply
            .value
            .downcast_ref::<Result<T, Failed>>()
            .unwrap()
            .clone()
    }

    /// The number that identifies the invocation.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether the world has this bug.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.inner().world.as_ref().unwrap().has(bug)
    }

    /// The number of free notes.
    pub(crate) fn free(&self) -> u64 {
        self.inner().world.as_ref().unwrap().setting.free
    }

    pub(crate) fn with_versions<T>(
        &self,
        work: impl FnOnce(&mut Vec<(idempotency::store::Version, idempotency::store::Version)>) -> T,
    ) -> T {
        work(&mut self.inner().versions)
    }
}

/// The result of [`run`].
pub(crate) struct Ran {
    pub(crate) world: World,
    /// The response of the performed call.
    pub(crate) reply: Option<Reply>,
    /// The calls that wait for a response.
    pub(crate) pending: Vec<(u16, &'static str)>,
    /// How the invocation ended. None if it has not ended.
    pub(crate) end: Option<End>,
}

/// Runs the invocation up to its next calls. If `perform` is set, performs this call first.
pub(crate) fn run(world: World, invocation: &Invocation, perform: Option<(u16, Fate)>) -> Ran {
    let now = world.time(invocation.step);
    let port = Port {
        inner: Arc::new(Mutex::new(Inner {
            world: Some(world),
            slots: Vec::new(),
            versions: Vec::new(),
        })),
        id: invocation.id,
    };
    let mut future = pin!(functions::start(
        port.clone(),
        invocation.function.clone(),
        now
    ));
    let mut context = Context::from_waker(Waker::noop());
    let mut end = None;
    let mut poll = |grant: Option<(u16, Grant)>| {
        if let Some((call, grant)) = grant {
            let mut inner = port.inner();
            let slot = &mut inner.slots[usize::from(call)];
            slot.grant = Some(grant);
            if let Some(waker) = slot.waker.take() {
                drop(inner);
                waker.wake();
            }
        }
        assert!(end.is_none(), "an invocation that ended gets a response");
        if let Poll::Ready(ended) = future.as_mut().poll(&mut context) {
            end = Some(ended);
        }
    };
    poll(None);
    for (call, reply) in &invocation.history {
        poll(Some((*call, Grant::Replay(reply.clone()))));
    }
    if let Some((call, fate)) = perform {
        poll(Some((call, Grant::Perform(fate))));
    }
    let mut inner = port.inner();
    let reply = perform.map(|(call, _)| inner.slots[usize::from(call)].reply.clone().unwrap());
    let pending = match end {
        Some(_) => Vec::new(),
        None => {
            let waiting = (0u16..).zip(&inner.slots);
            let waiting = waiting.filter(|(_, slot)| slot.reply.is_none());
            waiting.map(|(call, slot)| (call, slot.name)).collect()
        }
    };
    Ran {
        world: inner.world.take().unwrap(),
        reply,
        pending,
        end,
    }
}
