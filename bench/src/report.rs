//! What a run found, as `target/bench/report.json` has it.

use crate::gate::Gates;
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The day, as YYYY-MM-DD in UTC.
    pub(crate) date: String,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// How often each variant was started, and then called.
    pub(crate) rounds: usize,
    pub(crate) warm: usize,
    /// What was measured, in the order of the tables.
    pub(crate) rows: Vec<Row>,
    /// A page of a list, by how many notes its user has.
    pub(crate) pages: Vec<Page>,
}

/// What a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) rustc: String,
    pub(crate) node: String,
}

/// One variant of one function.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The function's name.
    pub(crate) function: String,
    /// `rust` is what is deployed.
    pub(crate) variant: String,
    /// Bytes of its zip.
    pub(crate) zip: u64,
    /// By plain HTTP to what it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Times>,
    /// Over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Times>,
    /// Instructions, by plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Instructions>,
    /// Instructions over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_instructions: Option<Instructions>,
}

/// Medians over all starts: milliseconds, and bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// From the start of the process until it asks for its first event.
    pub(crate) init_ms: f64,
    /// From the first event until its answer.
    pub(crate) first_ms: f64,
    /// From the start of the process until its first answer.
    pub(crate) cold_ms: f64,
    /// On a CPU until the process, having answered once, is idle.
    pub(crate) cold_cpu_ms: f64,
    /// An answer of a warm function: half of all, and 99 in 100, take no longer.
    pub(crate) warm_p50_ms: f64,
    pub(crate) warm_p99_ms: f64,
    /// On a CPU for one event of a warm function, on average.
    pub(crate) warm_cpu_ms: f64,
    /// The most memory that was resident.
    pub(crate) memory: u64,
}

/// How many instructions a function executes, as callgrind counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instructions {
    /// Until it asks for its first event.
    pub(crate) init: u64,
    /// Until it has answered once.
    pub(crate) cold: u64,
    /// For one event after that.
    pub(crate) warm: u64,
}

/// A page of `list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    /// How many notes the user has.
    pub(crate) notes: usize,
    /// How many of them are on the page.
    pub(crate) length: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) memory: u64,
    /// For one page of a warm function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<u64>,
}

impl Report {
    /// The row of a variant of a function.
    pub(crate) fn row(&self, function: &str, variant: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.function == function && row.variant == variant)
    }

    /// What the gate compares: figures of what is deployed, by what they are of.
    pub(crate) fn counted(&self) -> Gates {
        let deployed = self.rows.iter().filter(|row| row.variant == "rust");
        let counted = deployed.flat_map(|row| {
            let tls = format!("{}-tls", row.function);
            [
                (row.function.clone(), row.instructions, Some(row.zip)),
                (tls, row.tls_instructions, None),
            ]
        });
        let figures = counted.filter_map(|(name, instructions, zip)| {
            let Instructions { init, cold, warm } = instructions?;
            // What moves from init, where nobody waits, to the first answer is to be seen.
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
}
