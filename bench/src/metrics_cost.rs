//! The cost of the metrics: the instructions that `libs/metrics` executes in an invocation, compared with those of the
//! whole invocation.

use std::collections::BTreeMap;
use std::env;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{Dimensions, Emf, NOTES_CREATED, Outcome, Subject};

use crate::callgrind;
use crate::fixture;
use crate::gate::Gates;

/// The part of the instructions of a warm invocation that the metrics may take, in percent.
const ALLOWED_PERCENT: u64 = 1;

/// The number of invocations by which two counts differ.
const INVOCATIONS: usize = 1000;

/// Records the metrics of `invocations` requests that each create a note, and writes them in the embedded metric format.
pub(crate) fn record(invocations: usize) -> Result<()> {
    let name = |name: &str| name.parse().map_err(anyhow::Error::msg);
    let dimensions = Dimensions {
        stage: name("dev")?,
        route_group: Some(name("notes")?),
        function: "scratchpad-dev-notes-create".into(),
        version: "$LATEST".into(),
    };
    let key = "00010203-0405-0607-0809-0a0b0c0d0e0f".parse();
    let emf = Emf::new(&dimensions, key.map_err(anyhow::Error::msg)?);
    for _ in 0..invocations {
        let mut line = Vec::with_capacity(2048);
        metrics::begin();
        metrics::log_user("us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48");
        Subject::Note.log("019aa0b4-e100-7d21-a6e4-3c8f1b52d90b");
        NOTES_CREATED.add(1);
        emf.finish(&mut line, Outcome::Success, Duration::from_micros(2_345));
        black_box(line);
    }
    Ok(())
}

/// Counts the instructions of the metrics of one invocation. Returns a message if the metrics take more than
/// [`ALLOWED_PERCENT`] of the instructions of a function's warm invocation.
///
/// # Errors
/// Fails if the instructions cannot be counted.
pub(crate) async fn excess(gates: &Gates, folder: &Path) -> Result<Option<String>> {
    let fewer = count(INVOCATIONS, folder).await?;
    let more = count(2 * INVOCATIONS, folder).await?;
    let cost = more.saturating_sub(fewer) / INVOCATIONS as u64;
    let warm = |(name, figures): (&String, &BTreeMap<String, u64>)| {
        figures.get("warm").map(|&warm| (warm, name.clone()))
    };
    let (least, function) = gates
        .iter()
        .filter_map(warm)
        .min()
        .context("there are no gates")?;
    let percent = cost as f64 * 100.0 / least as f64;
    if cost * 100 <= least * ALLOWED_PERCENT {
        eprintln!(
            "✓ metrics take {cost} instructions, {percent:.2} % of a warm invocation of {function}"
        );
        return Ok(None);
    }
    Ok(Some(format!(
        "metrics take {cost} instructions, {percent:.2} % of a warm invocation of {function}; {ALLOWED_PERCENT} % is allowed"
    )))
}

/// Counts the instructions of this program while it records the metrics of `invocations` requests.
async fn count(invocations: usize, folder: &Path) -> Result<u64> {
    let arguments = ["--record-metrics", &invocations.to_string()];
    let valgrind = fixture::program("valgrind")?;
    callgrind::count_program(&env::current_exe()?, &arguments, &valgrind, folder).await
}
