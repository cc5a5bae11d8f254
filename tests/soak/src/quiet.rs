//! Waits until a stage has no work left, so that its data can be compared with the ledger.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use test_support::stage::Stage;
use tokio::process::Command;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::compare::{Comparison, compare};
use crate::ledger;
use crate::payments::compare::Interruption; // part: notify
use crate::payments::{self, Owner}; // part: billing
use crate::stored::{self, Source, WITH_DEAD_LETTERS};

/// The environment variable that contains the path of xtask.
pub(crate) const XTASK: &str = "SCRATCHPAD_XTASK";

/// How long a stage may need until everything that was acknowledged is stored, settled and announced.
const LIMIT: Duration = Duration::from_secs(420);

/// How long a stage must stay without a difference: longer than the pauses between Lambda's retries.
const STABLE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_secs(3);

/// Makes the stage do the work that is left, and compares its data with the ledger, until there is no difference for
/// [`STABLE`] or [`LIMIT`] is over. Returns the last comparison.
pub(crate) async fn settle_and_compare(
    stage: &'static Stage,
    owner: &Owner, // part: billing
    ledger: &Path,
    users: &BTreeSet<String>,
    interruptions: &[Interruption], // part: notify
) -> Result<Comparison> {
    let entries = ledger::read(ledger)?;
    let started = Instant::now();
    let (mut last, mut equal_since) = (None, None);
    loop {
        let source = Source {
            stage,
            owner: owner.clone(), // part: billing
        };
        let users = users.clone();
        let elapsed = started.elapsed(); // part: billing
        // A helper of the tests panics if it fails. In a task of its own, that is an error of the task.
        let round = spawn_local(async move {
            payments::do_work(stage, &source.owner, elapsed).await; // part: billing
            process_dead_letters(stage).await;
            stored::read(&source, &users).await
        });
        if let Ok(stored) = round.await {
            let comparison = compare(
                &entries,
                &stored,
                interruptions, // part: notify
            );
            let is_equal = comparison.differences.is_empty();
            equal_since = is_equal.then(|| equal_since.unwrap_or_else(Instant::now));
            last = Some(comparison);
        }
        let is_stable = equal_since.is_some_and(|since| since.elapsed() >= STABLE);
        if is_stable || started.elapsed() > LIMIT {
            return last.context("the stage does not respond after the load");
        }
        sleep(PAUSE).await;
    }
}

/// Processes the dead letters of all functions, as the owner of the stage does.
async fn process_dead_letters(stage: &'static Stage) {
    for function in WITH_DEAD_LETTERS {
        if !stage.dead_letters_of(function).await.is_empty() {
            redrive(function).await;
        }
    }
}

/// Processes the dead letters of a function with `cargo xtask redrive`.
async fn redrive(function: &str) {
    if let Some(xtask) = std::env::var_os(XTASK) {
        let mut redrive = Command::new(xtask);
        redrive.args(["redrive", function, "--stage", "local"]);
        // The comparison shows messages that are left.
        let _ = redrive.kill_on_drop(true).output().await;
    }
}
