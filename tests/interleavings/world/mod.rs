//! The world of the functions: the services with their data, the clients, the topic and the stream, and the clock.
//!
//! One value holds the whole state, so that a schedule can go back to an earlier situation. [`Port`] implements the traits
//! of all services; each of its calls works on the world in one atomic step.
//!
//! | module | contents |
//! |---|---|
//! | [`stripe`] | PaymentIntents, idempotency keys, refunds, disputes and events |
//! | [`purchases`] | the tables Purchases and Buyers, and the topic Purchases |
//! | [`notes`] | the tables Notes and Storage |
//! | [`records`] | the table of idempotency records |
//! | [`sms`] | the phone of the product's owner | // part: notify

mod notes;
mod purchases;
mod records;
mod sms; // part: notify
mod stripe;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use ::notes::{
    credit::Credit,
    note::{Note, NoteId},
};
use billing::{
    purchase::{Purchase, PurchaseId, PurchaseKey},
    service::{Buyer, Error, NotePurchased, stream::Change},
};
use domain::{Author, Id, Timestamp, UserId};
use idempotency::store::Record;

pub(crate) use self::{
    notes::{NoFiles, Total},
    stripe::{Intent, Owner, Start},
};
use crate::{
    bugs::Bug,
    call::{self, Failed, Invocation, Port, Response},
    functions::{Answer, End, Function, Request, What},
};

/// A value with the hash of its debug output, so that the hash is computed once.
#[derive(Clone)]
pub(crate) struct Hashed<T>(Arc<(T, u64)>);

impl<T: fmt::Debug> Hashed<T> {
    pub(crate) fn new(value: T) -> Self {
        let hash = call::hash_of_debug(&value);
        Self(Arc::new((value, hash)))
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.1.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

/// The part of the world that does not change in a scenario.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setting {
    /// The bug of the services, if any.
    pub(crate) bug: Option<Bug>,
    /// The times that pass, one after another, while no function runs.
    pub(crate) clock: Vec<Duration>,
    /// What clients request.
    pub(crate) requests: Vec<Request>,
    /// What the cardholder and the shop's employees do in Stripe, one after another.
    pub(crate) owner: Vec<Owner>,
    /// How often Stripe delivers the event of a succeeded payment.
    pub(crate) successes: u8,
    /// How often Stripe delivers each other event.
    pub(crate) other_events: u8,
    // part: notify {
    /// How often SNS delivers each message to notify-send.
    pub(crate) notify: u8,
    // part: notify }
    /// How often SNS delivers each message to notes-credit.
    pub(crate) credit: u8,
    /// Whether the records of the stream are delivered. Otherwise they are lost.
    pub(crate) stream: bool,
    /// The number of free notes.
    pub(crate) free: u64,
    /// The purchase at the start.
    pub(crate) start: Start,
    /// The notes at the start, and whether they are counted.
    pub(crate) notes: Vec<(u8, bool)>,
}

/// The state of the world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) setting: Arc<Setting>,
    step: u8,
    pub(crate) data: Arc<Data>,
    /// The invocations that are to be added: function, attempt, first clock step.
    new: Vec<(Function, u8, u8)>,
    /// Whether the current call reads an outdated index.
    pub(crate) outdated: bool,
}

