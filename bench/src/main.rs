//! Measures the functions as they are deployed, beside the bare runtime, their twins in Node, and what
//! the SDK's defaults cost. Run by `cargo xtask bench`, which builds what is measured.

mod callgrind;
mod gate;
mod machine;
mod measure;
mod pages;
mod report;
mod results;
mod stats;
mod tls;
mod variants;

use std::collections::{BTreeMap, btree_map::Entry};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::functions::{self, Function};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::measure::{Sample, Subject};
use crate::report::{Instructions, Report, Row};
use crate::variants::{Over, Places, Scene, Variant};

#[derive(Debug, Parser)]
struct Cli {
    /// The folder with the functions' binaries, as they are deployed, and `hello`, linked as they are
    #[arg(long)]
    binaries: PathBuf,
    /// The folder with their twins for Node
    #[arg(long)]
    node: Option<PathBuf>,
    /// `get` by the SDK's defaults
    #[arg(long)]
    defaults: Option<PathBuf>,
    /// The bare runtime as cargo-lambda builds it
    #[arg(long)]
    hello: Option<PathBuf>,
    /// The folder for the report
    #[arg(long)]
    out: PathBuf,
    /// The folder for RESULTS.md, and the report that is behind it
    #[arg(long)]
    results: Option<PathBuf>,
    /// Some functions alone
    #[arg(long)]
    only: Vec<String>,
    /// Count instructions, and compare them with this file
    #[arg(long)]
    gate: Option<PathBuf>,
    /// Count instructions, and write them to this file
    #[arg(long)]
    accept: Option<PathBuf>,
    /// How often each variant is started
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How often it is asked after its first answer
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

/// Does what is asked for, and returns what went wrong, a line each.
async fn run(cli: Cli) -> Result<Vec<String>> {
    let scratch = cli.out.join("scratch");
    // Copies of earlier binaries, if there are any
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch)?;
    let places = Places {
        binaries: cli.binaries.clone(),
        node: cli.node.clone(),
        defaults: cli.defaults.clone(),
        hello: cli.hello.clone(),
        scratch,
    };
    let all = functions::all().into_iter();
    let mut functions: Vec<_> = all
        .filter(|function| cli.only.is_empty() || cli.only.contains(&function.name))
        .collect();
    let mut failures = Vec::new();
    let mut report = Report {
        date: machine::today()?,
        machine: machine::machine(),
        rounds: cli.rounds,
        warm: cli.warm,
        ..Report::default()
    };
    if let Some(file) = &cli.accept {
        count(&functions, &places, true, true, &mut report, &mut failures).await?;
        if failures.is_empty() {
            accept(file, &cli.only, report.counted())?;
        }
        return Ok(failures);
    }
    if let Some(file) = &cli.gate {
        let gates = gates(file)?.into_iter();
        let gates = gates.filter(|(name, _)| is_of(name, &cli.only)).collect();
        count(&functions, &places, true, false, &mut report, &mut failures).await?;
        let mut counted = report.counted();
        // A second look at what exceeds its gate, before anybody else has to take one
        let suspects = gate::exceeded(&gates, &counted);
        let is_suspect = |function: &Function| {
            let name = [function.name.clone()];
            suspects.iter().any(|(suspect, _)| is_of(suspect, &name))
        };
        functions.retain(is_suspect);
        if !functions.is_empty() {
            count(&functions, &places, true, true, &mut report, &mut failures).await?;
            gate::least(&mut counted, report.counted());
        }
        let exceeded = gate::exceeded(&gates, &counted);
        if !exceeded.is_empty() {
            failures.extend(exceeded.into_iter().map(|(_, line)| line));
            failures.push(ACCEPTING.into());
        }
        return Ok(failures);
    }
    report.rows = times(&functions, &places, &cli, &mut failures).await?;
    count(
        &functions,
        &places,
        false,
        false,
        &mut report,
        &mut failures,
    )
    .await?;
    if let Some(list) = functions
        .iter()
        .find(|function| function.name == "notes-list")
    {
        report.pages = pages::pages(list, &places, cli.rounds * cli.warm).await?;
    }
    let file = cli.out.join("report.json");
    fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("{} cannot be written", file.display()))?;
    if let Some(folder) = &cli.results
        && failures.is_empty()
    {
        fs::copy(&file, folder.join("report.json"))?;
        let file = folder.join("RESULTS.md");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, results::write(&report, results::by_hand(&before)))?;
        let readme = e2e::root().join("README.md");
        let text = fs::read_to_string(&readme)?;
        fs::write(readme, results::in_readme(&text, &report))?;
    }
    Ok(failures)
}

/// What to do about a gate that is exceeded on purpose.
const ACCEPTING: &str =
    "where that is worth it, accept it by cargo xtask bench --accept, and say why in the commit";

fn gates(file: &Path) -> Result<gate::Gates> {
    let text = fs::read_to_string(file).unwrap_or_default();
    toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))
}

/// Whether a gate is of one of these functions, or there are none and all are meant.
fn is_of(gate: &str, functions: &[String]) -> bool {
    let name = gate.strip_suffix("-tls").unwrap_or(gate);
    functions.is_empty() || functions.iter().any(|function| function == name)
}

/// Writes the gates anew. Where only some functions were asked for, those of the others stay.
fn accept(file: &Path, only: &[String], counted: gate::Gates) -> Result<()> {
    let mut gates = gates(file)?;
    gates.retain(|name, _| !is_of(name, only));
    gates.extend(counted);
    fs::write(file, gate::write(&gates))
        .with_context(|| format!("{} cannot be written", file.display()))
}

