//! The command `cargo xtask test`: runs the test tiers, and counts the tests.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use console::style;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

mod faults; // part: billing

use crate::stripe::StripeServer; // part: billing
use crate::web::{Serve, WebServer}; // part: web
use crate::{
    build,
    cloud::Cloud,
    dev::{record_traces, start_stage},
    local_accounts::LocalAccounts,
    process::shutdown_signal,
    release,
    stage::{DESCRIPTION, LocalStage, MINUTE, STAGE},
    tools,
    ui::{self, Step, run},
    workspace::Workspace,
};

/// The options of `cargo xtask test`: the test tiers to run. If no option is set, all tiers run except `generated`, which takes
/// as long as all others together.
#[derive(Args)]
pub(crate) struct Tiers {
    /// Run the unit tests: controllers and libraries, with in-memory services
    #[arg(long)]
    unit: bool,
    /// Run the integration tests: services with a DynamoDB API, functions as processes, CloudFormation templates
    #[arg(long)]
    integration: bool,
    // part: billing {
    /// Run the fault tests: inject each failure into each call of a purchase, and check that it is charged, credited and announced once
    #[arg(long)]
    faults: bool,
    // part: billing }
    /// Run the stage tests: deploy, promote, roll back and remove stages in local accounts
    #[arg(long)]
    stages: bool,
    /// Run the end-to-end tests: the whole product, deployed to a separate local stage
    #[arg(long)]
    e2e: bool,
    /// Run the tests of generated code: the commands of the tutorial, and random sequences of `cargo xtask new`. They take as
    /// long as all other tiers, and run only if you name this one
    #[arg(long)]
    generated: bool,
    /// Run the tests of alarms: cause failures on a separate local stage, and check which alarms they raise
    #[arg(long)]
    alarms: bool,
}

/// The numbers of passed, failed and skipped tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The error that [`test`] returns if at least one test failed. [`test`] has printed the number of failed tests, so
/// `main` prints no message for this error.
#[derive(Debug)]
pub(crate) struct TestsFailed;

impl fmt::Display for TestsFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tests failed")
    }
}

impl std::error::Error for TestsFailed {}

/// Runs `cargo xtask test`: runs the selected tiers, and prints the number of tests in each tier.
///
/// # Errors
/// Returns [`TestsFailed`] if at least one test failed. Fails if the tests cannot be run, or if there are none.
pub(crate) async fn test(tiers: Tiers) -> Result<()> {
    let some = [
        tiers.unit,
        tiers.integration,
        tiers.faults, // part: billing
        tiers.stages,
        tiers.e2e,
        tiers.alarms,
        tiers.generated,
    ];
    let all = !some.contains(&true);
    let workspace = Workspace::read()?;
    // part: billing or web {
    if all || tiers.integration || tiers.e2e {
        tools::find_browser()?;
    }
    // part: billing or web }
    if all || tiers.stages || tiers.generated {
        tools::find_program("git", "the tests of stages and of generated code", "git")?;
    }
    tools::prepare(&workspace).await?;
    let mut results = Vec::new();
    if all || tiers.unit {
        heading("unit");
        results.push(("unit", unit(&workspace).await?));
    }
    if all || tiers.integration {
        heading("integration");
        results.push(("integration", integration(&workspace).await?));
    }
    results.extend(slow(&workspace, &tiers, all).await?);
    if all || tiers.e2e && tiers.alarms {
        results.extend(e2e_and_alarms(&workspace).await?);
    } else if tiers.e2e {
        heading("e2e");
        let tests = async |stage: &LocalStage| e2e(&workspace, stage).await;
        let counts = on_stage(&workspace, E2E, MINUTE, tests).await?;
        results.push(("e2e", counts));
    } else if tiers.alarms {
        heading("alarms");
        let tests = async |stage: &LocalStage| alarms(&workspace, stage).await;
        let counts = on_stage(&workspace, ALARMS, ALARMS_MINUTE, tests).await?;
        results.push(("alarms", counts));
    }
    if tiers.generated {
        heading("generated");
        results.push(("generated", generated(&workspace).await?));
    }
    let total = print_results(&results);
    match total {
        Counts { failed: 1.., .. } => bail!(TestsFailed),
        Counts { passed: 0, .. } => bail!("cannot find a test to run"),
        _ => Ok(()),
    }
}

