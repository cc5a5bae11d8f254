//! The crash sweep over the real binaries and the wire: each call of each function through which
//! money goes fails in every way, and what Stripe, the tables and the SMS outbox hold at the end of
//! the purchase's life is what it should be. Run by `cargo xtask test --faults`.
//!
//! | module | is |
//! |---|---|
//! | [`life`] | what becomes of a purchase: its card, who comes back, which calls fail |
//! | [`failure`] | the ways in which a call fails |
//! | [`world`] | one life, lived to its end by everybody who takes part |
//! | [`wire`], [`call`] | the proxy through which all calls go |
//! | [`cloud`], [`stream`] | what is outside |
//! | [`invariants`] | what must hold |
//! | [`sweep`](mod@sweep), [`table`], [`place`] | all cells, what they came to, and how many at once |
//! | [`broken`] | functions that are broken on purpose, which the sweep has to find out |

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod broken;
mod call;
mod cloud;
mod failure;
mod invariants;
mod life;
mod place;
mod stream;
mod sweep;
mod table;
mod wire;
mod world;

use broken::Broken;
use life::{LIVES, PURCHASE, WEBHOOK};
use sweep::{Row, Sweep, sweep};

#[tokio::test]
async fn whatever_call_fails_in_whatever_way_the_invariants_hold() {
    let tell = |done: usize| {
        if done.is_multiple_of(50) {
            eprintln!("{done} cells");
        }
    };
    let swept = sweep(Broken::Nothing, LIVES, |_| true, tell).await;
    println!("{swept}");
    assert!(swept.ends().all(|(_, end)| end.held()));
    assert!(swept.cells() >= 100, "{}", swept.cells());
}

/// Sweeps some calls of a purchase by a good card, with functions that are broken.
async fn sweep_broken(broken: Broken, keeps: fn(&Row) -> bool) -> Sweep {
    let swept = sweep(broken, &LIVES[..1], keeps, |_| ()).await;
    assert!(swept.cells() > 0, "{swept}");
    swept
}

#[tokio::test]
async fn without_its_condition_settle_writes_over_what_is_settled() {
    let found = sweep_broken(Broken::SettleCondition, |row| row.function == WEBHOOK).await;
    assert!(
        found.breached().contains(invariants::SETTLED_ONCE),
        "{found}"
    );
}

#[tokio::test]
async fn published_from_the_request_a_purchase_is_lost_between_its_settlement_and_its_message() {
    let publishes = |row: &Row| row.function == PURCHASE && row.call == call::TO_TOPIC;
    let found = sweep_broken(Broken::PublishFromRequest, publishes).await;
    assert!(found.lives[0].unfailing.held(), "{found}");
    assert!(
        found.breached().contains(invariants::PAID_IS_TOLD),
        "{found}"
    );
}

#[tokio::test]
async fn without_the_idempotency_key_a_card_is_charged_twice() {
    let charges = |row: &Row| row.function == PURCHASE && row.call.starts_with("Stripe");
    let found = sweep_broken(Broken::StripeKey, charges).await;
    assert!(found.lives[0].unfailing.held(), "{found}");
    assert!(
        found.breached().contains(invariants::CHARGED_ONCE),
        "{found}"
    );
}
