//! How many instructions a function executes, by valgrind's callgrind
//! (<https://valgrind.org/docs/manual/cl-manual.html>): they hardly differ between two runs.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use local_aws::Cloud;

use crate::measure::{Running, Subject};
use crate::report::Instructions;

/// A program under valgrind is many times slower.
const INIT: Duration = Duration::from_secs(120);

/// How many warm events are counted.
const WARM: usize = 20;

/// Counts by differences: a process that is asked nothing, one that is asked once, and one that is
/// asked more often; each as often as there are `tries`, of which the least counts. On a busy machine
/// a connection may take too long and be tried again: what disturbs adds, and takes nothing away.
///
/// # Errors
/// When valgrind is not there, or the subject fails.
pub(crate) async fn count(
    subject: &Subject,
    cloud: &Cloud,
    valgrind: &Path,
    folder: &Path,
    tries: usize,
) -> Result<Instructions> {
    let least = async |events| {
        let mut least = u64::MAX;
        for _ in 0..tries {
            least = least.min(total(subject, cloud, valgrind, folder, events).await?);
        }
        anyhow::Ok(least)
    };
    let init = least(0).await?;
    let cold = least(1).await?;
    let all = least(1 + WARM).await?;
    Ok(Instructions {
        init,
        cold,
        warm: all.saturating_sub(cold) / WARM as u64,
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
}
