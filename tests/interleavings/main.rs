//! Interleavings
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod call;
mod functions;
mod invariants;
mod model;
mod world;

use std::time::Duration;

use model::{Explored, Limits, Schedules};
use world::{Bug, Client, World};

const MINUTE: Duration = Duration::from_secs(60);
const CLOCK: [Duration; 6] = [
    Duration::from_secs(15),
    Duration::from_secs(150),
    Duration::from_secs(3600),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(150),
    Duration::from_secs(150),
];

fn explore(bug: Bug, clients: Vec<Client>, copies: u8, concurrent: usize, failures: u8) -> Explored {
    let world = World::new(bug, &CLOCK, copies, clients);
    let explored = Schedules::new(world, Limits { concurrent, failures }).explore();
    eprintln!(
        "{bug:?}: {:.2e} schedules, {} states, {} steps, depth {}, {:.1} s",
        explored.schedules, explored.states, explored.steps, explored.depth, explored.seconds
    );
    if let Some(violation) = &explored.violation {
        eprintln!("{violation}");
    }
    explored
}

#[test]
fn small() {
    let _ = MINUTE;
    let one = |source| vec![Client::new(1, source, "k", 1)];
    for source in ["tok_visa", "tok_chargeDeclined", "pm_threeDSecure"] {
        for failures in [0, 1] {
            explore(Bug::None, one(source), 1, 2, failures);
        }
    }
    let two = |source| vec![Client::new(1, source, "k", 1), Client::new(2, source, "k", 1)];
    explore(Bug::None, two("tok_visa"), 2, 2, 1);
    explore(Bug::None, two("pm_threeDSecure"), 2, 2, 1);
    for bug in [Bug::NoIdempotencyKey, Bug::UnconditionalSettle, Bug::NoCancel, Bug::CancelIgnoresSuccess] {
        explore(bug, two("pm_threeDSecure"), 1, 2, 1);
    }
}
