//! The crash sweep simulates the whole life of a purchase many times. In each simulation, at most
//! one call to a service is made to fail. At the end, invariants must hold, for example that a card
//! is charged at most once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use idempotency::{
    ClaimOutcome, Idempotency, IdempotencyKey, Scope,
    memory::{self, Clock},
    store::{Expected, Record, Store, WriteOutcome},
};

use super::{Error, Receipt, purchase, purchase_paid, reconcile, webhook};
use crate::{
    event::{Event, SucceededPayment, tests as signing},
    fixtures::*,
    payment::Payment,
    purchase::{Purchase, PurchaseId, Status, Timestamp},
    service::{Payments as _, memory::*},
};

/// The behavior of the client, the cardholder and Stripe in one simulation.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    source: &'static str,
    /// Whether the client sends its request several times, both after an error and after a success.
    client_retries: bool,
    /// Whether Stripe delivers webhook events. If so, each event is delivered at least twice.
    webhook_delivers: bool,
    /// Whether the cardholder completes a required 3-D Secure authentication before the first run
    /// of reconcile.
    authenticates: bool,
    /// How many searches for a payment, counted from the start of the simulation, find nothing
    /// although a payment exists. This simulates the lag of Stripe's search index.
    hidden_searches: usize,
}

fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for source in [
        "tok_visa",
        "tok_chargeDeclined",
        "tok_nobody",
        "tok_error500",
        "pm_threeDSecure",
    ] {
        for bits in 0..16_u8 {
            let on = |bit: u8| bits & (1 << bit) != 0;
            scenarios.push(Scenario {
                source,
                client_retries: on(0),
                webhook_delivers: on(1),
                authenticates: on(2),
                hidden_searches: usize::from(on(3)),
            });
        }
    }
    scenarios.retain(|scenario| !scenario.authenticates || scenario.source == "pm_threeDSecure");
    scenarios
}

/// An in-memory idempotency store. [`Memory`] counts the calls to this store and can make them fail,
/// like the calls to the other services.
struct FailingStore(Arc<Memory>, memory::Memory);

impl Store for FailingStore {
    async fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> Result<WriteOutcome, idempotency::Error> {
        let failed = |failure| idempotency::Error::Unavailable(format!("{failure:?}").into());
        let lost = self.0.begin("claim").map_err(failed)?;
        let outcome = self.1.write(record, expected).await?;
        lost.map_or(Ok(outcome), |failure| Err(failed(failure)))
    }
}

/// The state of one simulation: the in-memory services, the clock, and the results of the
/// invocations so far.
struct Simulation {
    cloud: Arc<Memory>,
    idempotency: Idempotency<FailingStore>,
    clock: Clock,
    /// The number of stream records that `purchase_paid` has handled without an error.
    stream_position: usize,
    /// The receipts that the client received.
    receipts: Vec<Receipt>,
}

