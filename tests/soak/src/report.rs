//! The report of a run.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::alarms::Judgment;
use crate::client::Counts;
use crate::compare::Comparison;
use crate::faults::{Fault, Injected};
use crate::processes::{Trend, Usage};

/// The report of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    /// The number of users who signed up.
    pub(crate) users: usize,
    /// How long the load lasted, in seconds.
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) requests_per_second: f64,
    /// The requests of each kind.
    pub(crate) kinds: Vec<Kind>,
    /// The number of operations that a client gave up after many attempts.
    pub(crate) given_up: u64,
    pub(crate) faults: Vec<Injected>,
    pub(crate) comparison: Comparison,
    /// `None` if the stage has no alarms.
    pub(crate) alarms: Option<Judgment>,
    pub(crate) functions: Vec<Usage>,
}

/// The requests of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Kind {
    pub(crate) kind: &'static str,
    /// The number of attempts by status. 0 means that the client got no response.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// The median and the 99th percentile of the durations of attempts with a response, in milliseconds.
    pub(crate) p50: u32,
    pub(crate) p99: u32,
}

/// Returns the requests of each kind.
pub(crate) fn kinds(counts: &Counts) -> Vec<Kind> {
    let kinds = counts.statuses.iter().map(|(kind, statuses)| {
        let mut latencies = counts.latencies.get(kind).cloned().unwrap_or_default();
        latencies.sort_unstable();
        Kind {
            kind,
            statuses: statuses.clone(),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        }
    });
    kinds.collect()
}

/// Returns a percentile of sorted values. 0 if there are none.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(0)
}

impl Report {
    /// Returns why the run failed. Empty if it succeeded.
    pub(crate) fn failures(&self) -> Vec<String> {
        let lost = self.comparison.differences.iter();
        let lost = lost.map(|difference| format!("{}: {}", difference.invariant, difference.found));
        let growing = self.functions.iter().filter(|usage| usage.grows());
        let growing = growing.map(|usage| {
            let quarters = |trend: &Trend| (trend.second_quarter, trend.last_quarter);
            format!(
                "{} grows from the second to the last quarter: memory {:?} kB, file descriptors {:?}",
                usage.function,
                quarters(&usage.memory_kb),
                quarters(&usage.files)
            )
        });
        let unnoticed = self.alarms.iter().flat_map(|alarms| &alarms.unnoticed);
        let unnoticed = unnoticed.map(|fault| format!("no alarm was raised for {fault}"));
        lost.chain(growing).chain(unnoticed).collect()
    }
}

/// The name of a kind of fault.
fn kind_of(fault: Fault) -> &'static str {
    match fault {
        Fault::KilledCloud => "killed local cloud",
        Fault::KilledFunction(_) => "killed function",
        Fault::ThrottledTable(_) => "throttled table",
        Fault::Payments(fault) => fault.name(), // part: billing
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests of {} users in {:.0} s: {:.1} per second, seed {}\n",
            self.requests, self.users, self.seconds, self.requests_per_second, self.seed
        )?;
        writeln!(
            f,
            "{:<24}{:>8}{:>8}  attempts by status, 0: no response",
            "request", "p50 ms", "p99 ms"
        )?;
        for Kind {
            kind,
            statuses,
            p50,
            p99,
        } in &self.kinds
        {
            let statuses = statuses.iter();
            let statuses: Vec<_> = statuses
                .map(|(status, count)| format!("{status}: {count}"))
                .collect();
            writeln!(f, "{kind:<24}{p50:>8}{p99:>8}  {}", statuses.join(", "))?;
        }
        if !self.faults.is_empty() {
            writeln!(f, "\n{:<28}{:>8}  took effect", "fault", "injected")?;
            let mut kinds: BTreeMap<_, (usize, usize)> = BTreeMap::new();
            for injected in &self.faults {
                let (all, effective) = kinds.entry(kind_of(injected.fault)).or_default();
                *all += 1;
                *effective += usize::from(injected.took_effect);
            }
            for (kind, (all, effective)) in kinds {
                writeln!(f, "{kind:<28}{all:>8}  {effective}")?;
            }
        }
        writeln!(
            f,
            "\n{:<28}{:>10}{:>26}{:>22}",
            "function", "processes", "memory MB: max, Q2, Q4", "files: max, Q2, Q4"
        )?;
        for usage in &self.functions {
            let megabytes = |kb: u64| kb as f64 / 1_024.0;
            let Usage {
                function,
                processes,
                memory_kb: memory,
                files,
            } = usage;
            let memory = format!(
                "{:.1}, {:.1}, {:.1}",
                megabytes(memory.maximum),
                megabytes(memory.second_quarter),
                megabytes(memory.last_quarter)
            );
            let files = format!(
                "{}, {}, {}",
                files.maximum, files.second_quarter, files.last_quarter
            );
            let grows = if usage.grows() { "  grows" } else { "" };
            writeln!(
                f,
                "{function:<28}{processes:>10}{memory:>26}{files:>22}{grows}"
            )?;
        }
        match &self.alarms {
            None => writeln!(f, "\nthe stage has no alarms")?,
            Some(alarms) => {
                writeln!(f, "\n{:<44}raised", "alarm")?;
                for (alarm, count) in &alarms.raised {
                    let unexplained = alarms.unexplained.contains(alarm);
                    let note = if unexplained {
                        ", no fault explains it"
                    } else {
                        ""
                    };
                    writeln!(f, "{alarm:<44}{count}{note}")?;
                }
                writeln!(
                    f,
                    "{} of {} faults that must raise an alarm raised it",
                    alarms.noticed,
                    alarms.noticed + alarms.unnoticed.len()
                )?;
            }
        }
        let Comparison {
            acknowledged,
            unknown,
            repeated_sms, // part: notify
            ..
        } = &self.comparison;
        writeln!(
            f,
            "\n{acknowledged} acknowledged operations compared with the stored data, {unknown} not acknowledged, \
             {} given up",
            self.given_up
        )?;
        writeln!(f, "{repeated_sms} SMS repeated after an interruption")?; // part: notify
        let failures = self.failures();
        match failures.as_slice() {
            [] => write!(f, "nothing is lost, duplicated or growing"),
            failures => write!(f, "failures: {}\n{}", failures.len(), failures.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Difference;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let values: Vec<_> = (1..=200).collect();
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99)),
            (100, 198)
        );
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 50), 0);
    }

    fn report() -> Report {
        Report {
            seed: 1,
            users: 1,
            seconds: 1.0,
            requests: 0,
            requests_per_second: 0.0,
            kinds: Vec::new(),
            given_up: 0,
            faults: Vec::new(),
            comparison: Comparison::default(),
            alarms: None,
            functions: Vec::new(),
        }
    }

    #[test]
    fn a_loss_growth_and_an_unnoticed_fault_fail_the_run() {
        assert!(report().failures().is_empty());
        let mut lost = report();
        lost.comparison.differences.push(Difference {
            invariant: "every note",
            found: "n1".into(),
        });
        let mut growing = report();
        growing.functions.push(Usage {
            function: "notes-get".into(),
            files: Trend {
                grows: true,
                ..Trend::default()
            },
            ..Usage::default()
        });
        let mut unnoticed = report();
        unnoticed.alarms = Some(Judgment {
            unnoticed: vec!["ThrottledTable(Notes)".into()],
            ..Judgment::default()
        });
        for report in [lost, growing, unnoticed] {
            assert_eq!(report.failures().len(), 1);
            assert!(report.to_string().contains("failures: 1"), "{report}");
        }
    }
}
