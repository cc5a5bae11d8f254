//! Interleavings
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod bugs;
mod call;
mod functions;
mod invariants;
mod model;
mod world;

use std::time::Duration;

use functions::{Request, What};
use model::{Explored, Limits, Schedules};
use world::{Setting, World};

fn minutes<const N: usize>(minutes: [u64; N]) -> Vec<Duration> {
    minutes.map(|minutes| Duration::from_secs(60 * minutes)).into()
}

fn explore(name: &str, setting: Setting, limits: Limits) -> Explored {
    let explored = Schedules::new(World::new(setting), limits).explore();
    eprintln!(
        "{name}: {:.2e} schedules, {} states, {} steps, depth {}, {:.1} s",
        explored.schedules, explored.states, explored.steps, explored.depth, explored.seconds
    );
    if let Some(violation) = &explored.violation {
        eprintln!("{violation}{}", violation.world);
    }
    explored
}

#[test]
fn small() {
    for source in ["tok_visa", "tok_chargeDeclined", "pm_threeDSecure"] {
        for failures in [0, 1] {
            let setting = Setting {
                clock: minutes([3, 3, 60, 3, 3]),
                requests: vec![Request {
                    what: What::Purchase { id: 1, source, key: "k" },
                    retries: 1,
                    step: 0,
                }],
                successes: 1,
                other_events: 0,
                stream: true,
                ..Setting::default()
            };
            explore(source, setting, Limits { concurrent: 2, failures, delays: 0 });
        }
    }
}
