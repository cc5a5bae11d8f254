//! The crash sweep: every call of a purchase's whole life fails in every way, and what is left at
//! the end holds the invariants.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use idempotency::{
    ClaimOutcome, Idempotency, IdempotencyKey, Scope,
    memory::{self, Clock},
    store::{Expected, Record, Store, Written},
};

use super::{Error, Receipt, purchase, purchase_paid, reconcile, webhook};
use crate::{
    event::{Event, Paid, tests as signing},
    payment::Payment,
    purchase::{PurchaseId, Status, Timestamp},
    service::{Payments as _, memory::*},
};

/// Who is there after a failure, and what they do.
#[derive(Debug, Clone, Copy)]
struct Story {
    source: &'static str,
    /// Whether the client repeats a request that failed, and one that worked.
    repeats: bool,
    /// Whether Stripe's events arrive, each of them twice.
    told: bool,
    /// Whether the card's owner shows that it is theirs, if asked to.
    authenticates: bool,
    /// How often Stripe finds no payment that there is.
    unseen: usize,
}

fn stories() -> Vec<Story> {
    let mut stories = Vec::new();
    for source in [
        "tok_visa",
        "tok_chargeDeclined",
        "tok_nobody",
        "tok_error500",
        "pm_threeDSecure",
    ] {
        for bits in 0..16_u8 {
            let on = |bit: u8| bits & (1 << bit) != 0;
            stories.push(Story {
                source,
                repeats: on(0),
                told: on(1),
                authenticates: on(2),
                unseen: usize::from(on(3)),
            });
        }
    }
    stories.retain(|story| !story.authenticates || story.source == "pm_threeDSecure");
    stories
}

/// The claims, whose calls count and fail like all others.
struct Claims(Arc<Memory>, memory::Memory);

impl Store for Claims {
    async fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> Result<Written, idempotency::Error> {
        let failed = |failure| idempotency::Error::Unavailable(format!("{failure:?}").into());
        let lost = self.0.begin("claim").map_err(failed)?;
        let written = self.1.write(record, expected).await?;
        lost.map_or(Ok(written), |failure| Err(failed(failure)))
    }
}

struct World {
    cloud: Arc<Memory>,
    claims: Idempotency<Claims>,
    clock: Clock,
    heard: usize,
    receipts: Vec<Receipt>,
}

