//! Builds the functions as they are shipped: for Lambda's Linux, and to the byte the same in every
//! checkout of the same sources.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{
    build::{Level, pack},
    release::Architecture,
    tools, ui,
    workspace::Workspace,
};

/// What Rust calls it. With musl for its C library, an executable has all that it needs in itself: nothing is loaded and
/// bound at each start, and no version of a system's library matters.
pub(crate) fn target(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86 => "x86_64-unknown-linux-musl",
        Architecture::Arm64 => "aarch64-unknown-linux-musl",
    }
}

/// Builds and packs these functions, or all of them, and says what came of it.
///
/// # Errors
/// When there is no function of a name, or one does not compile.
pub(crate) async fn package(names: &[String], architecture: Architecture) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let functions: Vec<_> = match names {
        [] => workspace.functions().collect(),
        names => {
            let named = names.iter().map(|name| workspace.function(name));
            named.collect::<Result<_>>()?
        }
    };
    let names: Vec<_> = functions.iter().map(|function| &*function.name).collect();
    let built = release(&workspace, &names, architecture).await?;
    for function in functions {
        let binary = binary(&built, &function.name);
        let zip = workspace.zip_of(&pack(&workspace, &function.name, &binary, Level::Small)?);
        let length = fs::metadata(&zip)?.len() as f64 / 1e6;
        ui::say(format!(
            "{:<22}{length:.2} MB  {}",
            function.name,
            zip.display()
        ));
    }
    Ok(())
}

/// A function's binary in the folder that [`release`] returns.
pub(crate) fn binary(built: &Path, function: &str) -> PathBuf {
    built.join(function).join("bootstrap")
}

/// Builds these functions in the release profile. Returns the folder that holds them, each as
/// `NAME/bootstrap`.
///
/// The tools of requirements.txt must be installed.
///
/// # Errors
/// When they do not compile; Cargo has said why.
pub(crate) async fn release(
    workspace: &Workspace,
    functions: &[&str],
    architecture: Architecture,
) -> Result<PathBuf> {
    ui::say("… build the functions for Lambda");
    let folder = workspace.target().join("lambda").join(architecture.name());
    build(workspace, functions, target(architecture), &STATIC, &folder).await?;
    Ok(folder)
}

/// Builds what is compared with ours in the release profile, but linked as cargo-lambda has it by itself: with the
/// glibc of `provided.al2023` (<https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html>), at no fixed address.
///
/// # Errors
/// When it does not compile; Cargo has said why.
pub(crate) async fn as_usual(
    workspace: &Workspace,
    name: &str,
    architecture: Architecture,
    folder: &Path,
) -> Result<()> {
    ui::say(format!("… build {name}, as usual"));
    let target = match architecture {
        Architecture::X86 => "x86_64-unknown-linux-gnu.2.34",
        Architecture::Arm64 => "aarch64-unknown-linux-gnu.2.34",
    };
    build(workspace, &[name], target, &[], folder).await
}

/// Builds binaries by cargo-lambda into a folder, each as `NAME/bootstrap`.
async fn build(
    workspace: &Workspace,
    names: &[&str],
    target: &str,
    link: &[&str],
    folder: &Path,
) -> Result<()> {
    let flags = flags(&Machine::read(workspace).await?.prefixes(), link);
    let mut cargo_lambda = workspace.runs_cargo(workspace.python_bin("cargo-lambda"));
    cargo_lambda
        .args(["lambda", "build", "--release", "--locked"])
        // Cargo.toml has the profile, and any processor of the architecture will do.
        .arg("--disable-optimizations")
        .args(["--target", target, "--lambda-dir"])
        .arg(folder)
        // Where zig is.
        .env("CARGO_ZIGBUILD_PYTHON_PATH", workspace.python())
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    for name in names {
        // Not --package: see .cargo/config.toml.
        cargo_lambda.args(["--bin", name]);
    }
    let built = cargo_lambda.status().await;
    if !built.context("cargo-lambda cannot be started")?.success() {
        bail!("{} cannot be built for Lambda", names.join(", "));
    }
    Ok(())
}

/// Where this machine has what goes into a binary. Panics say where they are, by the path that a
/// source had when it was compiled.
struct Machine {
    checkout: PathBuf,
    target: PathBuf,
    cargo_home: PathBuf,
    /// The standard library's sources, where they are installed.
    library: PathBuf,
    /// What they are called where they are not.
    library_elsewhere: String,
}

