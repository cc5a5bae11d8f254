//! The command `cargo xtask bench`: builds the functions, and runs the benchmark harness in `bench/`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{
    package,
    release::{self, Architecture},
    tools, ui,
    workspace::Workspace,
};

/// The name of the benchmark function that does no work. Its measurements are a lower bound for all functions.
const HELLO: &str = "hello";

/// The options of `cargo xtask bench`. Without options, the command measures all functions.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only count instructions and zip sizes, and fail if a count is more than 2 % above bench/gates.toml. Skips the functions
    /// whose sources are those whose counts were accepted
    #[arg(long)]
    gate: bool,
    /// With --gate: measure all functions
    #[arg(long, requires = "gate")]
    all: bool,
    /// Only count instructions and zip sizes, and write the counts to bench/gates.toml
    #[arg(long, conflicts_with = "gate")]
    accept: bool,
    /// Measure only this function; can be repeated. Writes only target/bench/report.json
    #[arg(long, value_name = "FUNCTION")]
    only: Vec<String>,
}

/// The file with the fingerprints of the sources whose counts are in bench/gates.toml, by function.
const ACCEPTED: &str = "bench/accepted.toml";

/// What the counts of a function depend on, in addition to its sources: its event, the expected response, and the services that
/// it calls.
const MEASURED_WITH: [&str; 6] = [
    "events/{}.json",
    "tests/golden/{}.json",
    "bench/src",
    "local/aws",
    "local/dynamodb",
    "local/lambda-host",
];

/// Reads the fingerprints of [`ACCEPTED`]. Returns none if the file is missing.
fn read_accepted(workspace: &Workspace) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(workspace.root().join(ACCEPTED)).unwrap_or_default();
    toml::from_str(&text).with_context(|| format!("cannot parse {ACCEPTED}"))
}

/// Writes the fingerprints of the current sources of the functions in `only`, or of all functions if it is empty.
fn write_accepted(workspace: &Workspace, only: &[String]) -> Result<()> {
    let mut accepted = match only.is_empty() {
        true => BTreeMap::new(),
        false => read_accepted(workspace)?,
    };
    let current = release::fingerprints(workspace, &MEASURED_WITH)?;
    accepted.extend(
        current
            .into_iter()
            .filter(|(name, _)| only.is_empty() || only.contains(name)),
    );
    let mut text = String::from(
        "# For each function, the fingerprint of everything that its limits in gates.toml were measured with. `cargo xtask bench\n\
         # --gate` measures only functions with another fingerprint. `cargo xtask bench --accept` writes this file.\n\n",
    );
    for (name, fingerprint) in accepted {
        text += &format!("{name} = \"{fingerprint}\"\n");
    }
    fs::write(workspace.root().join(ACCEPTED), text)
        .with_context(|| format!("cannot write {ACCEPTED}"))
}

/// Runs `cargo xtask bench`: measures the functions, and writes or checks the results.
///
/// # Errors
/// Fails if a build or a measurement fails, or if a count exceeds its limit in bench/gates.toml. The build or the
/// harness has printed the reason.
pub(crate) async fn bench(mut options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    for function in &options.only {
        workspace.function(function)?;
    }
    tools::find_program("valgrind", "counting instructions", "valgrind")?;
    tools::prepare(&workspace).await?;
    if options.gate && !options.all {
        let accepted = read_accepted(&workspace)?;
        let current = release::fingerprints(&workspace, &MEASURED_WITH)?;
        let changed = current
            .iter()
            .filter(|(name, sources)| accepted.get(*name) != Some(*sources));
        let changed: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
        options.only.retain(|function| changed.contains(function));
        if options.only.is_empty() {
            options.only = changed;
        }
        let same = current.len() - options.only.len();
        ui::say(format!(
            "{} built from the sources whose counts were accepted; `--all` measures {}",
            match same {
                1 => "1 function is".into(),
                same => format!("{same} functions are"),
            },
            if same == 1 { "it, too" } else { "them, too" },
        ));
        if options.only.is_empty() {
            return Ok(());
        }
    }
    let harness = harness_command(&workspace, &options).await?;
    run_harness(&workspace, harness).await?;
    if options.accept {
        write_accepted(&workspace, &options.only)?;
    }
    // With --gate, the harness has printed the result.
    let measured = match options.only.len() {
        0 => workspace.functions().count(),
        some => some,
    };
    let functions = ui::count(measured, "function");
    if options.accept {
        ui::success(format!(
            "wrote the counts of {functions} to bench/gates.toml"
        ));
    } else if !options.gate {
        let file = match options.only.is_empty() {
            true => "bench/RESULTS.md, bench/report.json and README.md",
            false => "target/bench/report.json",
        };
        ui::success(format!("measured {functions}; the results are in {file}"));
    }
    Ok(())
}

