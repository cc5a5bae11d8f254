//! The benchmark harness. It runs the binaries of the functions on this machine, built as for a deploy, and compares
//! them with the bare Lambda runtime, with equivalent functions in Node and with the default settings of the AWS SDK.
//! `cargo xtask bench` builds everything that the harness measures, and runs the harness.
//!
//! `cargo run --bin bench -- --render bench` rewrites RESULTS.md and the table in README.md from the measurements in
//! bench/report.json, without measuring again.

mod callgrind;
mod counting;
mod fixture;
mod gate;
mod machine;
mod measure;
mod metrics_cost;
mod pages;
mod progress;
mod report;
mod results;
mod stats;
mod timing;
mod tls;
mod variants;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use test_support::functions::{self, Function};

use crate::callgrind::Repetition;
use crate::counting::Scope;
use crate::report::Report;
use crate::variants::Paths;

#[derive(Debug, Parser)]
struct Cli {
    /// The folder with the binaries of the deployed functions and of `hello` (the bare runtime), all linked in the same way
    #[arg(long, required_unless_present = "render")]
    binaries: Option<PathBuf>,
    /// The folder with the bundles of the equivalent Node functions
    #[arg(long)]
    node: Option<PathBuf>,
    /// The binary of `notes-get` with the default settings of the AWS SDK
    #[arg(long)]
    defaults: Option<PathBuf>,
    /// The binary of `hello` (the bare runtime) with cargo-lambda's default linking
    #[arg(long)]
    hello: Option<PathBuf>,
    /// The folder for report.json and temporary files
    #[arg(long, required_unless_present = "render")]
    out: Option<PathBuf>,
    /// The folder for RESULTS.md and a copy of report.json, which are written only if nothing fails
    #[arg(long)]
    results: Option<PathBuf>,
    /// The name of a function to measure, instead of all functions; can be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Only count instructions, and compare the counts with the limits in this file
    #[arg(long)]
    gate: Option<PathBuf>,
    /// Only count instructions, and write the counts to this file as limits
    #[arg(long)]
    accept: Option<PathBuf>,
    /// Measure nothing: rewrite RESULTS.md in this folder and the table in README.md from the folder's report.json
    #[arg(long, value_name = "FOLDER", exclusive = true)]
    render: Option<PathBuf>,
    /// The example `invocations` of libs/metrics, whose instructions --gate limits
    #[arg(long)]
    metrics: Option<PathBuf>,
    /// The number of times that each variant is started
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// The number of warm invocations after the cold invocation of each start
    #[arg(long, default_value_t = 100)]
    warm: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                eprintln!("✗ {failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the mode that the command line selects: render, accept, check or measure. Returns the messages of its failures.
async fn run(cli: Cli) -> Result<Vec<String>> {
    if let Some(folder) = &cli.render {
        let report = Report::read(&folder.join("report.json"))?;
        results::write(folder, &report)?;
        return Ok(Vec::new());
    }
    let out = cli.out.clone().context("the argument --out is required")?;
    let scratch = out.join("scratch");
    // The folder may have copies of binaries from an earlier run.
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let mut functions = functions::all();
    functions.retain(|function| cli.only.is_empty() || cli.only.contains(&function.name));
    let harness = Harness {
        functions,
        paths: Paths {
            binaries: cli
                .binaries
                .context("the argument --binaries is required")?,
            node: cli.node,
            defaults: cli.defaults,
            hello: cli.hello,
            scratch,
        },
        metrics: cli.metrics,
        only: cli.only,
        rounds: cli.rounds,
        warm: cli.warm,
    };
    match (cli.accept, cli.gate) {
        (Some(file), _) => harness.accept(&file).await,
        (None, Some(file)) => harness.check(&file).await,
        (None, None) => harness.measure(&out, cli.results.as_deref()).await,
    }
}

/// The last line of the output if a gate is violated.
const HOW_TO_ACCEPT: &str = "if the change is worth it, accept the new counts with cargo xtask bench --accept, \
     and give the reason in the commit";

/// The functions to measure, the paths of their programs, and the numbers of starts and invocations.
struct Harness {
    functions: Vec<Function>,
    paths: Paths,
    /// The example `invocations` of libs/metrics.
    metrics: Option<PathBuf>,
    /// The names of functions from the arguments `--only`. Empty if all functions are measured.
    only: Vec<String>,
    rounds: usize,
    warm: usize,
}

impl Harness {
    /// Counts instructions and writes the counts to `file` as new gates, unless a count fails. If `--only` selects
    /// functions, the gates of all other functions stay unchanged. Returns the messages of the failures.
    async fn accept(&self, file: &Path) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        let counted = self
            .count_deployed(&self.functions, Repetition::UntilTwoAgree, &mut failures)
            .await?;
        if failures.is_empty() {
            let mut gates = gate::read(file)?;
            gates.retain(|name, _| !gate::is_of(name, &self.only));
            gates.extend(counted);
            gate::write(file, &gates)?;
        }
        Ok(failures)
    }

    /// Counts instructions and compares the counts with the gates in `file`. If a function violates a gate, counts its
    /// instructions again, and compares the smaller of both counts with the gate. Returns the messages of the failures.
    async fn check(&self, file: &Path) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        let mut gates = gate::read(file)?;
        gates.retain(|name, _| gate::is_of(name, &self.only));
        let mut counted = self
            .count_deployed(&self.functions, Repetition::Once, &mut failures)
            .await?;
        let suspects = gate::violations(&gates, &counted);
        let is_suspect = |function: &&Function| {
            let name = [function.name.clone()];
            suspects
                .iter()
                .any(|suspect| gate::is_of(&suspect.name, &name))
        };
        let recounted: Vec<_> = self.functions.iter().filter(is_suspect).cloned().collect();
        if !recounted.is_empty() {
            let again = self
                .count_deployed(&recounted, Repetition::UntilTwoAgree, &mut failures)
                .await?;
            gate::keep_minimum(&mut counted, again);
        }
        if let Some(program) = &self.metrics {
            failures.extend(metrics_cost::excess(&gates, program, &self.paths.scratch).await?);
        }
        let violations = gate::violations(&gates, &counted);
        if !violations.is_empty() {
            failures.extend(violations.into_iter().map(|violation| violation.message));
            failures.push(HOW_TO_ACCEPT.into());
        } else if failures.is_empty() {
            eprintln!("✓ {}", gate::summary(&gates, &counted));
        }
        Ok(failures)
    }