impl Machine {
    async fn read(workspace: &Workspace) -> Result<Self> {
        let version = rustc(workspace, "-vV").await?;
        let commit = version
            .lines()
            .find_map(|line| line.strip_prefix("commit-hash: "))
            .context("rustc does not say what it was made from")?;
        let sysroot = rustc(workspace, "--print=sysroot").await?;
        let home = env::home_dir().context("this user has no home")?;
        let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), Into::into);
        Ok(Self {
            checkout: workspace.root().into(),
            target: workspace.target().into(),
            cargo_home,
            library: Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
            library_elsewhere: format!("/rustc/{commit}"),
        })
    }

    /// Each path, and what it is called in a binary.
    fn prefixes(&self) -> Vec<(&Path, &str)> {
        let mut prefixes = vec![
            (self.checkout.as_path(), "/checkout"),
            (self.target.as_path(), "/target"),
            (self.cargo_home.as_path(), "/cargo"),
            (self.library.as_path(), self.library_elsewhere.as_str()),
        ];
        // Of two that fit, rustc takes the last: be that the one inside the other.
        prefixes.sort_by_key(|(path, _)| path.components().count());
        prefixes
    }
}

async fn rustc(workspace: &Workspace, question: &str) -> Result<String> {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(program);
    let answer = rustc.arg(question).current_dir(workspace.root());
    let answer = answer.output().await.context("rustc cannot be started")?;
    Ok(String::from_utf8(answer.stdout)?)
}

/// An executable that is linked with its C library, at a fixed address, as Go makes them: to load libraries, and to set 13,000
/// addresses in pages of their own, takes a quarter of a cold start's CPU time. Stack and heap are where nobody knows,
/// as always. <https://pkg.go.dev/cmd/go#hdr-Build_modes>
pub(crate) const STATIC: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

/// What rustc is told, as Cargo takes it: paths may hold spaces.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html>
fn flags(prefixes: &[(&Path, &str)], link: &[&str]) -> String {
    prefixes
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .chain(link.iter().map(|&flag| flag.to_owned()))
        .collect::<Vec<_>>()
        .join("\x1f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_the_same_name_wherever_checkout_target_and_cargo_stand() {
        for (checkout, target, cargo_home) in [
            (
                "/home/ada/notes",
                "/home/ada/notes/target",
                "/home/ada/.cargo",
            ),
            ("/build", "/var/cache/target", "/build/.cargo"),
            ("/root/.cargo/git/my notes", "/tmp", "/root/.cargo"),
        ] {
            let machine = Machine {
                checkout: checkout.into(),
                target: target.into(),
                cargo_home: cargo_home.into(),
                library: "/root/.rustup/lib/rustlib/src/rust".into(),
                library_elsewhere: "/rustc/59807616".into(),
            };
            let prefixes = machine.prefixes();
            // As rustc does
            let named = |path: String| {
                let fits = |(prefix, name): &(&Path, &str)| {
                    let rest = Path::new(&path).strip_prefix(prefix).ok()?;
                    Some(Path::new(name).join(rest))
                };
                prefixes.iter().rev().find_map(fits).unwrap()
            };
            for (path, name) in [
                (
                    format!("{checkout}/libs/api/src/lib.rs"),
                    "/checkout/libs/api/src/lib.rs",
                ),
                (format!("{target}/out/private.rs"), "/target/out/private.rs"),
                (
                    format!("{cargo_home}/registry/lib.rs"),
                    "/cargo/registry/lib.rs",
                ),
                (
                    "/root/.rustup/lib/rustlib/src/rust/library/core/src/lib.rs".into(),
                    "/rustc/59807616/library/core/src/lib.rs",
                ),
            ] {
                assert_eq!(named(path), Path::new(name), "{checkout}");
            }
        }
    }

    #[test]
    fn a_path_with_spaces_is_one_flag() {
        let prefixes = [
            (Path::new("/my notes"), "/checkout"),
            (Path::new("/b"), "/target"),
        ];
        assert_eq!(
            flags(&prefixes, &["-Cx=y"]),
            "--remap-path-prefix=/my notes=/checkout\x1f--remap-path-prefix=/b=/target\x1f-Cx=y"
        );
    }
}
