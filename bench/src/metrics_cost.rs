//! The cost of the metrics: the instructions that `libs/metrics` executes in an invocation, compared with those of the
//! whole invocation.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::callgrind;
use crate::fixture;
use crate::gate::Gates;

/// The part of the instructions of a warm invocation that the metrics may take, in percent.
const ALLOWED_PERCENT: u64 = 1;

/// The number of invocations by which two counts differ.
const INVOCATIONS: u64 = 1000;

/// Counts the instructions of the metrics of one invocation. `program` is the example `invocations` of `libs/metrics`. Returns a message if the metrics take more than
/// [`ALLOWED_PERCENT`] of the instructions of a function's warm invocation.
///
/// # Errors
/// Fails if the instructions cannot be counted.
pub(crate) async fn excess(gates: &Gates, program: &Path, folder: &Path) -> Result<Option<String>> {
    let valgrind = fixture::program("valgrind")?;
    let count = async |invocations: u64| {
        callgrind::count_program(program, &[&invocations.to_string()], &valgrind, folder).await
    };
    let (fewer, more) = (count(INVOCATIONS).await?, count(2 * INVOCATIONS).await?);
    let cost = more.saturating_sub(fewer) / INVOCATIONS;
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
