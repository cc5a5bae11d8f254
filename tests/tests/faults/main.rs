//! Fault injection with the functions' binaries: every call of every payment function fails in every way,
//! and the tests check that the invariants of charges, purchases and SMS hold at the end.
//! `cargo xtask test --faults` runs them.
//!
//! | module | contents |
//! |---|---|
//! | [`scenario`] | scenarios: the card, the client's behavior, and the functions whose calls fail |
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

use mutation::Mutation;
use scenario::{PURCHASE, SCENARIOS, WEBHOOK};
use sweep::{Row, Sweep, sweep};

#[tokio::test]
async fn the_invariants_hold_for_every_failure_of_every_call() {
    let on_progress = |done: usize| {
        if done.is_multiple_of(50) {
            eprintln!("{done} simulations done");
        }
    };
    let swept = sweep(Mutation::None, SCENARIOS, |_| true, on_progress).await;
    println!("{swept}");
    assert!(swept.results().all(|(_, result)| result.held()));
    assert!(swept.cells() >= 100, "{}", swept.cells());
}

/// Runs a sweep of the first scenario with a simulated bug. Failures are injected only into the selected calls.
async fn sweep_mutation(mutation: Mutation, is_selected: fn(&Row) -> bool) -> Sweep {
    let swept = sweep(mutation, &SCENARIOS[..1], is_selected, |_| ()).await;
    assert!(swept.cells() > 0, "{swept}");
    swept
}

#[tokio::test]
async fn the_sweep_detects_a_settlement_without_a_condition_expression() {
    let found = sweep_mutation(Mutation::SettleCondition, |row| row.function == WEBHOOK).await;
    assert!(
        found.violated().contains(invariants::SETTLED_ONCE),
        "{found}"
    );
}

#[tokio::test]
async fn the_sweep_detects_that_billing_purchase_wrongly_publishes_the_message() {
    let publishes = |row: &Row| row.function == PURCHASE && row.call == call::TO_TOPIC;
    let found = sweep_mutation(Mutation::PublishFromRequest, publishes).await;
    assert!(found.scenarios[0].baseline.held(), "{found}");
    assert!(
        found.violated().contains(invariants::PAID_HAS_SMS),
        "{found}"
    );
}

#[tokio::test]
async fn the_sweep_detects_a_missing_stripe_idempotency_key() {
    let charges = |row: &Row| row.function == PURCHASE && row.call.starts_with("Stripe");
    let found = sweep_mutation(Mutation::StripeKey, charges).await;
    assert!(found.scenarios[0].baseline.held(), "{found}");
    assert!(
        found.violated().contains(invariants::CHARGED_ONCE),
        "{found}"
    );
}