    async fn count_deployed(
        &self,
        functions: &[Function],
        repetition: Repetition,
        failures: &mut Vec<String>,
    ) -> Result<gate::Gates> {
        let rows = counting::count(
            functions,
            &self.paths,
            Scope::Deployed,
            repetition,
            failures,
        )
        .await?;
        Ok(report::gate_figures(&rows))
    }

    /// Measures the times and counts the instructions of all variants, and writes report.json to the folder `out`. If
    /// nothing fails and `results` is given, also writes report.json and RESULTS.md to the folder `results`. Returns
    /// the messages of the failures.
    async fn measure(&self, out: &Path, results: Option<&Path>) -> Result<Vec<String>> {
        let mut failures = Vec::new();
        let (functions, paths) = (&self.functions, &self.paths);
        let mut report = Report {
            date: machine::today()?,
            machine: machine::machine(),
            rounds: self.rounds,
            warm: self.warm,
            rows: timing::time(functions, paths, self.rounds, self.warm, &mut failures).await?,
            ..Report::default()
        };
        report.add_counts(
            counting::count(
                functions,
                paths,
                Scope::AllRust,
                Repetition::Once,
                &mut failures,
            )
            .await?,
        );
        let mut functions = functions.iter();
        if let Some(list) = functions.find(|function| function.name == "notes-list") {
            report.pages = pages::measure(list, paths, self.rounds * self.warm).await?;
        }
        report.write(&out.join("report.json"))?;
        if let Some(folder) = results
            && failures.is_empty()
        {
            report.write(&folder.join("report.json"))?;
            results::write(folder, &report)?;
        }
        Ok(failures)
    }
}