impl World {
    fn new(broken: Broken) -> Self {
        let cloud = Arc::new(Memory::broken(broken));
        let clock = Clock::default();
        let shown = clock.clone();
        let store = Claims(Arc::clone(&cloud), memory::Memory::default());
        Self {
            cloud,
            claims: Idempotency::new(store).with_clock(move || shown.now()),
            clock,
            heard: 0,
            receipts: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::of(self.clock.now())
    }

    /// What the route does with one request. Returns whether the client is content.
    async fn post(&mut self, source: &str) -> bool {
        self.cloud.revive();
        let key: IdempotencyKey = "k".parse().unwrap();
        let operation = Scope::of("POST /billing", "ada").operation(&key, source.as_bytes());
        let deadline = self.clock.now() + Duration::from_secs(10);
        let claim = self
            .claims
            .claim(&operation, deadline, PurchaseId::generate());
        let (held, id) = match claim.await {
            Ok(ClaimOutcome::Start { held, plan }) => (held, plan),
            Ok(ClaimOutcome::Replay(receipt)) => {
                self.receipts.push(receipt);
                return true;
            }
            Ok(ClaimOutcome::InProgress { .. }) | Err(_) => return false,
            Ok(ClaimOutcome::Mismatch) => panic!("it is the same request"),
        };
        let now = Timestamp::of(self.clock.now());
        let cloud = &*self.cloud;
        match purchase(cloud, cloud, ada(), id, order(source), now).await {
            Ok(receipt) => {
                let _ = held.complete(&receipt).await;
                self.receipts.push(receipt);
                true
            }
            Err(error) => {
                let _ = held.release().await;
                matches!(error, Error::RequiresAction { .. })
            }
        }
    }

    /// Stripe delivers what it has to tell until it is taken, and once more.
    async fn deliver(&self) {
        for Paid { intent, purchase } in self.cloud.succeeded() {
            let body = signing::succeeded(&purchase, intent.as_str());
            let time = self.now().as_millis() / 1000;
            let header = format!("t={time},v1={}", signing::signature(&body, "whsec", time));
            let secrets = [signing::secret("whsec")];
            let event = Event::verify(&body, &header, &secrets, self.now()).unwrap();
            let mut taken = 0;
            while taken < 2 {
                self.cloud.revive();
                self.clock.advance(Duration::from_secs(1));
                taken += usize::from(webhook(&*self.cloud, &event, self.now()).await.is_ok());
            }
        }
    }

    /// The stream delivers each change until it is taken.
    async fn hear(&mut self) {
        while let Some(change) = self.cloud.stream().get(self.heard) {
            self.cloud.revive();
            let taken = purchase_paid(&*self.cloud, change).await;
            self.heard += usize::from(taken.is_ok());
        }
    }

    /// The whole life of an order.
    async fn live(&mut self, story: Story) {
        self.cloud.hide_payments(story.unseen);
        for _ in 0..if story.repeats { 5 } else { 1 } {
            self.post(story.source).await;
            self.clock.advance(Duration::from_secs(13));
        }
        if story.authenticates {
            self.cloud.authenticate();
        }
        if story.told {
            self.deliver().await;
        }
        self.hear().await;
        for minutes in [2, 5, 5, 20, 35, 60, 60, 20, 5] {
            self.clock.advance(Duration::from_secs(60 * minutes));
            self.cloud.revive();
            let _ = reconcile(&*self.cloud, &*self.cloud, self.now(), 10).await;
            self.hear().await;
        }
        if story.repeats {
            self.post(story.source).await;
        }
        // Whoever still can charge the card does.
        self.cloud.authenticate();
        if story.told {
            self.deliver().await;
        }
        self.hear().await;
    }

    /// The invariants that do not hold.
    fn broken_invariants(&self) -> Vec<&'static str> {
        let cloud = &self.cloud;
        let mut broken = Vec::new();
        let mut charged: HashMap<_, usize> = HashMap::new();
        for (id, cents) in cloud.charges() {
            *charged.entry(id).or_default() += 1;
            if cents != 4_000 {
                broken.push("a charge is its purchase's price");
            }
        }
        if cloud.charges().len() > 1 {
            broken.push("a card is charged at most once per key");
        }
        let announced = cloud.announced();
        let announced = |id| announced.iter().any(|news| news.purchase_id == id);
        for purchase in cloud.purchases() {
            let id = purchase.key.purchase_id;
            let charges = charged.remove(&id).unwrap_or_default();
            let receipts = || {
                let receipts = self.receipts.iter();
                receipts.map(|receipt| (receipt.purchase_id, receipt.declined.is_none()))
            };
            match purchase.status {
                Status::Pending { .. } => broken.push("a purchase is settled in the end"),
                Status::Paid { .. } => {
                    if charges == 0 {
                        broken.push("what is paid was charged");
                    }
                    if !announced(id) {
                        broken.push("what is paid is announced");
                    }
                    if receipts().any(|receipt| receipt != (id, true)) {
                        broken.push("a receipt says what happened");
                    }
                }
                Status::Failed { .. } => {
                    if charges > 0 {
                        broken.push("what is charged is paid");
                    }
                    if announced(id) {
                        broken.push("what failed is not announced");
                    }
                    if receipts().any(|receipt| receipt != (id, false)) {
                        broken.push("a receipt says what happened");
                    }
                }
            }
        }
        if !charged.is_empty() {
            broken.push("every charge is for a purchase");
        }
        if cloud.can_still_charge() {
            broken.push("nothing can charge a card in the end");
        }
        let pending = |status: &Status| matches!(status, Status::Pending { .. });
        let stream = cloud.stream();
        let mut before = stream.iter().filter_map(|change| change.before.as_ref());
        if before.any(|before| !pending(&before.status)) {
            broken.push("what is settled is not written again");
        }
        broken
    }
}

/// One cell of the sweep: a story, and how which call fails.
type Cell = (Story, Option<(Failure, usize)>);

