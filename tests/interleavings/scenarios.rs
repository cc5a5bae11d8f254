//! The scenarios: what clients, Stripe and the shop's employees do.

use std::time::Duration;

use billing::purchase::DisputeStatus;

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

/// Purchase 1 at the start, and what happens to it in Stripe.
fn sold(name: &'static str, start: Start, owner: &[Owner]) -> Scenario {
    Scenario {
        name,
        setting: Setting {
            clock: minutes([3, 3, 3, 3]),
            start,
            owner: owner.into(),
            successes: 1,
            other_events: 1,
            stream: true,
            credit: 1,
            ..Setting::default()
        },
        limits: LIMITS,
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
    let create = |id, key| request(What::Create { id, key }, 1);
    let mut all = vec![
        pay("a valid card", vec![buy(1, "tok_visa", "a", 1)]),
        pay(
            "a declined card",
            vec![buy(1, "tok_chargeDeclined", "a", 1)],
        ),
        pay("an unknown card", vec![buy(1, "tok_nobody", "a", 1)]),
        pay("3-D Secure", vec![buy(1, "pm_threeDSecure", "a", 1)]),
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
            vec![buy(1, "tok_visa", "a", 1), buy(2, "tok_visa", "a", 1)],
        ),
        pay(
            "two orders at once",
            vec![
                buy(1, "tok_visa", "a", 1),
                buy(2, "pm_threeDSecure", "b", 1),
            ],
        ),
        pay(
            "an order is canceled",
            vec![buy(1, "tok_visa", "a", 0), request(What::Cancel(1), 1)],
        ),
        pay(
            "an order with 3-D Secure is canceled",
            vec![
                buy(1, "pm_threeDSecure", "a", 0),
                request(What::Cancel(1), 1),
            ],
        ),
        pay(
            "an order is resumed",
            vec![
                buy(1, "pm_threeDSecure", "a", 0),
                request(What::Resume(1), 1),
            ],
        ),
        sold(
            "a partial and a full refund",
            Start::Paid,
            &[Owner::Refund(0, 1_000), Owner::Refund(0, 3_000)],
        ),
        sold(
            "a dispute is lost",
            Start::Paid,
            &[
                Owner::Dispute(0, DisputeStatus::Open),
                Owner::Dispute(0, DisputeStatus::Lost),
            ],
        ),
        sold(
            "a dispute is won",
            Start::Paid,
            &[
                Owner::Dispute(0, DisputeStatus::Open),
                Owner::Dispute(0, DisputeStatus::Won),
            ],
        ),
        sold(
            "a refund before the purchase is settled",
            Start::Charged("tok_visa"),
            &[Owner::Refund(0, 1_000)],
        ),
        sold(
            "a second charge of a paid purchase",
            Start::Paid,
            &[Owner::ChargeAgain(1)],
        ),
        sold(
            "two charges of a pending purchase",
            Start::Charged("tok_visa"),
            &[Owner::ChargeAgain(1)],
        ),
        notes(
            "three notes, with room for two",
            &[],
            vec![create(1, "a"), create(2, "b"), create(3, "c")],
        ),
        notes(
            "a note is created twice and deleted",
            &[],
            vec![create(1, "a"), create(2, "a"), request(What::Delete(1), 1)],
        ),
        notes(
            "two notes are deleted while one is created",
            &[(1, true), (2, true)],
            vec![
                request(What::Delete(1), 1),
                request(What::Delete(1), 1),
                create(3, "a"),
            ],
        ),
        notes(
            "an uncounted note is deleted",
            &[(1, false), (2, true)],
            vec![
                request(What::Delete(1), 1),
                request(What::Delete(2), 1),
                create(3, "a"),
            ],
        ),
    ];
    let mut announced = sold("a paid purchase is announced", Start::Paid, &[]);
    announced.setting.notify = 2;
    announced.setting.credit = 2;
    announced.setting.successes = 0;
    all.push(announced);
    all
}
