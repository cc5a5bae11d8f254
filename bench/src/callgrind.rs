//! Counts the instructions that a function executes, with valgrind's callgrind
//! (<https://valgrind.org/docs/manual/cl-manual.html>). Two counts of the same program hardly differ.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_aws::Cloud;
use tokio::process::Command;

use crate::measure::{Running, Subject};
use crate::report::Instructions;

/// The timeout of the init phase. It is long, because a program under valgrind is many times slower.
const INIT_TIMEOUT: Duration = Duration::from_secs(120);

/// The number of warm invocations over which the instructions of a warm invocation are averaged.
const WARM: usize = 20;

/// Two counts agree if they differ by at most this many per mille. The random seeds of hash maps cause differences that
/// are smaller than this.
const TOLERANCE_PER_MILLE: u64 = 5;

/// The maximum number of times that the same work is counted. It is an error if no two of these counts agree.
const MAX_COUNTS: usize = 6;

/// How many times the instructions of the same work are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// Counts the work once.
    Once,
    /// Counts the work until any two counts agree, at most [`MAX_COUNTS`] times. On a busy machine a connection can
    /// time out, and the timeout or its retry changes a count.
    UntilTwoAgree,
}

/// Counts the instructions of init, of init together with the first invocation, and of one warm invocation. Runs three
/// processes: one without an invocation, one with one invocation, and one with 1 + `WARM` invocations. The count of a
/// warm invocation is the difference between the counts of the last two processes, divided by `WARM`.
///
/// # Errors
/// Fails if valgrind cannot be run, the function under test fails, or no two counts agree.
pub(crate) async fn count(
    subject: &Subject,
    cloud: &Cloud,
    valgrind: &Path,
    folder: &Path,
    repetition: Repetition,
) -> Result<Instructions> {
    let once = async |events| instructions(subject, cloud, valgrind, folder, events).await;
    let count = async |events| {
        if repetition == Repetition::Once {
            return once(events).await;
        }
        let mut counts = Vec::new();
        while counts.len() < MAX_COUNTS {
            counts.push(once(events).await?);
            if let Some(count) = agreeing(&mut counts) {
                return Ok(count);
            }
        }
        bail!("no two instruction counts for {events} events agree: {counts:?}")
    };
    let init = count(0).await?;
    let cold = count(1).await?;
    let all = count(1 + WARM).await?;
    Ok(Instructions {
        init,
        cold,
        warm: all.saturating_sub(cold) / WARM as u64,
    })
}

/// Returns the smaller of two counts that agree within [`TOLERANCE_PER_MILLE`]. `None` if no two counts agree.
fn agreeing(counts: &mut [u64]) -> Option<u64> {
    counts.sort_unstable();
    let mut pairs = counts.windows(2);
    pairs.find_map(|pair| match *pair {
        [less, more] if more * 1000 <= less * (1000 + TOLERANCE_PER_MILLE) => Some(less),
        _ => None,
    })
}

/// Counts the instructions of one process, from its start until it is idle after it has handled `events` events.
async fn instructions(
    subject: &Subject,
    cloud: &Cloud,
    valgrind: &Path,
    folder: &Path,
    events: usize,
) -> Result<u64> {
    let file = tempfile::Builder::new()
        .prefix("callgrind.")
        .tempfile_in(folder)?;
    let mut under = subject.clone();
    let hosted = &mut under.hosted;
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(file.path());
    let mut arguments = vec!["--tool=callgrind".into(), out, hosted.binary.clone().into()];
    arguments.append(&mut hosted.arguments);
    hosted.arguments = arguments;
    hosted.binary = valgrind.to_owned();
    hosted.init_timeout = INIT_TIMEOUT;
    let mut running = Running::start(&under, cloud).await?;
    for _ in 0..events {
        running.invoke().await?;
    }
    wait_until_idle(&running).await?;
    let log = running.terminate().await;
    let output = fs::read_to_string(file.path())?;
    parse_total(&output).with_context(|| {
        format!(
            "cannot find the total in valgrind's output: {}",
            log.join("\n")
        )
    })
}

/// Counts the instructions of `program` with the arguments `arguments`, from its start to its end.
///
/// # Errors
/// Fails if valgrind cannot be run, or if the program fails.
pub(crate) async fn count_program(
    program: &Path,
    arguments: &[&str],
    valgrind: &Path,
    folder: &Path,
) -> Result<u64> {
    let file = folder.join("callgrind.program");
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(&file);
    let mut command = Command::new(valgrind);
    command.arg("--tool=callgrind").arg(out).arg(program);
    let output = command.args(arguments).output().await?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{} failed under valgrind: {log}", program.display());
    }
    parse_total(&fs::read_to_string(file)?)
        .with_context(|| format!("cannot find the total in valgrind's output: {log}"))
}

/// Waits until the CPU time of the process stops increasing. A process still executes instructions after it has
/// requested the next event.
async fn wait_until_idle(running: &Running<'_>) -> Result<()> {
    let mut before = running.cpu_ms()?;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = running.cpu_ms()?;
        if now <= before {
            return Ok(());
        }
        before = now;
    }
}

/// Returns the total number of instructions from `file`, the content of callgrind's output file. `None` if the file has
/// no total.
fn parse_total(file: &str) -> Option<u64> {
    let line = file
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_instructions_are_parsed_from_the_output_file() {
        let file = "version: 1\nevents: Ir\nsummary: 7\n\nfn=(1) main\n1 20\ntotals: 20\n";
        assert_eq!(parse_total(file), Some(20));
        assert_eq!(parse_total("events: Ir\n"), None);
    }

    #[test]
    fn a_count_that_differs_from_two_agreeing_counts_is_ignored() {
        assert_eq!(agreeing(&mut [1000]), None);
        assert_eq!(agreeing(&mut [1000, 500]), None);
        assert_eq!(agreeing(&mut [1000, 500, 1004]), Some(1000));
        assert_eq!(agreeing(&mut [1000, 2000, 1004]), Some(1000));
    }
}