/// Prints one line with the counts of each tier, and a last line with the total of all tiers. Returns the total.
fn print_results(results: &[(&str, Counts)]) -> Counts {
    let mut total = Counts::default();
    ui::say("");
    for (tier, counts) in results {
        total.add(*counts);
        println!(
            "{tier:<12} {:>4} passed {:>4} failed {:>4} skipped",
            counts.passed, counts.failed, counts.skipped
        );
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    total
}

/// The Cargo test target of the end-to-end tests, and the folder of their stage.
const E2E: &str = "e2e";
/// The Cargo test target of the tests of alarms, and the folder of their stage.
const ALARMS: &str = "alarms";
/// The Cargo test target of the test of the metrics that the other tests cause.
const OBSERVED: &str = "observed";
/// The duration of a minute of CloudWatch in the tests of alarms. Their longest window is half an hour.
const ALARMS_MINUTE: Duration = Duration::from_millis(500);
const GENERATED: &str = "generated";
const STAGES: &str = "stages";
/// The Cargo test target that compiles the end-to-end tests from which `cargo xtask new` generates others. No stage has
/// their functions.
const TEMPLATE: &str = "template-e2e";

/// The Cargo test targets that the tier integration does not run.
const OTHER_TIERS: &[&str] = &[
    ALARMS,
    E2E,
    faults::FAULTS, // part: billing
    GENERATED,
    OBSERVED,
    STAGES,
    TEMPLATE,
];

fn heading(tier: &str) {
    ui::say(format!("\n{}", style(format!("── {tier} ──")).bold()));
}

async fn unit(workspace: &Workspace) -> Result<Counts> {
    let mut counts = run_tests(cargo_test(workspace).args(["--lib", "--bins"])).await?;
    counts.add(run_tests(cargo_test(workspace).arg("--doc")).await?);
    let projects = [
        "bench/node",
        "infrastructure",
        "web",      // part: web
        "web/test", // part: web
    ];
    for project in projects {
        let step = Step::begin(format!("check the types of {project}"));
        let mut tsc = ui::command(workspace.node_bin("tsc"));
        run(&step, tsc.arg("-p").arg(workspace.root().join(project))).await?;
        step.done("");
    }
    if let Some(mut tests) = node_tests(&workspace.root().join("infrastructure")) {
        counts.add(run_tests(&mut tests).await?);
    }
    Ok(counts)
}

async fn integration(workspace: &Workspace) -> Result<Counts> {
    let functions = workspace.functions().chain(workspace.template());
    build::build_only(workspace, functions).await?;
    // Some tests run an example of their crate.
    let mut examples = workspace.cargo();
    examples.args(["build", "--workspace", "--examples"]);
    if !examples.status().await?.success() {
        bail!("cannot compile the examples");
    }
    let mut tests = cargo_test(workspace);
    tests.env("SCRATCHPAD_FUNCTIONS", workspace.binaries());
    for test in workspace.tests().filter(|test| !OTHER_TIERS.contains(test)) {
        tests.args(["--test", test]);
    }
    let mut counts = run_tests(&mut tests).await?;
    for local in fs::read_dir(workspace.root().join("local"))? {
        if let Some(mut tests) = node_tests(&local?.path()) {
            tests.env("CHROMIUM", tools::find_browser()?); // part: billing
            counts.add(run_tests(&mut tests).await?);
        }
    }
    let mut tests = ui::command(workspace.python());
    tests
        .arg("local/cloud/test/run.py")
        .current_dir(workspace.root());
    counts.add(run_tests(&mut tests).await?);
    counts.add(templates(workspace).await?);
    Ok(counts)
}

async fn generated(workspace: &Workspace) -> Result<Counts> {
    let mut tests = cargo_test(workspace);
    // One at a time: each test compiles, with all cores.
    tests.args(["--test", GENERATED, "--", "--test-threads=1", "--nocapture"]);
    run_tests(&mut tests).await
}

/// Runs the tests that take longest, if they are selected or if `all` tiers are.
async fn slow(
    workspace: &Workspace,
    tiers: &Tiers,
    all: bool,
) -> Result<Vec<(&'static str, Counts)>> {
    // part: billing {
    if all || tiers.faults {
        return faults::beside_stages(workspace, all || tiers.stages).await;
    }
    // part: billing }
    if !all && !tiers.stages {
        return Ok(Vec::new());
    }
    heading(STAGES);
    let counts = stages(workspace, None).await?;
    Ok(vec![(STAGES, counts)])
}

async fn stages(workspace: &Workspace, output: Option<&mut Vec<String>>) -> Result<Counts> {
    const FOLDER: &str = "stages-test";
    build::build(workspace).await?;
    let stage = LocalStage::open(workspace, FOLDER)?;
    let _lock = stage
        .try_lock("test.lock")?
        .context("cannot start the stage tests: they run already in another terminal")?;
    let accounts = LocalAccounts::start(workspace, FOLDER, true).await?;
    let tests = async {
        let mut tests = cargo_test(workspace);
        tests
            .args(["--test", STAGES, "--", "--test-threads=1"])
            .env("SCRATCHPAD_XTASK", env::current_exe()?)
            .envs(accounts.environment());
        run_tests_with(&mut tests, output).await
    };
    let result = tokio::select! {
        result = tests => result,
        () = shutdown_signal() => Err(anyhow::anyhow!("a signal stopped the tests")),
    };
    ui::step("stop the local clouds", accounts.stop()).await?;
    result
}

/// Starts a stage with new data, runs `tests`, and stops the stage. The folder of the stage is
/// target/`folder`. A minute of its CloudWatch lasts `minute`.
async fn on_stage<T>(
    workspace: &Workspace,
    folder: &str,
    minute: Duration,
    tests: impl AsyncFnOnce(&LocalStage) -> Result<T>,
) -> Result<T> {
    let mut stage = LocalStage::open(workspace, folder)?.with_minutes_of(minute);
    let _lock = stage.try_lock("test.lock")?.with_context(|| {
        format!("cannot start the tests of {folder}: they run already in another terminal")
    })?;
    let run = async {
        if let Some(cloud) = Cloud::running(&stage) {
            cloud.stop(&stage).await?;
        }
        stage.clear_folder("data")?;
        stage.ensure_server_ports_are_free().await?;
        start_stage(workspace, &mut stage).await?;
        record_traces(&stage)?;
        let _stripe = StripeServer::start(&stage).await?; // part: billing
        tests(&stage).await
    };
    let result = tokio::select! {
        result = run => result,
        () = shutdown_signal() => Err(anyhow::anyhow!("a signal stopped the tests")),
    };
    if let Some(cloud) = Cloud::running(&stage) {
        ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    }
    stage.delete_description();
    result
}

/// Runs the end-to-end tests on the running `stage`.
async fn e2e(workspace: &Workspace, stage: &LocalStage) -> Result<Counts> {
    let _web = WebServer::start(workspace, stage, Serve::Build).await?; // part: web
    let description = stage.path(DESCRIPTION);
    let mut tests = cargo_test(workspace);
    tests
        .args(["--test", E2E])
        .env("SCRATCHPAD_XTASK", env::current_exe()?)
        .env("SCRATCHPAD_STAGE", &description);
    let counts = run_tests(&mut tests).await?;
    // part: web {
    let mut counts = counts;
    if let Some(mut tests) = node_tests(&workspace.root().join("web")) {
        tests.env("SCRATCHPAD_STAGE", &description);
        tests.env("CHROMIUM", tools::find_browser()?);
        counts.add(run_tests(&mut tests).await?);
    }
    // part: web }
    Ok(counts)
}

/// Runs the tests of alarms on the running `stage`.
async fn alarms(workspace: &Workspace, stage: &LocalStage) -> Result<Counts> {
    let mut tests = cargo_test(workspace);
    tests
        .args(["--test", ALARMS])
        .env("SCRATCHPAD_STAGE", stage.path(DESCRIPTION));
    run_tests(&mut tests).await
}

/// Runs the tiers e2e and alarms. Then checks that they caused values of each metric that an alarm or the dashboard reads.
async fn e2e_and_alarms(workspace: &Workspace) -> Result<[(&'static str, Counts); 2]> {
    heading("e2e");
    on_stage(workspace, E2E, MINUTE, async |first: &LocalStage| {
        let e2e = e2e(workspace, first).await?;
        heading("alarms");
        let tests = async |second: &LocalStage| {
            let mut counts = alarms(workspace, second).await?;
            let stages = [first, second].map(|stage| stage.path(DESCRIPTION));
            let mut observed = cargo_test(workspace);
            observed
                .args(["--test", OBSERVED])
                .env("SCRATCHPAD_STAGES", env::join_paths(stages)?);
            counts.add(run_tests(&mut observed).await?);
            Ok(counts)
        };
        let alarms = on_stage(workspace, ALARMS, ALARMS_MINUTE, tests).await?;
        Ok([("e2e", e2e), ("alarms", alarms)])
    })
    .await
}

/// The stages whose templates are checked: each stage that has a row in serverless.yml, and `pr-1`, which has none.
const CHECKED_STAGES: [&str; 4] = [STAGE, "dev", "prod", "pr-1"];

/// Checks the CloudFormation templates of [`CHECKED_STAGES`] with cfn-lint, because the local cloud accepts templates
/// that AWS would reject. Counts one passed test for each template.
async fn templates(workspace: &Workspace) -> Result<Counts> {
    let templates = synthesize_templates(workspace).await?;
    let step = Step::begin("lint the templates");
    let mut lint = ui::command(workspace.python_bin("cfn-lint"));
    run(&step, lint.args(&templates).current_dir(workspace.root())).await?;
    step.done(&format!("({} templates)", templates.len()));
    Ok(Counts {
        passed: templates.len(),
        ..Counts::default()
    })
}

/// Synthesizes the CloudFormation templates of [`CHECKED_STAGES`] into target/templates. Returns the paths of the
/// templates.
async fn synthesize_templates(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let out = workspace.root().join("target/templates");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let step = Step::begin("synthesize the templates of all stages");
    for stage in CHECKED_STAGES {
        synthesize_stage(workspace, stage, &out.join(stage), &step).await?;
    }
    step.done("");
    let mut templates = Vec::new();
    for entry in walkdir::WalkDir::new(&out).sort_by_file_name() {
        let path = entry?.into_path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".template.json") || name == "cloudformation-template-update-stack.json" {
            templates.push(path);
        }
    }
    Ok(templates)
}

/// Synthesizes all CloudFormation templates of the stage `stage` into the folder `out`.
async fn synthesize_stage(
    workspace: &Workspace,
    stage: &str,
    out: &Path,
    step: &Step,
) -> Result<()> {
    let root = workspace.root();
    let mut synth = ui::command("node");
    synth
        .args(["--import", "tsx", "bin/scratchpad.ts"])
        .current_dir(root.join("infrastructure"))
        .env("NODE_NO_WARNINGS", "1")
        .env("CDK_OUTDIR", out.join("infrastructure"))
        .env(
            "CDK_CONTEXT_JSON",
            serde_json::json!({"stage": stage}).to_string(),
        );
    run(step, &mut synth).await?;
    workspace.create_placeholder_zips(stage)?;
    for service in release::services(root)? {
        let mut package = ui::command(workspace.node_bin("osls"));
        package
            .args(["package", "--stage", stage, "--package"])
            .arg(out.join(&service))
            .current_dir(root.join("services").join(&service))
            .env("NODE_NO_WARNINGS", "1");
        run(step, &mut package).await?;
    }
    Ok(())
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo
}

/// Returns the command that runs the Node tests in the subfolder `test` of `folder`. `None` if that subfolder has no
/// tests.
fn node_tests(folder: &Path) -> Option<Command> {
    let files = walkdir::WalkDir::new(folder.join("test")).sort_by_file_name();
    let files = files
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()));
    let is_test = |path: &PathBuf| {
        path.file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with(".test"))
    };
    let files: Vec<_> = files.filter(is_test).collect();
    if files.is_empty() {
        return None;
    }
    let mut node = ui::command("node");
    // The files run one after another, because they share a stage and some measure time.
    node.args(["--import", "tsx", "--test", "--test-reporter=tap"])
        .arg("--test-concurrency=1")
        .args(files)
        .current_dir(folder);
    Some(node)
}

