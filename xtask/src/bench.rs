//! `bench`: builds what is measured and has the harness in `bench/` measure it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{package, release::Architecture, tools, ui, workspace::Workspace};

/// The bare runtime.
const HELLO: &str = "hello";

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Count instructions alone, and fail where one exceeds bench/gates.toml by more than 2 %
    #[arg(long)]
    gate: bool,
    /// Count instructions alone, and write them to bench/gates.toml
    #[arg(long, conflicts_with = "gate")]
    accept: bool,
    /// Some functions alone; nothing but the report is written
    #[arg(long, value_name = "FUNCTION")]
    only: Vec<String>,
}

/// `cargo xtask bench`.
///
/// # Errors
/// Says what cannot be built or measured, and which function exceeds its gate.
pub(crate) async fn bench(options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let out = workspace.target().join("bench");
    let gates = workspace.root().join("bench/gates.toml");
    tools::prepare(&workspace).await?;
    let counting = options.gate || options.accept;
    let binaries = release(&workspace, !counting).await?;

    let mut harness = Command::new(harness(&workspace, !counting).await?);
    harness.arg("--binaries").arg(binaries);
    harness.arg("--out").arg(&out);
    for function in &options.only {
        workspace.function(function)?;
        harness.args(["--only", function]);
    }
    if options.gate {
        harness.arg("--gate").arg(gates);
    } else if options.accept {
        harness.arg("--accept").arg(gates);
    } else {
        harness.arg("--node").arg(twins(&workspace).await?);
        harness.arg("--defaults").arg(defaults(&workspace).await?);
        harness.arg("--hello").arg(usual(&workspace).await?);
        if options.only.is_empty() {
            harness.arg("--results").arg(workspace.root().join("bench"));
        }
    }
    if !harness
        .current_dir(workspace.root())
        .status()
        .await?
        .success()
    {
        bail!("not all was measured, or not all is as it has to be");
    }
    Ok(())
}

/// Builds the functions as they are deployed, and the bare runtime if asked to. Returns the folder with them.
async fn release(workspace: &Workspace, hello: bool) -> Result<PathBuf> {
    let functions = workspace.functions();
    let names = functions.map(|function| &*function.name);
    let names: Vec<_> = names.chain(hello.then_some(HELLO)).collect();
    // They are run here.
    package::release(workspace, &names, Architecture::HOST).await
}

/// Builds the bare runtime as cargo-lambda does by itself: what ours is compared with is what everybody has.
async fn usual(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join("bench/usual");
    package::release_with_default_linking(workspace, HELLO, Architecture::HOST, &folder).await?;
    Ok(package::binary(&folder, HELLO))
}

/// Builds the harness. What it counts does not depend on how fast it is itself.
async fn harness(workspace: &Workspace, fast: bool) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    let (profile, folder) = if fast {
        ("harness", "harness")
    } else {
        ("dev", "debug")
    };
    cargo.args(["build", "--bin", "bench", "--profile", profile]);
    built(cargo, "the harness").await?;
    Ok(workspace.target().join(folder).join("bench"))
}

/// Builds `get` by the SDK's defaults, in a workspace of its own.
async fn defaults(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.root().join("bench/sdk-defaults");
    let target = workspace.target().join("bench/sdk-defaults");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--target-dir"]);
    cargo.arg(&target).current_dir(folder);
    built(cargo, "get by the SDK's defaults").await?;
    Ok(target.join("release/sdk-defaults"))
}

async fn built(mut cargo: Command, what: &str) -> Result<()> {
    ui::say(format!("… build {what}"));
    let status = cargo.status().await.context("cargo cannot be started")?;
    if !status.success() {
        bail!("{what} cannot be built");
    }
    Ok(())
}

/// What a bundle needs for those of its packages that are no modules of ECMAScript.
const REQUIRE: &str = r#"--banner:js=import{createRequire}from"node:module";const require=createRequire(import.meta.url);"#;

/// Bundles the routes' twins for Node. Returns the folder with them.
async fn twins(workspace: &Workspace) -> Result<PathBuf> {
    let out = workspace.target().join("bench/node");
    let sources = workspace.root().join("bench/node");
    let functions = workspace.functions().map(|function| function.name.as_str());
    let files = functions.chain(["bootstrap"]);
    let files = files.map(|name| sources.join(format!("{name}.ts")));
    let step = ui::Step::begin("bundle the twins for Node");
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
