//! Measures the times of every variant of every function.

use std::sync::Arc;

use anyhow::{Context, Result};
use test_support::functions::Function;

use crate::fixture::Fixture;
use crate::measure::{self, Sample, Subject};
use crate::progress;
use crate::report::Row;
use crate::variants::{Case, Paths, Transport};

/// A variant of a function whose calls to AWS use one transport, and the measurements of its starts so far.
struct Run {
    case: Case,
    fixture: Arc<Fixture>,
    subject: Subject,
    samples: Vec<Sample>,
    has_failed: bool,
}

/// Measures the times of every variant of every function over each transport. In each of `rounds` rounds, starts every
/// variant once, so that a temporary slowdown of the machine affects all variants. After the cold invocation of each
/// start, makes `warm` warm invocations. If a variant fails, leaves out its times and appends the reason to `failures`.
///
/// # Errors
/// Fails if a fixture cannot be started or a program is missing.
pub(crate) async fn time(
    functions: &[Function],
    paths: &Paths,
    rounds: usize,
    warm: usize,
    failures: &mut Vec<String>,
) -> Result<Vec<Row>> {
    let mut runs = runs(functions, paths).await?;
    let bar = progress::bar("measure", rounds * runs.len());
    for _ in 0..rounds {
        for run in &mut runs {
            bar.set_message(run.case.label());
            if !run.has_failed {
                match measure::sample(&run.subject, &run.fixture.cloud, warm).await {
                    Ok(sample) => run.samples.push(sample),
                    Err(error) => {
                        failures.push(format!("cannot measure {}: {error:#}", run.case.label()));
                        run.has_failed = true;
                    }
                }
                run.fixture.discard_traces()?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    runs.retain(|run| !run.has_failed);
    rows(runs, paths)
}

async fn runs(functions: &[Function], paths: &Paths) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for function in functions {
        let fixture = Arc::new(Fixture::start().await?);
        for case in Case::all(function, paths) {
            runs.push(Run {
                subject: fixture.subject(&case, paths)?,
                fixture: Arc::clone(&fixture),
                case,
                samples: Vec::new(),
                has_failed: false,
            });
        }
    }
    Ok(runs)
}

/// Returns one row for each variant of each function, with the times over plain HTTP and over TLS.
fn rows(runs: Vec<Run>, paths: &Paths) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for Run { case, samples, .. } in runs {
        let row = match rows.iter_mut().find(|row| case.is_of(row)) {
            Some(row) => row,
            None => {
                rows.push(case.row(paths)?);
                rows.last_mut()
                    .context("cannot find the row that was just added")?
            }
        };
        let times = measure::summary(&samples);
        match case.transport {
            Transport::Http => row.http = times,
            Transport::Tls => row.tls = times,
        }
    }
    Ok(rows)
}