impl Simulation {
    fn new(bug: SeededBug) -> Self {
        let cloud = Arc::new(Memory::with_bug(bug));
        let clock = Clock::default();
        let shared = clock.clone();
        let store = FailingStore(Arc::clone(&cloud), memory::Memory::default());
        Self {
            cloud,
            idempotency: Idempotency::new(store).with_clock(move || shared.now()),
            clock,
            stream_position: 0,
            receipts: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::of(self.clock.now())
    }

    /// Handles one request in the same way as the route `POST /billing`. Returns true if the client
    /// is done, and false if it must repeat the request.
    async fn post(&mut self, source: &str) -> bool {
        self.cloud.start_invocation();
        let key: IdempotencyKey = "k".parse().unwrap();
        let operation = Scope::of("POST /billing", "ada").operation(&key, source.as_bytes());
        let deadline = self.clock.now() + Duration::from_secs(10);
        let claim = self
            .idempotency
            .claim(&operation, deadline, PurchaseId::generate());
        let (guard, id) = match claim.await {
            Ok(ClaimOutcome::Start { guard, plan }) => (guard, plan),
            Ok(ClaimOutcome::Replay(receipt)) => {
                self.receipts.push(receipt);
                return true;
            }
            Ok(ClaimOutcome::InProgress { .. }) | Err(_) => return false,
            Ok(ClaimOutcome::PayloadMismatch) => panic!("all requests have the same body"),
        };
        let now = Timestamp::of(self.clock.now());
        let cloud = &*self.cloud;
        match purchase(cloud, cloud, buyer(), id, order(source), now).await {
            Ok(receipt) => {
                let _ = guard.complete(&receipt).await;
                self.receipts.push(receipt);
                true
            }
            Err(error) => {
                let _ = guard.release().await;
                matches!(error, Error::RequiresAction { .. })
            }
        }
    }

    /// Delivers the event of each succeeded payment until the webhook has handled the event twice
    /// without an error.
    async fn deliver_events(&self) {
        for SucceededPayment { intent, purchase } in self.cloud.succeeded() {
            let body = signing::succeeded(&purchase, intent.as_str());
            let time = self.now().as_millis() / 1000;
            let header = format!("t={time},v1={}", signing::signature(&body, "whsec", time));
            let secrets = [signing::secret("whsec")];
            let event = Event::verify(&body, &header, &secrets, self.now()).unwrap();
            let mut handled = 0;
            while handled < 2 {
                self.cloud.start_invocation();
                self.clock.advance(Duration::from_secs(1));
                handled += usize::from(webhook(&*self.cloud, &event, self.now()).await.is_ok());
            }
        }
    }

    /// Delivers each new record of the stream of the table Purchases until `purchase_paid` has
    /// handled the record without an error.
    async fn deliver_stream(&mut self) {
        while let Some(change) = self.cloud.stream().get(self.stream_position) {
            self.cloud.start_invocation();
            let handled = purchase_paid(&*self.cloud, change).await;
            self.stream_position += usize::from(handled.is_ok());
        }
    }

    /// Simulates the whole life of a purchase: the client's requests, the webhook events, the
    /// stream records and the runs of reconcile, until nothing can change the purchase.
    async fn run(&mut self, scenario: Scenario) {
        self.cloud.hide_payments(scenario.hidden_searches);
        for _ in 0..if scenario.client_retries { 5 } else { 1 } {
            self.post(scenario.source).await;
            self.clock.advance(Duration::from_secs(13));
        }
        if scenario.authenticates {
            self.cloud.authenticate();
        }
        if scenario.webhook_delivers {
            self.deliver_events().await;
        }
        self.deliver_stream().await;
        for minutes in [2, 5, 5, 20, 35, 60, 60, 20, 5] {
            self.clock.advance(Duration::from_secs(60 * minutes));
            self.cloud.start_invocation();
            let _ = reconcile(&*self.cloud, &*self.cloud, self.now(), 10).await;
            self.deliver_stream().await;
        }
        if scenario.client_retries {
            self.post(scenario.source).await;
        }
        // Now every payment that is still open charges the card.
        self.cloud.authenticate();
        if scenario.webhook_delivers {
            self.deliver_events().await;
        }
        self.deliver_stream().await;
    }

    /// Returns the invariants that this simulation violates.
    fn violations(&self) -> Vec<&'static str> {
        let cloud = &self.cloud;
        let mut violations = Vec::new();
        let mut charged: HashMap<_, usize> = HashMap::new();
        for (id, cents) in cloud.charges() {
            *charged.entry(id).or_default() += 1;
            if cents != 4_000 {
                violations.push("the amount of a charge is the price of its purchase");
            }
        }
        if cloud.charges().len() > 1 {
            violations.push("a card is charged at most once per key");
        }
        for purchase in cloud.purchases() {
            let charges = charged.remove(&purchase.key.purchase_id);
            self.check_purchase(&purchase, charges.unwrap_or_default(), &mut violations);
        }
        if !charged.is_empty() {
            violations.push("every charge belongs to a purchase");
        }
        if cloud.can_still_charge() {
            violations.push("no payment can charge a card in the end");
        }
        let pending = |status: &Status| matches!(status, Status::Pending { .. });
        let stream = cloud.stream();
        let mut before = stream.iter().filter_map(|change| change.before.as_ref());
        if before.any(|before| !pending(&before.status)) {
            violations.push("a settled purchase is not written again");
        }
        violations
    }