/// All data of the services, and what clients and the owner have received.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Data {
    pub(crate) purchases: BTreeMap<PurchaseKey, Hashed<Purchase>>,
    /// Each purchase as it was before the last write.
    pub(crate) before: BTreeMap<PurchaseKey, Option<Hashed<Purchase>>>,
    pub(crate) buyers: BTreeMap<String, Hashed<Buyer>>,
    pub(crate) intents: Vec<Hashed<Intent>>,
    stored_responses: BTreeMap<PurchaseId, Hashed<stripe::Stored>>,
    /// How much of the list [`Setting::owner`] is done, and the clock step of the last action.
    owner: (usize, u8),
    /// The number of events of Stripe so far.
    events: u8,
    pub(crate) records: BTreeMap<String, Hashed<Record>>,
    /// The records of the stream that are not handled.
    stream: VecDeque<Hashed<Change>>,
    /// The number of handled stream records.
    handled: usize,
    pub(crate) notes: BTreeMap<NoteId, Hashed<Note>>,
    pub(crate) total: Option<Total>,
    pub(crate) credits: BTreeMap<PurchaseId, Hashed<Credit>>,
    // part: notify {
    /// The texts of the SMS, with their numbers.
    pub(crate) sms: BTreeMap<String, u8>,
    /// The number of failures in notify-send: each may cause one more SMS.
    pub(crate) sms_failures: u8,
    // part: notify }
    /// The events in the queue of contradictions.
    pub(crate) contradictions: Vec<String>,
    /// What the clients received, and how often they still repeat their request.
    pub(crate) responses: Vec<(Vec<Hashed<End>>, u8)>,
    /// The rules that a write has broken.
    pub(crate) broken: Vec<&'static str>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.data, f)
    }
}

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn id<Kind>(number: u8) -> Id<Kind> {
    let mut bytes = [0; 16];
    // The last byte is the shard.
    (bytes[6], bytes[8], bytes[14]) = (0x70, 0x80, number);
    Id::from_bytes(bytes)
}

pub(crate) fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

pub(crate) fn author() -> Author {
    Author {
        id: ada(),
        sub: None,
    }
}