/// Builds the benchmark harness, and the binaries and bundles that it measures. Returns the command that runs the
/// harness.
async fn harness_command(workspace: &Workspace, options: &Options) -> Result<Command> {
    let only_counts = options.gate || options.accept;
    let binaries = build_functions(workspace, &options.only, !only_counts).await?;
    let gates = workspace.root().join("bench/gates.toml");
    let mut harness = Command::new(build_harness(workspace, !only_counts).await?);
    harness.arg("--binaries").arg(binaries);
    harness.arg("--out").arg(workspace.target().join("bench"));
    for function in &options.only {
        harness.args(["--only", function]);
    }
    if options.gate {
        harness.arg("--gate").arg(gates);
        harness
            .arg("--metrics")
            .arg(build_metrics(workspace).await?);
    } else if options.accept {
        harness.arg("--accept").arg(gates);
    } else {
        harness.arg("--node").arg(bundle_for_node(workspace).await?);
        harness
            .arg("--defaults")
            .arg(build_sdk_defaults(workspace).await?);
        harness
            .arg("--hello")
            .arg(build_default_hello(workspace).await?);
        if options.only.is_empty() {
            harness.arg("--results").arg(workspace.root().join("bench"));
        }
    }
    Ok(harness)
}

async fn run_harness(workspace: &Workspace, mut harness: Command) -> Result<()> {
    let status = harness.current_dir(workspace.root()).status().await;
    if !status
        .context("cannot start the benchmark harness")?
        .success()
    {
        bail!("the benchmark harness failed; its output above says why");
    }
    Ok(())
}

/// Builds the functions in `only`, or all functions if it is empty, with the build settings of a deployment. If `hello` is
/// true, also builds [`HELLO`] with these settings. Returns the folder with the binaries.
async fn build_functions(workspace: &Workspace, only: &[String], hello: bool) -> Result<PathBuf> {
    let functions = workspace.functions();
    let functions = functions.filter(|function| only.is_empty() || only.contains(&function.name));
    let names = functions.map(|function| &*function.name);
    let names: Vec<_> = names.chain(hello.then_some(HELLO)).collect();
    package::release(workspace, &names, Architecture::HOST).await
}

/// Builds [`HELLO`] with cargo-lambda's default linking, so that the benchmark can compare it with the project's static
/// linking. Returns the path of the binary.
async fn build_default_hello(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("bench/usual");
    package::release_with_default_linking(workspace, HELLO, Architecture::HOST, &folder).await?;
    Ok(package::binary(&folder, HELLO))
}

/// Builds the benchmark harness and returns the path of its binary. `optimized` is needed to measure times. Instruction
/// counts do not need it, because they do not depend on the speed of the harness.
async fn build_harness(workspace: &Workspace, optimized: bool) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    let (profile, folder) = if optimized {
        ("harness", "harness")
    } else {
        ("dev", "debug")
    };
    cargo.args(["build", "--bin", "bench", "--profile", profile]);
    run_build(cargo, "the benchmark harness").await?;
    Ok(workspace.target().join(folder).join("bench"))
}

/// Builds the program that only records metrics, optimized like a function but faster to build. Returns the path of the
/// binary.
async fn build_metrics(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--package", "metrics", "--example", "invocations"]);
    cargo.args(["--profile", "harness"]);
    run_build(cargo, "the program that records metrics").await?;
    Ok(workspace.target().join("harness/examples/invocations"))
}

/// Builds a copy of `notes-get` that uses the default settings of the AWS SDK, so that the benchmark can compare it
/// with `notes-get`. The copy has its own Cargo workspace, bench/sdk-defaults. Returns the path of the binary.
async fn build_sdk_defaults(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.root().join("bench/sdk-defaults");
    let target = workspace.target().join("bench/sdk-defaults");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--target-dir"]);
    cargo.arg(&target).current_dir(folder);
    run_build(cargo, "notes-get with the default settings of the AWS SDK").await?;
    Ok(target.join("release/sdk-defaults"))
}

async fn run_build(mut cargo: Command, what: &str) -> Result<()> {
    ui::say(format!("… build {what}"));
    let status = cargo.status().await.context("cannot start cargo")?;
    if !status.success() {
        bail!("cannot compile {what}");
    }
    Ok(())
}

/// The esbuild flag that defines the function `require` in a bundle, because some bundled packages are CommonJS modules
/// that call `require`.
const REQUIRE: &str = r#"--banner:js=import{createRequire}from"node:module";const require=createRequire(import.meta.url);"#;

/// Bundles the Node versions of the functions, which the benchmark compares with the Rust versions. Returns the folder
/// with the bundles.
async fn bundle_for_node(workspace: &Workspace) -> Result<PathBuf> {
    let out = workspace.target().join("bench/node");
    let sources = workspace.root().join("bench/node");
    let functions = workspace.functions().map(|function| function.name.as_str());
    let files = functions.chain(["bootstrap"]);
    let files = files.map(|name| sources.join(format!("{name}.ts")));
    let step = ui::Step::begin("bundle the Node versions of the functions");
    let mut esbuild = ui::command(workspace.node_bin("esbuild"));
    esbuild
        .args(files.filter(|file| file.is_file()))
        .args(["--bundle", "--minify", "--platform=node", "--target=node20"])
        .args(["--format=esm", "--main-fields=module,main", REQUIRE])
        .args(["--out-extension:.js=.mjs", "--log-level=warning"])
        .arg(format!("--outdir={}", out.display()));
    ui::run(&step, &mut esbuild).await?;
    step.done("");
    Ok(out)
}
