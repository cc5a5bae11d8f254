//! `test`: all tests, by tiers, with a count of each.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use console::style;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    build,
    cloud::Cloud,
    dev::{told_to_stop, up},
    local_accounts::Accounts,
    release,
    stage::{LocalStage, STAGE},
    stripe::Double,
    tools,
    ui::{self, Step, run},
    web::{Serving, Web},
    workspace::Workspace,
};

/// Which tests to run. None said is all.
#[derive(Args)]
pub(crate) struct Tiers {
    /// The rules and the libraries, with everything outside in memory
    #[arg(long)]
    unit: bool,
    /// The services against a real DynamoDB API, the functions alone, the templates
    #[arg(long)]
    integration: bool,
    /// The money path with each of its calls failing in each way: one charge and one SMS all the same
    #[arg(long)]
    faults: bool,
    /// Stages deployed, promoted, rolled back and removed, on accounts that this machine plays
    #[arg(long)]
    stages: bool,
    /// The deployed product, on a local stage of its own
    #[arg(long)]
    e2e: bool,
}

/// How many tests passed, failed and were left out.
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

/// `cargo xtask test`.
///
/// # Errors
/// When a test fails, or cannot be run.
pub(crate) async fn test(tiers: Tiers) -> Result<()> {
    let some = tiers.unit || tiers.integration || tiers.faults || tiers.stages || tiers.e2e;
    let all = !some;
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let browser = match all || tiers.integration || tiers.e2e {
        true => tools::browser()?,
        false => PathBuf::new(),
    };
    let mut counted = Vec::new();
    if all || tiers.unit {
        heading("unit");
        counted.push(("unit", unit(&workspace).await?));
    }
    if all || tiers.integration {
        heading("integration");
        counted.push(("integration", integration(&workspace, &browser).await?));
    }
    if all || tiers.faults {
        heading("faults");
        counted.push(("faults", faults(&workspace).await?));
    }
    if all || tiers.stages {
        heading("stages");
        counted.push(("stages", stages(&workspace).await?));
    }
    if all || tiers.e2e {
        heading("e2e");
        counted.push(("e2e", e2e(&workspace, &browser).await?));
    }
    let mut total = Counts::default();
    ui::say("");
    for (tier, counts) in counted {
        total.add(counts);
        println!(
            "{tier:<12} {:>4} passed {:>4} failed {:>4} skipped",
            counts.passed, counts.failed, counts.skipped
        );
    }
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    match total {
        Counts { failed: 1.., .. } => bail!("{} tests failed", total.failed),
        Counts { passed: 0, .. } => bail!("no test ran"),
        _ => Ok(()),
    }
}

/// The tests of the deployed product, which need a stage.
const E2E: &str = "e2e";

/// The sweep over all failures, which takes its time and prints a table.
const FAULTS: &str = "faults";

/// The tests of deploying, which need accounts.
const DEPLOYING: &str = "stages";

fn heading(tier: &str) {
    ui::say(format!("\n{}", style(format!("── {tier} ──")).bold()));
}

async fn unit(workspace: &Workspace) -> Result<Counts> {
    let mut counts = shown(cargo_test(workspace).args(["--lib", "--bins"])).await?;
    counts.add(shown(cargo_test(workspace).arg("--doc")).await?);
    for project in ["bench/node", "infrastructure", "web", "web/test"] {
        let step = Step::begin(format!("check the types of {project}"));
        let mut types = ui::command(workspace.node_bin("tsc"));
        run(&step, types.arg("-p").arg(workspace.root().join(project))).await?;
        step.done("");
    }
    if let Some(mut tests) = node_tests(&workspace.root().join("infrastructure")) {
        counts.add(shown(&mut tests).await?);
    }
    Ok(counts)
}

async fn integration(workspace: &Workspace, browser: &Path) -> Result<Counts> {
    build::build(workspace).await?;
    // Some of the tests run an example of their crate.
    let mut examples = workspace.cargo();
    examples.args(["build", "--workspace", "--examples"]);
    if !examples.status().await?.success() {
        bail!("the examples do not compile");
    }
    let mut tests = cargo_test(workspace);
    tests.env("SCRATCHPAD_FUNCTIONS", workspace.binaries());
    for test in workspace
        .tests()
        .filter(|test| ![E2E, FAULTS, DEPLOYING].contains(test))
    {
        tests.args(["--test", test]);
    }
    let mut counts = shown(&mut tests).await?;
    for double in fs::read_dir(workspace.root().join("local"))? {
        if let Some(mut tests) = node_tests(&double?.path()) {
            counts.add(shown(tests.env("CHROMIUM", browser)).await?);
        }
    }
    counts.add(templates(workspace).await?);
    Ok(counts)
}

async fn faults(workspace: &Workspace) -> Result<Counts> {
    build::build(workspace).await?;
    let mut tests = cargo_test(workspace);
    tests
        .args(["--test", FAULTS, "--", "--nocapture"])
        .env("SCRATCHPAD_FUNCTIONS", workspace.binaries());
    shown(&mut tests).await
}

