//! Fault injection with the functions' binaries: every call of every function between a payment and the storage that it
//! buys fails in every way, and the tests check that the invariants hold at the end.
//! `cargo xtask test --faults` runs them.
//!
//! | module | contents |
//! |---|---|
//! | [`scenario`] | scenarios: the cards, the steps of the people involved, and the functions whose calls fail |
//! | [`failure`] | the ways in which a call can fail |
//! | [`simulation`] | one simulation of a scenario with the client, Stripe, Lambda and billing-reconcile |
//! | [`proxy`], [`call`] | the proxy that receives all calls and injects failures |
//! | [`cloud`], [`stream`] | the services that the functions call |
//! | [`invariants`] | the invariants that are checked after each simulation |
//! | [`sweep`](mod@sweep), [`report`], [`cpu_slot`] | all combinations of call and failure, their results, the limit on concurrent simulations |
//! | [`mutation`] | simulated bugs that the sweep must detect |

// Clippy does not treat helpers outside test functions as test code.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod call;
mod cloud;
mod cpu_slot;
mod failure;
mod invariants;
mod mutation;
mod proxy;
mod report;
mod scenario;
mod simulation;
mod stream;
mod sweep;

use std::collections::BTreeSet;

use mutation::Mutation;
use scenario::{CREDIT, PURCHASE, SCENARIOS, Scenario, WEBHOOK};
use sweep::{Row, Sweep, sweep};

#[tokio::test]
async fn the_invariants_hold_for_every_failure_of_every_call() {
    let on_progress = |done: usize, broken: Option<String>| {
        if let Some(name) = broken {
            eprintln!("BROKEN {name}");
        }
        if done.is_multiple_of(50) {
            eprintln!("{done} simulations done");
        }
    };
    let swept = sweep(Mutation::None, SCENARIOS, |_| true, on_progress).await;
    println!("{swept}");
    assert!(swept.results().all(|(_, result)| result.held()));
    assert_eq!(swept.skipped(), BTreeSet::new());
    assert!(swept.cells() >= 1_000, "{}", swept.cells());
}

/// Runs a sweep of the scenario `name` with a simulated bug. Failures are injected only into the selected calls.
async fn sweep_mutation(name: &str, mutation: Mutation, is_selected: fn(&Row) -> bool) -> Sweep {
    let mut scenarios = SCENARIOS.chunks(1);
    let scenario = scenarios.find(|scenario: &&[Scenario]| scenario[0].name == name);
    let swept = sweep(mutation, scenario.unwrap(), is_selected, |_, _| ()).await;
    assert!(swept.cells() > 0, "{swept}");
    swept
}

fn assert_detected(found: &Sweep, invariant: &'static str) {
    assert!(found.violated().contains(invariant), "{found}");
}

#[tokio::test]
async fn the_sweep_detects_a_settlement_without_a_condition_expression() {
    let settles = |row: &Row| row.function == WEBHOOK;
    let found = sweep_mutation("good card", Mutation::SettleCondition, settles).await;
    assert_detected(&found, invariants::SETTLED_ONCE);
}

#[tokio::test]
async fn the_sweep_detects_that_billing_purchase_wrongly_publishes_the_message() {
    let publishes = |row: &Row| row.function == PURCHASE && row.call == call::TO_TOPIC;
    let found = sweep_mutation("good card", Mutation::PublishFromRequest, publishes).await;
    assert!(found.scenarios[0].baseline.held(), "{found}");
    assert_detected(&found, invariants::SMS_IS_SENT); // part: notify
    assert_detected(&found, invariants::CREDIT_IS_EXACT);
}

#[tokio::test]
async fn the_sweep_detects_a_missing_stripe_idempotency_key() {
    let charges = |row: &Row| row.function == PURCHASE && row.call == call::CHARGE;
    let found = sweep_mutation("good card", Mutation::StripeKey, charges).await;
    assert_detected(&found, invariants::CHARGED_ONCE);
}

#[tokio::test]
async fn the_sweep_detects_a_refund_without_an_idempotency_key() {
    let refunds = |row: &Row| row.function == WEBHOOK && row.call == call::REFUND;
    let found = sweep_mutation("charged twice", Mutation::StripeKey, refunds).await;
    assert_detected(&found, invariants::IDEMPOTENT);
}

#[tokio::test]
async fn the_sweep_detects_a_credit_that_is_applied_twice() {
    let credits = |row: &Row| row.function == CREDIT;
    let found = sweep_mutation("good card", Mutation::CreditTwice, credits).await;
    assert_detected(&found, invariants::CREDIT_IS_EXACT);
}

#[tokio::test]
async fn the_sweep_detects_a_refund_that_does_not_revoke_the_storage() {
    let credits = |row: &Row| row.function == CREDIT;
    let found = sweep_mutation("refund", Mutation::NoRevocation, credits).await;
    assert_detected(&found, invariants::CREDIT_IS_EXACT);
}