pub(crate) fn purchase_key(number: u8) -> PurchaseKey {
    PurchaseKey {
        user_id: ada(),
        purchase_id: id(number),
    }
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let requests = setting.requests.iter();
        let responses = requests
            .clone()
            .map(|request| (Vec::new(), request.retries));
        let data = Data {
            responses: responses.collect(),
            ..Data::default()
        };
        let new = requests.enumerate().map(|(number, request)| {
            let what = request.what;
            (Function::Request { number, what }, 0, request.step)
        });
        let mut world = Self {
            new: new.collect(),
            data: Arc::new(data),
            setting: Arc::new(setting),
            step: 0,
            outdated: false,
        };
        world.start(world.setting.start);
        for (number, counted) in world.setting.notes.clone() {
            world.existing_note(number, counted);
        }
        world
    }

    // part: notify {
    /// Records that a call of `function` failed, or that it crashed.
    pub(crate) fn failed(&mut self, function: &Function) {
        if matches!(function, Function::Notify { .. }) {
            self.data().sms_failures += 1;
        }
    }
    // part: notify }

    /// The number of notes that were created with each idempotency key.
    pub(crate) fn notes_by_key(&self) -> impl Iterator<Item = usize> {
        let mut notes = BTreeMap::new();
        for request in &self.setting.requests {
            if let What::Create { id: number, key } = request.what {
                let exists = self.data.notes.contains_key(&id(number));
                *notes.entry(key).or_insert(0) += usize::from(exists);
            }
        }
        notes.into_values()
    }

    /// Whether a client deletes the note.
    pub(crate) fn deletes(&self, note: NoteId) -> bool {
        let mut requests = self.setting.requests.iter();
        requests.any(|request| matches!(request.what, What::Delete(number) if id(number) == note))
    }

    /// Whether the call `name` writes.
    pub(crate) fn writes(name: &str) -> bool {
        !matches!(
            name,
            "read due purchases"
                | "read the purchase"
                | "list payments"
                | "retrieve the payment"
                | "read the note"
                | "read the credit"
        )
    }

    pub(crate) fn step(&self) -> u8 {
        self.step
    }

    pub(crate) fn time(&self, step: u8) -> Timestamp {
        let passed = self.setting.clock.iter().take(step.into());
        NOON.after(passed.sum())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time(self.step)
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.step.hash(&mut hasher);
        self.data.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn data(&mut self) -> &mut Data {
        Arc::make_mut(&mut self.data)
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.setting.bug == Some(bug)
    }

    /// Records that a write has broken a rule.
    fn break_rule(&mut self, rule: &'static str) {
        self.data().broken.push(rule);
    }

    pub(crate) fn take_new(&mut self) -> Vec<(Function, u8, u8)> {
        std::mem::take(&mut self.new)
    }

    /// Adds an invocation of `function`.
    pub(crate) fn invoke(&mut self, function: Function) {
        self.new.push((function, 0, self.step));
    }

    /// Whether time can pass. `waiting` says whether an invocation waits.
    pub(crate) fn may_advance(&self, waiting: bool) -> bool {
        let mut purchases = self.data.purchases.values();
        let left = self.setting.clock.len() - usize::from(self.step);
        // The bank decides early enough for the functions to react.
        (waiting || purchases.any(|purchase| purchase.due_at.is_some()))
            && left > if self.is_processing() { 3 } else { 0 }
    }

    /// Lets time pass, and starts reconcile if work is due.
    pub(crate) fn advance(&mut self) -> Duration {
        let by = self.setting.clock[usize::from(self.step)];
        self.step += 1;
        let now = self.now();
        let mut purchases = self.data.purchases.values();
        if purchases.any(|purchase| purchase.due_at.is_some_and(|due| due <= now)) {
            self.invoke(Function::Reconcile { step: self.step });
        }
        by
    }

    /// Handles the end of an invocation: repeats it if its caller would.
    pub(crate) fn ended(&mut self, one: &Invocation, end: End) {
        let is_done = matches!(end, End::Done(_));
        let again = |world: &mut Self, step| {
            world
                .new
                .push((one.function.clone(), one.attempt + 1, step));
        };
        match &one.function {
            Function::Request { number, .. } => {
                if let End::Done(Answer::RequiresAction(secret)) = &end {
                    self.give_secret(secret.expose());
                }
                let waits = matches!(end, End::InProgress);
                let repeats = matches!(end, End::InProgress | End::Failed(_) | End::Crashed);
                let (responses, retries) = &mut self.data().responses[*number];
                if repeats && *retries > 0 {
                    *retries -= 1;
                    let step = self.step + u8::from(waits);
                    again(self, step);
                } else {
                    responses.push(Hashed::new(end));
                }
            }
            Function::PurchasePaid { .. } => {
                if is_done {
                    let data = self.data();
                    data.stream.pop_front();
                    data.handled += 1;
                    self.deliver_record();
                } else {
                    let step = self.step;
                    again(self, step);
                }
            }
            // The next run does the work.
            Function::Reconcile { .. } => (),
            // Stripe and SNS deliver an event again after a while.
            _ => {
                if !is_done {
                    let step = self.step + 1;
                    again(self, step);
                }
            }
        }
    }

    /// Delivers the first stream record that is not handled.
    fn deliver_record(&mut self) {
        if let Some(change) = self.data.stream.front() {
            let change = change.clone();
            let number = self.data.handled + 1;
            self.invoke(Function::PurchasePaid { number, change });
        }
    }

    fn publish(&mut self, message: &NotePurchased) {
        let message = Hashed::new(message.clone());
        // part: notify {
        for copy in 0..self.setting.notify {
            let message = message.clone();
            self.invoke(Function::Notify { message, copy });
        }
        // part: notify }
        for copy in 0..self.setting.credit {
            let message = message.clone();
            self.invoke(Function::Credit { message, copy });
        }
    }
}

fn error(_: Failed) -> Error {
    Error::Unavailable("simulated failure".into())
}

impl Response for () {
    fn brief(&self) -> String {
        "done".into()
    }
}

impl Response for bool {
    fn brief(&self) -> String {
        let text = if *self { "done" } else { "condition failed" };
        text.into()
    }
}

impl Port {
    /// Puts an event of Stripe into the queue of contradictions.
    pub(crate) async fn put_aside(&self, event: &str, reason: &str) -> Result<(), Failed> {
        let text = format!("{event}: {reason}");
        self.call("send to the queue", |world| {
            world.data().contradictions.push(text);
        })
        .await
    }
}
