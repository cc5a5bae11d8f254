//! The world

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use billing::{
    controller::{RECONCILE_DELAY, Receipt},
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{
        Author, Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Shard, Status, Storage,
        Sub, Timestamp, UserId,
    },
    service::{
        ChargeError, Error, NotePurchased, Payments, Publisher, PurchaseStore, stream::Change,
    },
};
use domain::Page;
use idempotency::store::{Expected, Record, Store, Version, WriteOutcome};

use crate::{
    call::{self, Failed, Invocation, Port, Response},
    functions::{End, Function},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bug {
    #[default]
    None,
    NoIdempotencyKey,
    UnconditionalSettle,
    NoCancel,
    CancelIgnoresSuccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum External {
    Authenticate(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) purchase: PurchaseKey,
    amount: u32,
    pub(crate) payment: Payment,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    source: &'static str,
    key: &'static str,
    id: PurchaseId,
    retries: u8,
    pub(crate) receipts: Vec<Receipt>,
}

impl Client {
    pub(crate) fn new(number: u8, source: &'static str, key: &'static str, retries: u8) -> Self {
        Self {
            source,
            key,
            id: id(number),
            retries,
            receipts: Vec::new(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) bug: Bug,
    clock: &'static [Duration],
    copies: u8,
    step: u8,
    pub(crate) data: Arc<Data>,
    new: Vec<(Function, u8, u8)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Data {
    pub(crate) purchases: BTreeMap<PurchaseKey, Purchase>,
    pub(crate) intents: Vec<Intent>,
    stored: BTreeMap<PurchaseId, Option<Payment>>,
    pub(crate) charges: Vec<PurchaseId>,
    records: BTreeMap<String, Record>,
    stream: VecDeque<(usize, Arc<Change>)>,
    changes: usize,
    pub(crate) published: Vec<NotePurchased>,
    pub(crate) clients: Vec<Client>,
    pub(crate) overwritten: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.data, f)
    }
}

pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn id(number: u8) -> PurchaseId {
    PurchaseId::from_bytes([1, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, number, 0])
}

pub(crate) fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

pub(crate) fn buyer() -> Author {
    Author {
        id: ada(),
        sub: None,
    }
}

pub(crate) fn order(source: &str) -> Order {
    Order {
        storage: Storage::try_from(10).unwrap(),
        source: PaymentSource::try_from(source.to_owned()).unwrap(),
    }
}

fn intent(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

impl World {
    pub(crate) fn new(bug: Bug, clock: &'static [Duration], copies: u8, clients: Vec<Client>) -> Self {
        let new = clients.iter().enumerate().map(|(number, client)| {
            let function = Function::Purchase {
                client: number,
                id: client.id,
                source: client.source,
                key: client.key,
            };
            (function, 0, 0)
        });
        Self {
            new: new.collect(),
            data: Arc::new(Data {
                clients,
                ..Data::default()
            }),
            bug,
            clock,
            copies,
            step: 0,
        }
    }

    pub(crate) fn writes(name: &str) -> bool {
        !matches!(name, "due" | "find_payment")
    }

    pub(crate) fn step(&self) -> u8 {
        self.step
    }

    pub(crate) fn time(&self, step: u8) -> Timestamp {
        NOON.after(self.clock[..usize::from(step)].iter().sum())
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        call::hash_of_debug(&(self.step, &self.data))
    }

    fn data(&mut self) -> &mut Data {
        Arc::make_mut(&mut self.data)
    }

    pub(crate) fn take_new(&mut self) -> Vec<(Function, u8, u8)> {
        std::mem::take(&mut self.new)
    }

    pub(crate) fn may_advance(&self, waiting: bool) -> bool {
        let pending = |purchase: &Purchase| matches!(purchase.status, Status::Pending { .. });
        (waiting || self.data.purchases.values().any(pending)) && usize::from(self.step) < self.clock.len()
    }

    pub(crate) fn advance(&mut self) -> Duration {
        let by = self.clock[usize::from(self.step)];
        self.step += 1;
        self.new.push((Function::Reconcile { step: self.step }, 0, self.step));
        by
    }

    pub(crate) fn externals(&self) -> Vec<External> {
        let intents = self.data.intents.iter().enumerate();
        let waiting = intents.filter(|(_, intent)| matches!(intent.payment, Payment::RequiresAction { .. }));
        waiting.map(|(index, _)| External::Authenticate(index)).collect()
    }

    pub(crate) fn happen(&mut self, external: External) {
        match external {
            External::Authenticate(index) => self.succeed(index),
        }
    }

    pub(crate) fn ended(&mut self, one: &Invocation, end: End) {
        match &one.function {
            Function::Purchase { client, .. } => {
                let retry = match &end {
                    End::Receipt(receipt) => {
                        self.data().clients[*client].receipts.push(receipt.clone());
                        false
                    }
                    End::InProgress | End::Crashed | End::Failed(_) => true,
                    End::RequiresAction | End::Done => false,
                };
                let not_before = match &end {
                    End::InProgress => self.step + 1,
                    _ => self.step,
                };
                let retries = &mut self.data().clients[*client].retries;
                if retry && *retries > 0 {
                    *retries -= 1;
                    self.new.push((one.function.clone(), one.attempt + 1, not_before));
                }
            }
            Function::Webhook { .. } => {
                if !matches!(end, End::Done) {
                    let again = (one.function.clone(), one.attempt + 1, self.step + 1);
                    self.new.push(again);
                }
            }
            Function::PurchasePaid { .. } => {
                if matches!(end, End::Done) {
                    self.data().stream.pop_front();
                    self.next_record(0);
                } else {
                    self.next_record(one.attempt + 1);
                }
            }
            Function::Reconcile { .. } => (),
        }
    }

    fn next_record(&mut self, attempt: u8) {
        if let Some((number, change)) = self.data.stream.front() {
            let function = Function::PurchasePaid {
                number: *number,
                change: Arc::clone(change),
            };
            self.new.push((function, attempt, self.step));
        }
    }

    fn write(&mut self, purchase: Purchase) {
        let key = purchase.key.clone();
        let data = self.data();
        let before = data.purchases.insert(key, purchase.clone());
        if before.as_ref() == Some(&purchase) {
            return;
        }
        let pending = |purchase: &Purchase| matches!(purchase.status, Status::Pending { .. });
        if before.as_ref().is_some_and(|before| !pending(before)) {
            data.overwritten = true;
        }
        data.changes += 1;
        let change = Change {
            before,
            after: Some(purchase),
        };
        data.stream.push_back((data.changes, Arc::new(change)));
        if data.stream.len() == 1 {
            self.next_record(0);
        }
    }

    fn succeed(&mut self, index: usize) {
        let copies = self.copies;
        let data = self.data();
        let made = &mut data.intents[index];
        let intent = intent(index);
        made.payment = Payment::Succeeded {
            intent: intent.clone(),
        };
        let purchase = made.purchase.clone();
        data.charges.push(purchase.purchase_id);
        for copy in 0..copies {
            let function = Function::Webhook {
                intent: intent.clone(),
                purchase: purchase.clone(),
                copy,
            };
            self.new.push((function, 0, self.step));
        }
    }

    fn charge(&mut self, purchase: &Purchase, source: &PaymentSource) -> Option<Payment> {
        let index = self.data.intents.len();
        let intent = intent(index);
        let payment = match source.as_str() {
            "pm_threeDSecure" => Payment::RequiresAction {
                intent,
                client_secret: format!("pi_{index}_secret_x").into(),
            },
            "tok_chargeDeclined" => Payment::Declined {
                intent: Some(intent),
                decline: Decline::unfinished(),
            },
            _ => Payment::Succeeded { intent },
        };
        self.data().intents.push(Intent {
            purchase: purchase.key.clone(),
            amount: purchase.amount.get(),
            payment: payment.clone(),
        });
        if let Payment::Succeeded { .. } = payment {
            self.succeed(index);
        }
        (source.as_str() != "tok_error500").then_some(payment)
    }
}

impl Response for WriteOutcome {
    fn brief(&self) -> String {
        match self {
            Self::Done => "done".into(),
            Self::ConditionFailed(Some(record)) => format!("condition failed ({:?})", record.state),
            Self::ConditionFailed(None) => "condition failed".into(),
        }
    }
}
impl Response for Payment {}
impl Response for Option<Payment> {}
impl Response for () {
    fn brief(&self) -> String {
        "done".into()
    }
}

fn status(purchase: &Purchase) -> &'static str {
    match purchase.status {
        Status::Pending { .. } => "PENDING",
        Status::Paid { .. } => "PAID",
        Status::Failed { .. } => "FAILED",
    }
}
impl Response for Purchase {
    fn brief(&self) -> String {
        status(self).into()
    }
}
impl Response for Option<Purchase> {
    fn brief(&self) -> String {
        self.as_ref().map_or("none", status).into()
    }
}
#[derive(Debug, Clone)]
struct Due(Vec<Purchase>, bool);
impl Response for Due {
    fn brief(&self) -> String {
        format!("{} purchases", self.0.len())
    }
}

fn error(_: Failed) -> Error {
    Error::Unavailable("simulated".into())
}

impl Store for Port {
    async fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> Result<WriteOutcome, idempotency::Error> {
        let call = self.with_versions(|versions| versions.len());
        let generated = record.version;
        let version: Version = serde_json::from_value(serde_json::Value::String(
            uuid::Uuid::from_u64_pair(self.id(), call as u64).to_string(),
        ))
        .unwrap();
        self.with_versions(|versions| versions.push((generated, version)));
        let expected = match expected {
            Expected::Version(version) => Expected::Version(self.with_versions(|versions| {
                let found = versions.iter().find(|(generated, _)| *generated == version);
                found.map_or(version, |(_, version)| *version)
            })),
            expected => expected,
        };
        let record = Record {
            version,
            ..record.clone()
        };
        let outcome = self.call("write the idempotency record", |world| {
            let data = world.data();
            let existing = data.records.get(&record.id);
            let holds = match expected {
                Expected::AbsentOrExpired { now } => {
                    existing.is_none_or(|existing| existing.expires_at <= now)
                }
                Expected::Version(version) => {
                    existing.is_some_and(|existing| existing.version == version)
                }
            };
            if holds {
                data.records.insert(record.id.clone(), record.clone());
                WriteOutcome::Done
            } else {
                WriteOutcome::ConditionFailed(existing.cloned())
            }
        });
        outcome
            .await
            .map_err(|_| idempotency::Error::Unavailable("simulated".into()))
    }
}

impl Payments for Port {
    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let id = purchase.key.purchase_id;
        let response = self.call("charge", |world| {
            let stored = world.data.stored.get(&id).cloned();
            if let Some(response) = stored.filter(|_| world.bug != Bug::NoIdempotencyKey) {
                return response;
            }
            let response = world.charge(purchase, source);
            world.data().stored.insert(id, response.clone());
            response
        });
        match response.await {
            Ok(Some(payment)) => Ok(payment),
            _ => Err(ChargeError("500".into())),
        }
    }

    async fn find_payment(&self, purchase: &PurchaseKey) -> Result<Option<Payment>, Error> {
        self.call("find_payment", |world| {
            let mut intents = world.data.intents.iter();
            let found = intents.find(|intent| intent.purchase == *purchase);
            found.map(|intent| intent.payment.clone())
        })
        .await
        .map_err(error)
    }

    async fn cancel(&self, id: &IntentId) -> Result<Payment, Error> {
        self.call("cancel", |world| {
            let canceled = Payment::Canceled { intent: id.clone() };
            if world.bug == Bug::NoCancel {
                return canceled;
            }
            let index = (0..world.data.intents.len()).find(|index| intent(*index) == *id);
            let bug = world.bug;
            let payment = &mut world.data().intents[index.unwrap()].payment;
            if !matches!(payment, Payment::Succeeded { .. }) {
                *payment = canceled;
            } else if bug == Bug::CancelIgnoresSuccess {
                return canceled;
            }
            payment.clone()
        })
        .await
        .map_err(error)
    }
}

impl PurchaseStore for Port {
    async fn get_or_create(&self, purchase: &Purchase, _: Option<Sub>) -> Result<Purchase, Error> {
        self.call("get_or_create", |world| {
            match world.data.purchases.get(&purchase.key) {
                Some(stored) => stored.clone(),
                None => {
                    world.write(purchase.clone());
                    purchase.clone()
                }
            }
        })
        .await
        .map_err(error)
    }

    async fn settle(
        &self,
        key: &PurchaseKey,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<Option<Purchase>, Error> {
        self.call("settle", |world| {
            let mut purchase = world.data.purchases.get(key)?.clone();
            if world.bug == Bug::UnconditionalSettle
                || matches!(purchase.status, Status::Pending { .. })
            {
                purchase.status = outcome.clone().into();
                purchase.updated_at = now;
                world.write(purchase.clone());
            }
            Some(purchase)
        })
        .await
        .map_err(error)
    }

    async fn postpone(&self, key: &PurchaseKey, due: Timestamp) -> Result<(), Error> {
        self.call("postpone", |world| {
            let Some(mut purchase) = world.data.purchases.get(key).cloned() else {
                return;
            };
            if let Status::Pending { due_at, .. } = &mut purchase.status {
                *due_at = due;
                world.write(purchase);
            }
        })
        .await
        .map_err(error)
    }

    async fn page(
        &self,
        _: &UserId,
        _: Option<PurchaseId>,
        _: usize,
    ) -> Result<Page<Purchase>, Error> {
        unimplemented!()
    }

    async fn due(
        &self,
        shard: Shard,
        now: Timestamp,
        _: Option<&Purchase>,
        limit: usize,
    ) -> Result<Page<Purchase>, Error> {
        if shard.number() != 0 {
            return Ok(Page::cut(Vec::new(), limit));
        }
        let due = self
            .call("due", |world| {
                let mut due: Vec<_> = world.data.purchases.values().cloned().collect();
                due.retain(|purchase| {
                    matches!(purchase.status, Status::Pending { due_at, .. } if due_at <= now)
                });
                Due(due, false)
            })
            .await;
        due.map(|due| Page::cut(due.0, limit)).map_err(error)
    }
}

impl Publisher for Port {
    async fn publish(&self, message: &NotePurchased) -> Result<(), Error> {
        self.call("publish", |world| world.data().published.push(message.clone()))
            .await
            .map_err(error)
    }
}

const _: Duration = RECONCILE_DELAY;