#[derive(Default)]
struct Sweep {
    cells: usize,
    /// The calls that failed in some cell, by their names.
    calls: BTreeSet<&'static str>,
    /// The cells that did not hold, and what did not.
    broken: Vec<(Cell, Vec<&'static str>)>,
}

/// Lives every story with each of its calls failing in every way.
async fn sweep(broken: Broken) -> Sweep {
    let mut sweep = Sweep::default();
    for story in stories() {
        let mut live = async |fails: Option<(Failure, usize)>| {
            let mut world = World::new(broken);
            if let Some((failure, call)) = fails {
                world.cloud.fail(failure, call);
            }
            world.live(story).await;
            sweep.cells += 1;
            sweep.calls.extend(world.cloud.failed_call());
            let broken = world.broken_invariants();
            if !broken.is_empty() {
                sweep.broken.push(((story, fails), broken));
            }
            world.cloud.calls()
        };
        live(None).await;
        for failure in [
            Failure::Unsent,
            Failure::AnswerLost,
            Failure::KilledBefore,
            Failure::KilledAfter,
        ] {
            let mut call = 0;
            while live(Some((failure, call))).await > call {
                call += 1;
            }
        }
    }
    sweep
}

#[tokio::test]
async fn whatever_call_fails_in_whatever_way_the_invariants_hold() {
    let Sweep {
        cells,
        calls,
        broken,
    } = sweep(Broken::Nothing).await;
    let count = broken.len();
    assert!(
        broken.is_empty(),
        "{count} of {cells}: {:#?}",
        broken.first()
    );
    assert!(cells > 10_000, "{cells}");
    let all = [
        "announce",
        "cancel",
        "charge",
        "claim",
        "due",
        "open",
        "postpone",
        "settle",
        "status_of",
    ];
    assert!(calls.into_iter().eq(all));
}

/// Breaks the code, and returns what no longer holds.
async fn broken_by(broken: Broken) -> BTreeSet<&'static str> {
    let broken = sweep(broken).await.broken;
    broken.into_iter().flat_map(|(_, broken)| broken).collect()
}

#[tokio::test]
async fn without_the_idempotency_key_a_card_is_charged_twice() {
    let broken = broken_by(Broken::StripeKey).await;
    assert!(
        broken.contains("a card is charged at most once per key"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn without_its_condition_settle_writes_over_what_is_settled() {
    let broken = broken_by(Broken::SettleCondition).await;
    assert!(
        broken.contains("what is settled is not written again"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn without_the_cancellation_a_card_is_charged_for_a_purchase_that_failed() {
    let broken = broken_by(Broken::Cancel).await;
    assert!(broken.contains("what is charged is paid"), "{broken:?}");
}

/// A charge of which nobody heard, that Stripe does not find, and whose event comes at last, just
/// while reconcile gives the purchase up.
async fn paid_while_given_up(broken: Broken) -> World {
    let world = World::new(broken);
    let cloud = &*world.cloud;
    let lost = cloud.ordered("tok_visa").await;
    let Status::Pending { source, .. } = &lost.status else {
        panic!("it is new")
    };
    let charged = cloud.charge(&lost, source).await.unwrap();
    assert!(matches!(charged, Payment::Succeeded { .. }));
    cloud.hide_payments(usize::MAX);
    let [paid] = cloud.succeeded().try_into().unwrap();
    cloud.pay_while_asked(paid);
    let late = NOON.after(super::LOST_AFTER);
    reconcile(cloud, cloud, late, 10).await.unwrap();
    world
}

#[tokio::test]
async fn a_success_heard_of_while_a_purchase_is_given_up_stays_one() {
    let world = paid_while_given_up(Broken::Nothing).await;
    assert!(matches!(world.cloud.only().status, Status::Paid { .. }));
}

#[tokio::test]
async fn without_its_condition_settle_loses_a_charge() {
    let world = paid_while_given_up(Broken::SettleCondition).await;
    assert!(
        world
            .broken_invariants()
            .contains(&"what is charged is paid")
    );
}

#[tokio::test]
async fn an_event_delivered_ten_times_settles_once() {
    let mut world = World::new(Broken::Nothing);
    world.post("pm_threeDSecure").await;
    world.cloud.authenticate();
    for _ in 0..5 {
        world.deliver().await;
    }
    world.hear().await;
    assert_eq!(world.cloud.stream().len(), 2, "ordered, and paid");
    assert_eq!(world.cloud.announced().len(), 1);
    assert_eq!(world.broken_invariants(), [""; 0]);
}

#[tokio::test]
async fn an_event_for_a_purchase_that_is_not_there_changes_nothing() {
    let world = World::new(Broken::Nothing);
    let body = signing::succeeded(&key(), "pi_1");
    let header = format!("t=0,v1={}", signing::signature(&body, "whsec", 0));
    let epoch = Timestamp::of(UNIX_EPOCH);
    let event = Event::verify(&body, &header, &[signing::secret("whsec")], epoch).unwrap();
    webhook(&*world.cloud, &event, epoch).await.unwrap();
    assert!(world.cloud.purchases().is_empty());
}
