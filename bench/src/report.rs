//! The measurements of a benchmark run, as they are stored in report.json.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::gate::Gates;

/// The content of report.json: the measurements of one benchmark run, and the machine that ran it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The date of the run, as YYYY-MM-DD in UTC.
    pub(crate) date: String,
    /// The machine that ran the benchmark.
    pub(crate) machine: Machine,
    /// The number of times that each variant was started.
    pub(crate) rounds: usize,
    /// The number of warm invocations after the first invocation of each start.
    pub(crate) warm: usize,
    /// One row for each variant of a function, in the order of the tables in RESULTS.md.
    pub(crate) rows: Vec<Row>,
    /// The measurements of `notes-list` with different page lengths and numbers of notes. Empty if `notes-list` was not
    /// measured.
    pub(crate) pages: Vec<Page>,
}

/// The machine that ran the benchmark, and the versions of rustc and Node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) rustc: String,
    pub(crate) node: String,
}

/// The measurements of one variant of a function.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The function's name.
    pub(crate) function: String,
    /// The name of the variant, such as `rust` for the deployed function.
    pub(crate) variant: String,
    /// The size of the deployment package in bytes.
    pub(crate) zip: u64,
    /// The times with calls to AWS over plain HTTP. `None` if they were not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Times>,
    /// The times with calls to AWS over TLS. `None` if they were not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Times>,
    /// The instruction counts with calls to AWS over plain HTTP. `None` if they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Instructions>,
    /// The instruction counts with calls to AWS over TLS. `None` if they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_instructions: Option<Instructions>,
}

/// The times and the memory of one variant. Each value is the median over all starts, except for the latencies of warm
/// invocations, which are percentiles over all warm invocations. Times are in milliseconds, and the memory is in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// The time from process start until the function requests its first event.
    pub(crate) init_ms: f64,
    /// The time from the first event until its response.
    pub(crate) first_ms: f64,
    /// The time from process start until the first response.
    pub(crate) cold_ms: f64,
    /// The CPU time from process start until the process is idle after its first response.
    pub(crate) cold_cpu_ms: f64,
    /// The median latency of all warm invocations.
    pub(crate) warm_p50_ms: f64,
    /// The 99th percentile of the latency of all warm invocations.
    pub(crate) warm_p99_ms: f64,
    /// The CPU time of a warm invocation: the mean over the warm invocations of each start, then the median of these
    /// means.
    pub(crate) warm_cpu_ms: f64,
    /// The peak resident memory of the process, in bytes.
    pub(crate) memory: u64,
}

/// The instructions that a function executes, as callgrind counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    /// The instructions from process start until the function has requested its first event.
    pub(crate) init: u64,
    /// The instructions from process start until the process is idle after its first response.
    pub(crate) cold: u64,
    /// The mean number of instructions of a warm invocation.
    pub(crate) warm: u64,
}

/// The measurements of warm requests to `notes-list` with one page length and number of notes. Times are in
/// milliseconds, and the memory is in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The number of notes that the user has.
    pub(crate) notes: usize,
    /// The number of notes on the page.
    pub(crate) length: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) memory: u64,
    /// The mean number of instructions of a warm invocation. `None` if they were not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
}

impl Report {
    /// Reads a report from a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or parsed.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))
    }

    /// Writes the report to a file.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Returns the row of a function with the given variant. `None` if the variant was not measured.
    pub(crate) fn row(&self, function: &str, variant: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.function == function && row.variant == variant)
    }

    /// Copies the instruction counts from each row in `counted` to the report's row for the same function and variant.
    /// Appends the rows in `counted` for which the report has no such row.
    pub(crate) fn add_counts(&mut self, counted: Vec<Row>) {
        for counted in counted {
            let is_same =
                |row: &&mut Row| row.function == counted.function && row.variant == counted.variant;
            match self.rows.iter_mut().find(is_same) {
                Some(row) => {
                    row.instructions = counted.instructions;
                    row.tls_instructions = counted.tls_instructions;
                }
                None => self.rows.push(counted),
            }
        }
    }
}

/// Returns the figures of the deployed functions that are compared with gates (upper limits).
pub(crate) fn gate_figures(rows: &[Row]) -> Gates {
    let deployed = rows.iter().filter(|row| row.variant == "rust");
    let counted = deployed.flat_map(|row| {
        let tls = format!("{}-tls", row.function);
        [
            (row.function.clone(), row.instructions, Some(row.zip)),
            (tls, row.tls_instructions, None),
        ]
    });
    let figures = counted.filter_map(|(name, instructions, zip)| {
        let Instructions { init, cold, warm } = instructions?;
        // Subtract init from the cold count, so that a gate detects work that moves from init to the first invocation.
        let figures = [
            ("init", Some(init)),
            ("first", Some(cold.saturating_sub(init))),
            ("warm", Some(warm)),
            ("zip", zip),
        ];
        let figures = figures.into_iter();
        let figures = figures.filter_map(|(figure, value)| Some((figure.to_owned(), value?)));
        Some((name, figures.collect()))
    });
    figures.collect()
}
