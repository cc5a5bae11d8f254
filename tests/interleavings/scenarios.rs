//! The scenarios: what clients, Stripe and the shop's employees do.

use std::time::Duration;

use billing::purchase::{DisputeStatus, Storage};

use crate::{
    functions::{Request, What},
    model::Limits,
    world::{Owner, Setting, Start},
};

/// A scenario, with the limits of its schedules.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) setting: Setting,
    pub(crate) limits: Limits,
}

fn minutes<const N: usize>(minutes: [u64; N]) -> Vec<Duration> {
    let minutes = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    minutes.into()
}

fn request(what: What, retries: u8) -> Request {
    Request {
        what,
        retries,
        step: 0,
    }
}

fn buy(id: u8, source: &'static str, key: &'static str, retries: u8) -> Request {
    request(What::Purchase { id, source, key }, retries)
}

const LIMITS: Limits = Limits {
    concurrent: 2,
    failures: 1,
    delays: 1,
};

/// One or several requests to pay, with webhook, stream and reconcile.
fn pay(name: &'static str, requests: Vec<Request>) -> Scenario {
    Scenario {
        name,
        setting: Setting {
            clock: minutes([3, 3, 10, 60, 10, 3, 3]),
            requests,
            successes: 1,
            other_events: 1,
            stream: true,
            ..Setting::default()
        },
        limits: LIMITS,
    }
}

/// Requests for an order whose function was stopped before it charged the card.
fn open(name: &'static str, source: &'static str, requests: Vec<Request>) -> Scenario {
    let mut scenario = pay(name, requests).short().three_at_once();
    scenario.setting.start = Start::Pending(source);
    scenario
}

/// Purchase 1 at the start, and what happens to it in Stripe.
fn sold(name: &'static str, start: Start, owner: &[Owner]) -> Scenario {
    Scenario {
        name,
        setting: Setting {
            clock: minutes([3, 3, 3, 3]),
            start,
            owner: owner.into(),
            successes: u8::from(start != Start::Paid || owner.contains(&Owner::ChargeAgain(1))),
            other_events: 1,
            stream: true,
            credit: 1,
            ..Setting::default()
        },
        limits: Limits {
            delays: 0,
            ..LIMITS
        },
    }
}

