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
mod scenarios;
mod world;

use model::{Explored, Schedules};
use scenarios::Scenario;
use world::World;

fn explore(scenario: Scenario) -> Explored {
    let Scenario {
        name,
        setting,
        limits,
    } = scenario;
    let explored = Schedules::new(World::new(setting), limits).explore();
    eprintln!(
        "{name:<45} {:>8.1e} schedules {:>8} states {:>8} steps {:>3} deep {:.1} s",
        explored.schedules, explored.states, explored.steps, explored.depth, explored.seconds
    );
    if let Some(violation) = &explored.violation {
        eprintln!("{violation}");
    }
    explored
}

#[test]
fn bugs_are_found() {
    for (bug, name) in bugs::ALL {
        let mut scenario = scenarios::all()
            .into_iter()
            .find(|scenario| scenario.name == name)
            .unwrap();
        scenario.setting.bug = Some(bug);
        scenario.limits.failures =
            scenario
                .limits
                .failures
                .min(if matches!(bug, bugs::Bug::NoIdempotencyKey) {
                    1
                } else {
                    0
                });
        eprintln!("{bug}");
        explore(scenario);
    }
}

#[test]
fn small() {
    for scenario in scenarios::all() {
        explore(scenario);
    }
}
