//! Builds the functions for Lambda in the release profile. Equal sources give equal binaries, in every checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{
    build::{Level, pack},
    release::table::Architecture,
    tools, ui,
    workspace::Workspace,
};

/// The Rust target for an architecture. The target uses musl, so that executables are statically linked: a cold start
/// loads no libraries, and an executable does not depend on the version of a system library.
pub(crate) fn target(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86 => "x86_64-unknown-linux-musl",
        Architecture::Arm64 => "aarch64-unknown-linux-musl",
    }
}

/// Runs `cargo xtask package`: builds and zips the functions in `names`, or all functions if `names` is empty.
///
/// # Errors
/// Fails if a name in `names` is not the name of a function, or if a function does not compile.
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
    ui::success(format!(
        "packed {} for {} in target/lambda/packed",
        ui::count(names.len(), "function"),
        architecture.name()
    ));
    Ok(())
}

/// The path of a function's binary in `built`, the folder that [`release`] has returned.
pub(crate) fn binary(built: &Path, function: &str) -> PathBuf {
    built.join(function).join("bootstrap")
}

/// Builds functions for Lambda in the release profile. Returns a folder that contains the binary of each function as
/// `NAME/bootstrap`. [`tools::prepare`] must have installed the tools of requirements.txt.
///
/// # Errors
/// Fails if a function does not compile. Cargo has printed the reason.
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

/// Builds the binary `name` into `folder`, in the release profile with cargo-lambda's default linking, for comparison
/// with the project's static linking. The binary is position-independent and dynamically linked to the glibc of
/// `provided.al2023` (<https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html>).
///
/// # Errors
/// Fails if the binary does not compile. Cargo has printed the reason.
pub(crate) async fn release_with_default_linking(
    workspace: &Workspace,
    name: &str,
    architecture: Architecture,
    folder: &Path,
) -> Result<()> {
    ui::say(format!("… build {name} with default linking"));
    let target = match architecture {
        Architecture::X86 => "x86_64-unknown-linux-gnu.2.34",
        Architecture::Arm64 => "aarch64-unknown-linux-gnu.2.34",
    };
    build(workspace, &[name], target, &[], folder).await
}

/// Builds the binaries `names` with cargo-lambda. Writes each binary to `NAME/bootstrap` in `folder`. `target` is the
/// Rust target. rustc gets the flags `link_flags`.
async fn build(
    workspace: &Workspace,
    names: &[&str],
    target: &str,
    link_flags: &[&str],
    folder: &Path,
) -> Result<()> {
    let flags = rustc_flags(&Machine::read(workspace).await?.prefixes(), link_flags);
    let mut cargo_lambda = workspace.cargo_command(workspace.python_bin("cargo-lambda"));
    cargo_lambda
        .args(["lambda", "build", "--release", "--locked"])
        // Use only the profile of Cargo.toml. The binary must run on every processor of the architecture.
        .arg("--disable-optimizations")
        .args(["--target", target, "--lambda-dir"])
        .arg(folder)
        // Use the Python in which zig is installed.
        .env("CARGO_ZIGBUILD_PYTHON_PATH", workspace.python())
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    for name in names {
        // Not --package: see .cargo/config.toml.
        cargo_lambda.args(["--bin", name]);
    }
    let built = cargo_lambda.status().await;
    if !built.context("cannot start cargo-lambda")?.success() {
        bail!("cannot build {} for Lambda", names.join(", "));
    }
    Ok(())
}

/// The paths on this machine that rustc would write into a binary by default, because panic messages contain the paths
/// of source files.
struct Machine {
    checkout: PathBuf,
    target: PathBuf,
    cargo_home: PathBuf,
    /// The folder of the standard library's sources, if they are installed.
    library: PathBuf,
    /// The path that rustc uses for the standard library's sources if they are not installed.
    library_name: String,
}

impl Machine {
    async fn read(workspace: &Workspace) -> Result<Self> {
        let version = rustc(workspace, "-vV").await?;
        let commit = version
            .lines()
            .find_map(|line| line.strip_prefix("commit-hash: "))
            .context("cannot find commit-hash in the output of rustc -vV")?;
        let sysroot = rustc(workspace, "--print=sysroot").await?;
        let home =
            env::home_dir().context("cannot find the home directory of the user; set HOME")?;
        let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), Into::into);
        Ok(Self {
            checkout: workspace.root().into(),
            target: workspace.target().into(),
            cargo_home,
            library: Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
            library_name: format!("/rustc/{commit}"),
        })
    }

    /// Returns each path and the path that replaces it in binaries, in the order of rustc's `--remap-path-prefix`
    /// flags.
    fn prefixes(&self) -> Vec<(&Path, &str)> {
        let mut prefixes = vec![
            (self.checkout.as_path(), "/checkout"),
            (self.target.as_path(), "/target"),
            (self.cargo_home.as_path(), "/cargo"),
            (self.library.as_path(), self.library_name.as_str()),
        ];
        // If several prefixes match, rustc uses the last. The longest prefix must win, so it comes last.
        prefixes.sort_by_key(|(path, _)| path.components().count());
        prefixes
    }
}

async fn rustc(workspace: &Workspace, argument: &str) -> Result<String> {
    let program = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(program);
    let rustc = rustc.arg(argument).current_dir(workspace.root());
    let output = rustc.output().await.context("cannot start rustc")?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The rustc flags for a static, non-relocatable executable, which is Go's default
/// (<https://pkg.go.dev/cmd/go#hdr-Build_modes>). Without these flags, a quarter of a cold start's CPU time would be
/// spent on loading libraries and on 13,000 relocations, which copy each memory page that they change. ASLR still
/// applies to the stack and the heap.
pub(crate) const STATIC: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

/// Returns the value of the environment variable `CARGO_ENCODED_RUSTFLAGS`. Its flags are separated by U+001F, so that
/// they can contain spaces (<https://doc.rust-lang.org/cargo/reference/environment-variables.html>).
fn rustc_flags(prefixes: &[(&Path, &str)], link_flags: &[&str]) -> String {
    prefixes
        .iter()
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()))
        .chain(link_flags.iter().map(|&flag| flag.to_owned()))
        .collect::<Vec<_>>()
        .join("\x1f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_contain_the_same_source_paths_in_every_checkout() {
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
                library_name: "/rustc/59807616".into(),
            };
            let prefixes = machine.prefixes();
            // As in rustc, the last matching prefix wins.
            let remapped = |path: String| {
                let remap = |(prefix, name): &(&Path, &str)| {
                    let rest = Path::new(&path).strip_prefix(prefix).ok()?;
                    Some(Path::new(name).join(rest))
                };
                prefixes.iter().rev().find_map(remap).unwrap()
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
                assert_eq!(remapped(path), Path::new(name), "{checkout}");
            }
        }
    }

    #[test]
    fn a_path_with_spaces_becomes_one_flag() {
        let prefixes = [
            (Path::new("/my notes"), "/checkout"),
            (Path::new("/b"), "/target"),
        ];
        assert_eq!(
            rustc_flags(&prefixes, &["-Cx=y"]),
            "--remap-path-prefix=/my notes=/checkout\x1f--remap-path-prefix=/b=/target\x1f-Cx=y"
        );
    }
}
