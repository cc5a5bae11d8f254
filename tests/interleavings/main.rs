//! Every interleaving of the functions of payments and storage. The real controllers run over services in memory, two or
//! three at once, in every order of their calls, with failed, repeated and late calls, crashes, and repeated and late
//! deliveries. After each step, the invariants must hold.
//!
//! The checker of stateright explores the schedules: breadth-first, so that it finds the shortest schedule that violates
//! an invariant. Two schedules that lead to the same situation continue as one. A situation is the state of the
//! [`world`], and the responses that each running invocation has received.
//!
//! | module | contents |
//! |---|---|
//! | [`scenarios`] | the scenarios, and the limits of their schedules |
//! | [`functions`] | the functions and their events |
//! | [`world`] | the services in memory, the clients, and the clock |
//! | [`call`] | one call of an invocation: the boundary between a controller and the world |
//! | [`model`] | the steps of a schedule, and the exploration |
//! | [`invariants`] | the invariants |
//! | [`bugs`] | bugs that the exploration must reveal |
//!
//! With the environment variable `INTERLEAVINGS=deep`, the limits are larger: see [`scenarios::deep`]. Then the exploration
//! takes minutes, and does not reach the end of every scenario.

// Clippy does not treat helpers outside test functions as test code.
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

use std::{
    collections::BTreeSet,
    env,
    io::{self, Write as _},
    num::NonZero,
    sync::Mutex,
    thread,
};

use call::Fate;
use model::{Calls, Explored, Schedules};
use scenarios::Scenario;
use world::World;

/// Explores the scenarios, as many at once as there are processors. Returns the results in the order of the scenarios.
fn explore(scenarios: &[Scenario]) -> Vec<Explored> {
    let left = Mutex::new(scenarios.iter().enumerate());
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = left.lock().unwrap().next();
            let Some((number, scenario)) = next else {
                return;
            };
            let world = World::new(scenario.setting.clone());
            let explored = Schedules::new(world, scenario.limits).explore();
            if is_deep() {
                print(&row(scenario.name, &explored));
            }
            results.lock().unwrap().push((number, explored));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, explored)| explored).collect()
}

fn is_deep() -> bool {
    env::var("INTERLEAVINGS").is_ok_and(|value| value == "deep")
}

/// Writes a report directly to standard error, because the test runner shows what `println!` prints only if
/// the test fails.
fn print(report: &str) {
    io::stderr().write_all(report.as_bytes()).unwrap();
}

fn row(name: &str, explored: &Explored) -> String {
    let Explored {
        schedules,
        states,
        steps,
        depth,
        seconds,
        ..
    } = explored;
    let note = if explored.is_complete {
        ""
    } else {
        ", stopped early"
    };
    format!(
        "{name:<44} {schedules:>10.1e} {states:>11} {steps:>9} {depth:>7} {seconds:>6.1} s{note}\n"
    )
}

#[test]
fn the_invariants_hold_in_every_schedule() {
    let mut scenarios = scenarios::all();
    let deep = is_deep();
    if deep {
        scenarios.iter_mut().for_each(scenarios::deep);
    }
    let results = explore(&scenarios);
    let mut report = format!(
        "\n{:<44} {:>10} {:>11} {:>9} {:>7} {:>8}\n",
        "scenario", "schedules", "situations", "steps", "longest", "time"
    );
    let mut calls = Calls::new();
    let (mut states, mut steps) = (0, 0);
    for (scenario, explored) in scenarios.iter().zip(&results) {
        report += &row(scenario.name, explored);
        calls.extend(&explored.calls);
        states += explored.states;
        steps += explored.steps;
    }
    report += &format!(
        "{} scenarios, {states} situations, {steps} steps, {}\n\n",
        scenarios.len(),
        summary(&calls)
    );
    print(&report);
    for (scenario, explored) in scenarios.iter().zip(&results) {
        if let Some(violation) = &explored.violation {
            panic!("{}: {violation}", scenario.name);
        }
        assert!(explored.is_complete || deep, "{}", scenario.name);
    }
    let functions: BTreeSet<_> = calls.iter().map(|(function, ..)| *function).collect();
    assert!(functions.iter().eq(FUNCTIONS));
}

/// The functions whose controllers run.
const FUNCTIONS: &[&str] = &[
    "cancel",
    "create",
    "credit",
    "delete",
    "notify", // part: notify
    "purchase",
    "purchase-paid",
    "reconcile",
    "resume",
    "webhook",
];

/// The number of different calls of functions, and how many of them failed in every way. The others are made only after
/// another call has failed.
fn summary(calls: &Calls) -> String {
    let all: BTreeSet<_> = calls
        .iter()
        .map(|(function, call, _)| (*function, *call))
        .collect();
    let fails = |(function, call): &&(&'static str, &'static str)| {
        let fates = match World::writes(call) {
            true => &[Fate::Unsent, Fate::ResponseLost, Fate::Late][..],
            false => &[Fate::Unsent],
        };
        let mut fates = fates.iter();
        fates.all(|fate| calls.contains(&(function, call, Some(*fate))))
    };
    let failed = all.iter().filter(fails).count();
    format!("{} calls, {failed} of them failed in every way", all.len())
}

#[test]
fn every_bug_is_revealed_by_a_schedule() {
    let all = scenarios::all();
    let scenarios = bugs::ALL.iter().map(|(bug, name)| {
        let mut scenario = all
            .iter()
            .find(|scenario| scenario.name == *name)
            .unwrap()
            .clone();
        scenario.setting.bug = Some(*bug);
        scenario
    });
    let results = explore(&scenarios.collect::<Vec<_>>());
    let mut report = String::new();
    for ((bug, name), explored) in bugs::ALL.iter().zip(&results) {
        match &explored.violation {
            Some(violation) => report += &format!("\n{bug}: found in \"{name}\", {violation}"),
            None => report += &format!("\n{bug}: NOT FOUND in \"{name}\"\n"),
        }
    }
    print(&report);
    for ((bug, _), explored) in bugs::ALL.iter().zip(&results) {
        assert!(explored.violation.is_some(), "{bug}");
    }
}