    /// Adds the invariants that `purchase` violates to `violations`. `charges` is the number of
    /// charges for `purchase`.
    fn check_purchase(
        &self,
        purchase: &Purchase,
        charges: usize,
        violations: &mut Vec<&'static str>,
    ) {
        let id = purchase.key.purchase_id;
        let published = self.cloud.published();
        let is_published = published.iter().any(|message| message.purchase_id == id);
        let receipts_are = |paid: bool| {
            let mut receipts = self.receipts.iter();
            receipts.all(|receipt| (receipt.purchase_id, receipt.declined.is_none()) == (id, paid))
        };
        match purchase.status {
            Status::Pending { .. } => violations.push("a purchase is settled in the end"),
            Status::Paid { .. } => {
                if charges == 0 {
                    violations.push("a paid purchase was charged");
                }
                if !is_published {
                    violations.push("a paid purchase is published");
                }
                if !receipts_are(true) {
                    violations.push("a receipt matches its purchase");
                }
            }
            Status::Failed { .. } => {
                if charges > 0 {
                    violations.push("a charged purchase is paid");
                }
                if is_published {
                    violations.push("a failed purchase is not published");
                }
                if !receipts_are(false) {
                    violations.push("a receipt matches its purchase");
                }
            }
        }
    }
}

/// One simulation of the sweep: its scenario, and the failure to inject. The failure is its kind
/// and the index of the call that fails, or None for a simulation without a failure.
type Case = (Scenario, Option<(Failure, usize)>);

#[derive(Default)]
struct Sweep {
    cases: usize,
    /// The names of the calls that failed in at least one case.
    calls: BTreeSet<&'static str>,
    /// The cases that violate at least one invariant, each with the invariants that it violates.
    violations: Vec<(Case, Vec<&'static str>)>,
}

/// Simulates every scenario once without a failure, and once for each combination of a call and a
/// kind of failure. The in-memory services have the deliberate bug `bug`.
async fn sweep(bug: SeededBug) -> Sweep {
    let mut sweep = Sweep::default();
    for scenario in scenarios() {
        let mut run = async |failing: Option<(Failure, usize)>| {
            let mut simulation = Simulation::new(bug);
            if let Some((failure, call)) = failing {
                simulation.cloud.fail(failure, call);
            }
            simulation.run(scenario).await;
            sweep.cases += 1;
            sweep.calls.extend(simulation.cloud.failed_call());
            let violations = simulation.violations();
            if !violations.is_empty() {
                sweep.violations.push(((scenario, failing), violations));
            }
            simulation.cloud.calls()
        };
        run(None).await;
        for failure in [
            Failure::Unsent,
            Failure::ResponseLost,
            Failure::KilledBefore,
            Failure::KilledAfter,
        ] {
            let mut call = 0;
            while run(Some((failure, call))).await > call {
                call += 1;
            }
        }
    }
    sweep
}

#[tokio::test]
async fn the_invariants_hold_whichever_call_fails() {
    let Sweep {
        cases,
        calls,
        violations,
    } = sweep(SeededBug::None).await;
    let count = violations.len();
    assert!(
        violations.is_empty(),
        "{count} of {cases}: {:#?}",
        violations.first()
    );
    assert!(cases > 10_000, "{cases}");
    let all = [
        "cancel",
        "charge",
        "claim",
        "due",
        "find_payment",
        "get_or_create",
        "postpone",
        "publish",
        "settle",
    ];
    assert!(calls.into_iter().eq(all));
}

/// Runs the sweep with services that have the deliberate bug `bug`. Returns the invariants that at
/// least one simulation violates.
async fn violated_by(bug: SeededBug) -> BTreeSet<&'static str> {
    let violations = sweep(bug).await.violations;
    violations
        .into_iter()
        .flat_map(|(_, violations)| violations)
        .collect()
}