/// Runs a test command, prints its output, and counts the tests from the output.
async fn run_tests(command: &mut Command) -> Result<Counts> {
    run_tests_with(command, None).await
}

/// Runs a test command, and counts the tests from the output. Prints the output, or adds its lines to `held`.
async fn run_tests_with(
    command: &mut Command,
    mut held: Option<&mut Vec<String>>,
) -> Result<Counts> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            counts.add(counts_in(&line));
            match &mut held {
                None => println!("{line}"),
                Some(held) => held.push(line),
            }
        }
    }
    if !child.wait().await?.success() && counts.failed == 0 {
        bail!("cannot run the tests; the output above says why");
    }
    Ok(counts)
}

/// Returns the test counts that a line of output from Rust's or Node's test runner contains, or from
/// local/cloud/test/run.py. All counts are 0 for any other line.
fn counts_in(line: &str) -> Counts {
    let mut counts = Counts::default();
    if let Some(result) = line.strip_prefix("test result: ") {
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => counts.passed = number,
                Some("failed") => counts.failed = number,
                Some("ignored") => counts.skipped = number,
                _ => {}
            }
        }
    } else if let Some((name, number)) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.split_once(' '))
    {
        let number = number.parse().unwrap_or(0);
        match name {
            "pass" => counts.passed = number,
            "fail" => counts.failed = number,
            "skipped" => counts.skipped = number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_counts_are_read_from_the_output_of_rust_and_node() {
        let rust = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        assert_eq!(
            counts_in(rust),
            Counts {
                passed: 12,
                failed: 1,
                skipped: 2
            }
        );
        assert_eq!(
            counts_in("# pass 19"),
            Counts {
                passed: 19,
                ..Counts::default()
            }
        );
        assert_eq!(
            counts_in("# fail 1"),
            Counts {
                failed: 1,
                ..Counts::default()
            }
        );
        assert_eq!(counts_in("test a_sentence ... ok"), Counts::default());
    }
}