async fn stages(workspace: &Workspace) -> Result<Counts> {
    const FOLDER: &str = "stages-test";
    build::build(workspace).await?;
    let lock = LocalStage::open(workspace, FOLDER)?;
    let _lock = lock
        .try_lock("test.lock")?
        .context("another run of these tests is at work")?;
    let accounts = Accounts::start(workspace, FOLDER, true).await?;
    let tests = async {
        let mut tests = cargo_test(workspace);
        tests
            .args(["--test", DEPLOYING, "--", "--test-threads=1"])
            .env("SCRATCHPAD_XTASK", env::current_exe()?)
            .env("AWS_CONFIG_FILE", &accounts.config)
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        shown(&mut tests).await
    };
    let result = tokio::select! {
        result = tests => result,
        () = told_to_stop() => Err(anyhow::anyhow!("stopped")),
    };
    ui::step("stop", accounts.stop()).await?;
    result
}

async fn e2e(workspace: &Workspace, browser: &Path) -> Result<Counts> {
    let mut stage = LocalStage::open(workspace, "e2e")?;
    let _lock = stage
        .try_lock("test.lock")?
        .context("another run of these tests is at work")?;
    let tests = async {
        if let Some(cloud) = Cloud::running(&stage) {
            cloud.stop(&stage).await?;
        }
        stage.empty("data")?;
        stage.settle_outside_ports().await?;
        up(workspace, &mut stage).await?;
        let _stripe = Double::start(&stage).await?;
        let _web = Web::start(workspace, &stage, Serving::Build).await?;
        let described = stage.path("stage.json");
        let mut tests = cargo_test(workspace);
        tests
            .args(["--test", E2E])
            .env("SCRATCHPAD_STAGE", &described);
        let mut counts = shown(&mut tests).await?;
        if let Some(mut tests) = node_tests(&workspace.root().join("web")) {
            tests.env("SCRATCHPAD_STAGE", &described);
            counts.add(shown(tests.env("CHROMIUM", browser)).await?);
        }
        Ok(counts)
    };
    let result = tokio::select! {
        result = tests => result,
        () = told_to_stop() => Err(anyhow::anyhow!("stopped")),
    };
    if let Some(cloud) = Cloud::running(&stage) {
        ui::step("stop", cloud.stop(&stage)).await?;
    }
    stage.retract();
    result
}

/// The stages whose templates are checked: each row of the stage table, and a name without a row.
const STAGES: [&str; 4] = [STAGE, "dev", "prod", "pr-1"];

/// Synthesises every template of every stage, and lets cfn-lint say what AWS would refuse: the
/// local cloud accepts more.
async fn templates(workspace: &Workspace) -> Result<Counts> {
    let root = workspace.root();
    let out = root.join("target/templates");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let step = Step::begin("synthesise the templates of all stages");
    for stage in STAGES {
        let mut synth = ui::command("node");
        synth
            .args(["--import", "tsx", "bin/scratchpad.ts"])
            .current_dir(root.join("infrastructure"))
            .env("NODE_NO_WARNINGS", "1")
            .env("CDK_OUTDIR", out.join(stage).join("infrastructure"))
            .env(
                "CDK_CONTEXT_JSON",
                serde_json::json!({"stage": stage}).to_string(),
            );
        run(&step, &mut synth).await?;
        for function in workspace.functions() {
            // osls wants the zip to be there, whatever is in it.
            let zip = workspace.zip(function, stage);
            if !zip.exists() {
                fs::create_dir_all(zip.parent().context("a zip stands in a folder")?)?;
                fs::write(zip, "")?;
            }
        }
        for service in release::services(root)? {
            let mut package = ui::command(workspace.node_bin("osls"));
            package
                .args(["package", "--stage", stage, "--package"])
                .arg(out.join(stage).join(&service))
                .current_dir(root.join("services").join(&service))
                .env("NODE_NO_WARNINGS", "1");
            run(&step, &mut package).await?;
        }
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
    let step = Step::begin("lint the templates");
    let mut lint = ui::command(workspace.python_bin("cfn-lint"));
    run(&step, lint.args(&templates).current_dir(root)).await?;
    step.done(&format!("({} templates)", templates.len()));
    Ok(Counts {
        passed: templates.len(),
        ..Counts::default()
    })
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo
}

/// The tests for Node in a folder's `test`, if it has some.
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
    // One file after another: they share a stage, and some of them measure.
    node.args(["--import", "tsx", "--test", "--test-reporter=tap"])
        .arg("--test-concurrency=1")
        .args(files)
        .current_dir(folder);
    Some(node)
}

/// Runs tests, shows what they print, and counts them.
async fn shown(command: &mut Command) -> Result<Counts> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut counts = Counts::default();
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            println!("{line}");
            counts.add(count(&line));
        }
    }
    if !child.wait().await?.success() && counts.failed == 0 {
        bail!("the tests could not be run");
    }
    Ok(counts)
}

/// What a line of Rust's or Node's test runner counts.
fn count(line: &str) -> Counts {
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
    } else if let Some((what, number)) = line
        .strip_prefix("# ")
        .and_then(|rest| rest.split_once(' '))
    {
        let number = number.parse().unwrap_or(0);
        match what {
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
    fn the_closing_lines_of_both_runners_are_counted() {
        let rust = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        assert_eq!(
            count(rust),
            Counts {
                passed: 12,
                failed: 1,
                skipped: 2
            }
        );
        assert_eq!(
            count("# pass 19"),
            Counts {
                passed: 19,
                ..Counts::default()
            }
        );
        assert_eq!(
            count("# fail 1"),
            Counts {
                failed: 1,
                ..Counts::default()
            }
        );
        assert_eq!(count("test a_sentence ... ok"), Counts::default());
    }
}