fn notes(name: &'static str, notes: &[(u8, bool)], requests: Vec<Request>) -> Scenario {
    Scenario {
        name,
        setting: Setting {
            clock: minutes([3, 3, 3]),
            requests,
            notes: notes.into(),
            free: 2,
            ..Setting::default()
        },
        limits: Limits {
            concurrent: 3,
            ..LIMITS
        },
    }
}

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    let visa = || buy(1, "tok_visa", "a", 1);
    let secure = || buy(1, "pm_threeDSecure", "a", 1);
    let cancel = || request(What::Cancel(1), 1);
    let resume = || request(What::Resume(1), 1);
    let create = |id, key| request(What::Create { id, key }, 1);
    let delete = |id| request(What::Delete(id), 1);
    let dispute = |status| [DisputeStatus::Open, status].map(|status| Owner::Dispute(0, status));
    let price = Storage::try_from(10).unwrap().price().get();
    let quarter = price / 4;
    let (part, rest) = (Owner::Refund(0, quarter), Owner::Refund(0, price - quarter));
    let again = Owner::ChargeAgain(1);
    vec![
        pay("a valid card", vec![visa()]).twice().three_at_once(),
        pay(
            "a declined card",
            vec![buy(1, "tok_chargeDeclined", "a", 1)],
        )
        .three_at_once(),
        pay("an unknown card", vec![buy(1, "tok_nobody", "a", 1)]),
        pay("3-D Secure", vec![secure()]).twice(),
        pay("a slow bank", vec![buy(1, "pm_slow", "a", 1)]),
        pay(
            "a charge with the status 500",
            vec![buy(1, "tok_error500", "a", 1)],
        ),
        pay(
            "no charge, with the status 500",
            vec![buy(1, "tok_error500NoEffect", "a", 1)],
        ),
        pay(
            "the same request twice at once",
            vec![visa(), buy(2, "tok_visa", "a", 1)],
        ),
        pay(
            "two orders at once",
            vec![visa(), buy(2, "pm_threeDSecure", "b", 0)],
        )
        .short(),
        pay("an order is canceled", vec![visa(), cancel()]),
        pay(
            "an order with 3-D Secure is canceled",
            vec![secure(), cancel()],
        ),
        pay("an order is resumed", vec![secure(), resume()]),
        pay(
            "an order is resumed and canceled",
            vec![secure(), resume(), cancel()],
        )
        .short(),
        open(
            "an open order is resumed twice",
            "tok_visa",
            vec![resume(), resume()],
        ),
        open(
            "an open order is resumed and canceled",
            "pm_threeDSecure",
            vec![resume(), cancel()],
        ),
        open(
            "an open order is canceled twice",
            "pm_threeDSecure",
            vec![cancel(), cancel()],
        ),
        open(
            "an open order with a slow bank is canceled",
            "pm_slow",
            vec![resume(), cancel()],
        ),
        sold("a partial and a full refund", Start::Paid, &[part, rest]),
        sold(
            "a refund that fails",
            Start::Paid,
            &[part, Owner::RefundFails(0, quarter)],
        ),
        sold(
            "a dispute is lost",
            Start::Paid,
            &dispute(DisputeStatus::Lost),
        ),
        sold(
            "a dispute is won",
            Start::Paid,
            &dispute(DisputeStatus::Won),
        ),
        sold(
            "a refund and a dispute",
            Start::Paid,
            &[part, Owner::Dispute(0, DisputeStatus::Open)],
        ),
        sold(
            "a refund before the purchase is settled",
            Start::Charged("tok_visa"),
            &[part],
        ),
        sold("a second charge of a paid purchase", Start::Paid, &[again]),
        sold(
            "two charges of a pending purchase",
            Start::Charged("tok_visa"),
            &[again],
        ),
        sold("a charge of a failed purchase", Start::Failed, &[again]).twice(),
        sold(
            "a dispute while the stream is lost",
            Start::Paid,
            &[Owner::Dispute(0, DisputeStatus::Open)],
        )
        .without_stream(),
        sale(),
        announced("a paid purchase is announced"),
        announced("a paid purchase is announced by reconcile").without_stream(),
        notes(
            "three notes, with room for two",
            &[],
            vec![create(1, "a"), create(2, "b"), create(3, "c")],
        ),
        notes(
            "a note is created twice and deleted",
            &[],
            vec![create(1, "a"), create(2, "a"), delete(1)],
        ),
        notes(
            "two notes are deleted while one is created",
            &[(1, true), (2, true)],
            vec![delete(1), delete(1), create(3, "a")],
        ),
        notes(
            "an uncounted note is deleted",
            &[(1, false), (2, true)],
            vec![delete(1), delete(2), create(3, "a")],
        ),
    ]
}

/// From the order to the credit: a note can be created only after the purchase is credited.
fn sale() -> Scenario {
    let create = request(What::Create { id: 1, key: "b" }, 0);
    let requests = vec![buy(1, "tok_visa", "a", 1), create];
    let mut scenario = pay("a sale from the order to the credit", requests).short();
    scenario.setting.notify = 1; // part: notify
    scenario.setting.credit = 1;
    scenario
}

fn announced(name: &'static str) -> Scenario {
    let mut scenario = sold(name, Start::Paid, &[]);
    scenario.setting.notify = 2; // part: notify
    scenario.setting.credit = 2;
    scenario
}

/// Increases the limits of a scenario: one more invocation at once, one more failure and one more delay.
pub(crate) fn deep(scenario: &mut Scenario) {
    let Limits {
        concurrent,
        failures,
        delays,
    } = &mut scenario.limits;
    *concurrent += 1;
    *failures += 1;
    *delays += 1;
}

impl Scenario {
    /// Stripe delivers the event of a success twice.
    fn twice(mut self) -> Self {
        self.setting.successes = 2;
        self
    }

    /// No delays.
    fn short(mut self) -> Self {
        self.limits.delays = 0;
        self
    }

    fn three_at_once(mut self) -> Self {
        self.limits.concurrent = 3;
        self
    }

    fn without_stream(mut self) -> Self {
        self.setting.stream = false;
        self.setting.notify = 1; // part: notify
        self
    }
}