/// Starts every variant of every function in turn, as often as there are rounds: what slows the machine
/// down for a while slows all of them down.
async fn times(
    functions: &[Function],
    places: &Places,
    cli: &Cli,
    failures: &mut Vec<String>,
) -> Result<Vec<Row>> {
    let mut runs = Vec::new();
    for function in functions {
        let scene = Arc::new(Scene::start().await?);
        for variant in Variant::of(&function.name, places) {
            for &over in variant.over() {
                runs.push(Run {
                    function,
                    variant,
                    over,
                    scene: Arc::clone(&scene),
                    subject: scene.subject(function, variant, over, places)?,
                    samples: Vec::new(),
                    has_failed: false,
                });
            }
        }
    }
    let bar = progress("measure", cli.rounds * runs.len());
    for _ in 0..cli.rounds {
        for run in &mut runs {
            bar.set_message(run.name());
            if !run.has_failed {
                match measure::life(&run.subject, &run.scene.cloud, cli.warm).await {
                    Ok(sample) => run.samples.push(sample),
                    Err(error) => {
                        failures.push(format!("{} is not measured: {error:#}", run.name()));
                        run.has_failed = true;
                    }
                }
                run.scene.drain()?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let mut rows: Vec<Row> = Vec::new();
    for run in runs.into_iter().filter(|run| !run.has_failed) {
        let Run {
            function,
            variant,
            over,
            samples,
            ..
        } = run;
        let is_same =
            |row: &&mut Row| row.function == function.name && row.variant == variant.name();
        let row = match rows.iter_mut().find(is_same) {
            Some(row) => row,
            None => {
                rows.push(packed(function, variant, places)?);
                rows.last_mut().context("just pushed")?
            }
        };
        let times = measure::summary(&samples);
        match over {
            Over::Http => row.http = times,
            Over::Tls => row.tls = times,
        }
    }
    Ok(rows)
}

/// One variant of one function, and what was measured of it.
struct Run<'a> {
    function: &'a Function,
    variant: Variant,
    over: Over,
    scene: Arc<Scene>,
    subject: Subject,
    samples: Vec<Sample>,
    has_failed: bool,
}

impl Run<'_> {
    fn name(&self) -> String {
        name(self.function, self.variant, self.over)
    }
}

fn name(function: &Function, variant: Variant, over: Over) -> String {
    format!("{}, {}, {over:?}", function.name, variant.name())
}

/// A row in which nothing is but what is known without running anything.
fn packed(function: &Function, variant: Variant, places: &Places) -> Result<Row> {
    let package = variant.package(&function.name, places);
    Ok(Row {
        function: function.name.clone(),
        variant: variant.name().into(),
        zip: package.map(|file| zipped(&file)).transpose()?.unwrap_or(0),
        ..Row::default()
    })
}

/// Counts the instructions of every function as it is deployed, as many at a time as there are cores:
/// counts do not depend on how busy the machine is.
async fn count(
    functions: &[Function],
    places: &Places,
    only_deployed: bool,
    is_sure: bool,
    report: &mut Report,
    failures: &mut Vec<String>,
) -> Result<()> {
    let valgrind = variants::program("valgrind")?;
    let cores = std::thread::available_parallelism()?;
    let turns = Arc::new(Semaphore::new(cores.get()));
    let mut counts = JoinSet::new();
    for function in functions {
        for variant in Variant::of(&function.name, places) {
            // The gate is for what is deployed
            if variant == Variant::Node || (only_deployed && variant != Variant::Rust) {
                continue;
            }
            for &over in variant.over() {
                let (turns, valgrind) = (Arc::clone(&turns), valgrind.clone());
                let (function, places) = (function.clone(), places.clone());
                counts.spawn(async move {
                    let counted = async {
                        let _turn = turns.acquire().await?;
                        let scene = Scene::start().await?;
                        let subject = scene.subject(&function, variant, over, &places)?;
                        callgrind::count(
                            &subject,
                            &scene.cloud,
                            &valgrind,
                            &places.scratch,
                            is_sure,
                        )
                        .await
                    };
                    let counted: Result<Instructions> = counted.await;
                    (function, variant, over, counted)
                });
            }
        }
    }
    let bar = progress("count instructions", counts.len());
    let mut found = BTreeMap::new();
    while let Some(counted) = counts.join_next().await {
        let (function, variant, over, counted) = counted?;
        bar.set_message(name(&function, variant, over));
        bar.inc(1);
        match counted {
            Ok(counts) => {
                let row = match found.entry((function.name.clone(), variant.name())) {
                    Entry::Occupied(row) => row.into_mut(),
                    Entry::Vacant(none) => none.insert(packed(&function, variant, places)?),
                };
                match over {
                    Over::Http => row.instructions = Some(counts),
                    Over::Tls => row.tls_instructions = Some(counts),
                }
            }
            Err(error) => failures.push(format!(
                "{} is not counted: {error:#}",
                name(&function, variant, over)
            )),
        }
    }
    bar.finish_and_clear();
    for counted in found.into_values() {
        let is_same =
            |row: &&mut Row| row.function == counted.function && row.variant == counted.variant;
        match report.rows.iter_mut().find(is_same) {
            Some(row) => {
                row.instructions = counted.instructions;
                row.tls_instructions = counted.tls_instructions;
            }
            None => report.rows.push(counted),
        }
    }
    Ok(())
}

/// How many bytes a file has in a zip, as Lambda takes it.
fn zipped(file: &PathBuf) -> Result<u64> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // As xtask packs what is shipped
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(9));
    zip.start_file("bootstrap", options)?;
    std::io::copy(&mut fs::File::open(file)?, &mut zip)?;
    Ok(zip.finish()?.get_ref().len() as u64)
}

fn progress(what: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {pos}/{len} {msg:.dim} {elapsed:.dim}")
    {
        bar.set_style(style);
    }
    bar.with_prefix(what.to_owned())
}