#[tokio::test]
async fn the_sweep_detects_a_missing_idempotency_key() {
    let violated = violated_by(SeededBug::NoIdempotencyKey).await;
    assert!(
        violated.contains("a card is charged at most once per key"),
        "{violated:?}"
    );
}

#[tokio::test]
async fn the_sweep_detects_an_unconditional_settle() {
    let violated = violated_by(SeededBug::UnconditionalSettle).await;
    assert!(
        violated.contains("a settled purchase is not written again"),
        "{violated:?}"
    );
}

#[tokio::test]
async fn the_sweep_detects_a_missing_cancellation() {
    let violated = violated_by(SeededBug::NoCancel).await;
    assert!(
        violated.contains("a charged purchase is paid"),
        "{violated:?}"
    );
}

/// Simulates a race: a charge succeeds, but its response is lost, and Stripe's search does not find
/// the payment. The webhook settles the purchase as PAID just before reconcile tries to settle the
/// purchase as FAILED.
async fn paid_while_abandoned(bug: SeededBug) -> Simulation {
    let simulation = Simulation::new(bug);
    let cloud = &*simulation.cloud;
    let lost = cloud.with_pending("tok_visa").await;
    let Status::Pending { source, .. } = &lost.status else {
        panic!("a new purchase is PENDING")
    };
    let charged = cloud.charge(&lost, source).await.unwrap();
    assert!(matches!(charged, Payment::Succeeded { .. }));
    cloud.hide_payments(usize::MAX);
    let [succeeded] = cloud.succeeded().try_into().unwrap();
    cloud.succeed_during_search(succeeded);
    let late = NOON.after(super::ABANDON_AFTER);
    reconcile(cloud, cloud, late, 10).await.unwrap();
    simulation
}

#[tokio::test]
async fn a_purchase_that_the_webhook_settles_just_before_reconcile_stays_paid() {
    let simulation = paid_while_abandoned(SeededBug::None).await;
    assert!(matches!(
        simulation.cloud.only_purchase().status,
        Status::Paid { .. }
    ));
}

#[tokio::test]
async fn the_invariants_detect_an_unconditional_settle_in_a_race_with_the_webhook() {
    let simulation = paid_while_abandoned(SeededBug::UnconditionalSettle).await;
    assert!(
        simulation
            .violations()
            .contains(&"a charged purchase is paid")
    );
}

#[tokio::test]
async fn an_event_that_is_delivered_ten_times_settles_once() {
    let mut simulation = Simulation::new(SeededBug::None);
    simulation.post("pm_threeDSecure").await;
    simulation.cloud.authenticate();
    for _ in 0..5 {
        simulation.deliver_events().await;
    }
    simulation.deliver_stream().await;
    assert_eq!(simulation.cloud.stream().len(), 2, "created, then settled");
    assert_eq!(simulation.cloud.published().len(), 1);
    assert_eq!(simulation.violations(), [""; 0]);
}

#[tokio::test]
async fn an_event_for_a_missing_purchase_changes_nothing() {
    let simulation = Simulation::new(SeededBug::None);
    let body = signing::succeeded(&key(), "pi_1");
    let header = format!("t=0,v1={}", signing::signature(&body, "whsec", 0));
    let epoch = Timestamp::of(UNIX_EPOCH);
    let event = Event::verify(&body, &header, &[signing::secret("whsec")], epoch).unwrap();
    webhook(&*simulation.cloud, &event, epoch).await.unwrap();
    assert!(simulation.cloud.purchases().is_empty());
}
