//! The measurements of a run, in the format of report.json.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::gate::Gates;

/// The measurements of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The date, as YYYY-MM-DD in UTC.
    pub(crate) date: String,
    /// The machine on which the run was made.
    pub(crate) machine: Machine,
    /// The number of times that each variant was started.
    pub(crate) rounds: usize,
    /// The number of warm invocations after each start.
    pub(crate) warm: usize,
    /// One row for each variant of a function, in the order of the tables in RESULTS.md.
    pub(crate) rows: Vec<Row>,
    /// The measurements of pages of `notes-list`.
    pub(crate) pages: Vec<Page>,
}

/// The machine of a run, and the versions of its tools.
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
    /// Times with calls to AWS over plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Times>,
    /// Times with calls to AWS over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Times>,
    /// Instructions with calls to AWS over plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Instructions>,
    /// Instructions with calls to AWS over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_instructions: Option<Instructions>,
}

/// Medians over all starts, in milliseconds; memory in bytes.
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
    /// The median latency of warm invocations.
    pub(crate) warm_p50_ms: f64,
    /// The 99th percentile of the latency of warm invocations.
    pub(crate) warm_p99_ms: f64,
    /// The mean CPU time of a warm invocation.
    pub(crate) warm_cpu_ms: f64,
    /// The peak resident memory, in bytes.
    pub(crate) memory: u64,
}

/// The instructions that a function executes, as callgrind counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    /// The instructions until the function requests its first event.
    pub(crate) init: u64,
    /// The instructions until the first response, including init.
    pub(crate) cold: u64,
    /// The instructions of one warm invocation.
    pub(crate) warm: u64,
}

/// A page of `notes-list`. Times in milliseconds, memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// The number of notes of the user.
    pub(crate) notes: usize,
    /// The number of notes on the page.
    pub(crate) length: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) memory: u64,
    /// Instructions of one warm invocation.
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

    /// The row of a variant of a function. `None` if the variant was not measured.
    pub(crate) fn row(&self, function: &str, variant: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.function == function && row.variant == variant)
    }

    /// Sets the instruction counts of the report's rows to those in `counted`. Appends the rows that the report does not
    /// have.
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

/// Returns the figures of the deployed functions that have gates.
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
