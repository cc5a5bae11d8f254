//! How many instructions a function executes, by valgrind's callgrind
//! (<https://valgrind.org/docs/manual/cl-manual.html>): they hardly differ between two runs.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use local_aws::Cloud;

use crate::measure::{Running, Subject};
use crate::report::Instructions;

/// A program under valgrind is many times slower.
const INIT: Duration = Duration::from_secs(120);

/// How many warm events are counted.
const WARM: usize = 20;

/// By how many per mille two counts of the same may differ that agree: more than a hash map's seed makes.
const ALIKE: u64 = 5;

/// How often is counted at most until two counts agree.
const TRIES: usize = 6;

/// Counts by differences: a process that is asked nothing, one that is asked once, and one that is
/// asked more often. On a busy machine a connection may take too long and be tried again, or be given up: `is_sure` has
/// each counted until two counts agree.
///
/// # Errors
/// When valgrind is not there, the subject fails, or its counts do not agree.
pub(crate) async fn count(
    subject: &Subject,
    cloud: &Cloud,
    valgrind: &Path,
    folder: &Path,
    is_sure: bool,
) -> Result<Instructions> {
    let once = async |events| total(subject, cloud, valgrind, folder, events).await;
    let count = async |events| {
        if !is_sure {
            return once(events).await;
        }
        let mut counts = Vec::new();
        while counts.len() < TRIES {
            counts.push(once(events).await?);
            if let Some(count) = agreed(&mut counts) {
                return Ok(count);
            }
        }
        bail!("the counts of {events} events do not agree: {counts:?}")
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

/// The lesser of two counts that agree, if there are two.
fn agreed(counts: &mut [u64]) -> Option<u64> {
    counts.sort_unstable();
    let mut pairs = counts.windows(2);
    pairs.find_map(|pair| match *pair {
        [less, more] if more * 1000 <= less * (1000 + ALIKE) => Some(less),
        _ => None,
    })
}

/// The instructions of one process that is asked `events` times.
async fn total(
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
    hosted.init_timeout = INIT;
    let mut running = Running::start(&under, cloud).await?;
    for _ in 0..events {
        running.ask().await?;
    }
    still(&running).await?;
    let log = running.terminate().await;
    let found = fs::read_to_string(file.path())?;
    sum(&found).with_context(|| format!("valgrind counted nothing: {}", log.join("\n")))
}

/// Waits until the process has nothing more to do: it asks for an event a little before it is idle.
async fn still(running: &Running<'_>) -> Result<()> {
    let mut before = running.cpu()?;
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = running.cpu()?;
        if now <= before {
            return Ok(());
        }
        before = now;
    }
}

/// What a file of callgrind's says of the whole program.
fn sum(file: &str) -> Option<u64> {
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
    fn the_total_of_a_file_is_read() {
        let file = "version: 1\nevents: Ir\nsummary: 7\n\nfn=(1) main\n1 20\ntotals: 20\n";
        assert_eq!(sum(file), Some(20));
        assert_eq!(sum("events: Ir\n"), None);
    }

    #[test]
    fn one_count_that_is_off_does_not_count_whether_it_is_more_or_less() {
        assert_eq!(agreed(&mut [1000]), None);
        assert_eq!(agreed(&mut [1000, 500]), None);
        assert_eq!(agreed(&mut [1000, 500, 1004]), Some(1000));
        assert_eq!(agreed(&mut [1000, 2000, 1004]), Some(1000));
    }
}
