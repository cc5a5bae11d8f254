//! The checkout of the project: its paths, its functions and its test targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, anyhow};
use cargo_metadata::{MetadataCommand, Package, TargetKind};
use tokio::process::Command;

/// A checkout of the project, with the functions and test targets that its Cargo manifests define.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    functions: BTreeMap<String, Function>,
    template: Vec<Function>,
    tests: BTreeSet<String>,
}

/// A Lambda function: a crate in the folder of a service that has a binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// The name of the crate, of its binary, and of its entry in the service's serverless.yml.
    pub(crate) name: String,
    /// The name of the service's folder in services/, such as `notes-api`.
    pub(crate) service: String,
}

impl Workspace {
    /// Reads the checkout for which Cargo runs xtask. If Cargo did not start xtask, reads the checkout from which xtask
    /// was built.
    ///
    /// # Errors
    /// Fails if Cargo cannot read the manifests.
    pub(crate) fn read() -> Result<Self> {
        let from_cargo = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = from_cargo
            .filter(|manifest| manifest.ends_with("xtask"))
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = manifest
            .parent()
            .context("cannot find the parent of xtask's folder")?
            .to_owned();
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cannot read the workspace with cargo metadata")?;
        let functions_below = |folder: &str| -> Vec<_> {
            let services = root.join(folder);
            let packages = metadata.packages.iter();
            packages
                .filter_map(|package| function(package, &services))
                .collect()
        };
        let functions = functions_below("services").into_iter();
        let functions = functions.map(|function| (function.name.clone(), function));
        let targets = metadata
            .packages
            .iter()
            .flat_map(|package| &package.targets);
        let tests = targets.filter(|target| target.kind.contains(&TargetKind::Test));
        Ok(Self {
            functions: functions.collect(),
            template: functions_below("xtask/scaffold/template/services"),
            tests: tests.map(|target| target.name.clone()).collect(),
            target: metadata.target_directory.into(),
            root,
        })
    }

    /// Returns a command that runs Cargo with the environment variables that Cargo would have in a shell.
    pub(crate) fn cargo(&self) -> Command {
        self.cargo_command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Returns a command for `program`, which is Cargo or a program that runs Cargo. The environment variables that
    /// `cargo run` has set for xtask are removed from the command.
    pub(crate) fn cargo_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut cargo = Command::new(program);
        cargo
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // `cargo run` sets these variables to describe xtask. If a build script reads one of them, Cargo would rebuild
        // its crate and all dependents.
        for (name, _) in env::vars_os() {
            let is_about_xtask = [
                "CARGO_BIN_",
                "CARGO_CRATE_",
                "CARGO_MANIFEST_",
                "CARGO_PKG_",
                "CARGO_PRIMARY_",
            ]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix));
            if is_about_xtask {
                cargo.env_remove(&name);
            }
        }
        cargo
    }

    /// The checkout's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The folder of the binaries that Cargo builds in the dev profile.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// The path at which the serverless.yml of a service expects the zip of `function` for the stage `stage`.
    pub(crate) fn zip(&self, function: &Function, stage: &str) -> PathBuf {
        self.root
            .join(format!("target/lambda/{stage}/{}.zip", function.name))
    }

    /// Creates an empty file at the path [`Workspace::zip`] of each function that has no zip there for the stage
    /// `stage`. The program osls requires that the zips exist, but does not read them.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub(crate) fn create_placeholder_zips(&self, stage: &str) -> Result<()> {
        for zip in self.functions().map(|function| self.zip(function, stage)) {
            if !zip.exists() {
                fs::create_dir_all(zip.parent().unwrap_or(&zip))?;
                fs::write(zip, "")?;
            }
        }
        Ok(())
    }

    /// The path of the zip in target/lambda/packed whose SHA-256 hash in hexadecimal is `artifact`.
    pub(crate) fn zip_of(&self, artifact: &str) -> PathBuf {
        self.root
            .join(format!("target/lambda/packed/{artifact}.zip"))
    }

    /// Deletes the zips in target/lambda/packed whose SHA-256 hashes are not in `artifacts`.
    ///
    /// # Errors
    /// Fails if a file cannot be deleted.
    pub(crate) fn keep_zips(&self, artifacts: &BTreeSet<&str>) -> Result<()> {
        for zip in fs::read_dir(self.root.join("target/lambda/packed"))? {
            let zip = zip?.path();
            let name = zip
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if zip.extension().is_some_and(|extension| extension == "zip")
                && !artifacts.contains(name.as_str())
            {
                fs::remove_file(zip)?;
            }
        }
        Ok(())
    }

    /// The names of all integration test targets in the workspace.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(String::as_str)
    }

    /// The functions from which `cargo xtask new` generates others. They are not deployed.
    pub(crate) fn template(&self) -> impl Iterator<Item = &Function> {
        self.template.iter()
    }

    /// All functions that are deployed, ordered by name.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values()
    }

    /// Returns the function with the name `name`.
    ///
    /// # Errors
    /// Fails if no function has this name. The message lists the names of all functions.
    pub(crate) fn function(&self, name: &str) -> Result<&Function> {
        self.functions.get(name).ok_or_else(|| {
            let known: Vec<_> = self.functions.keys().map(String::as_str).collect();
            anyhow!(
                "cannot find the function {name}; the functions are {}",
                known.join(", ")
            )
        })
    }

    /// The path of the program `name`, which npm installs from package.json.
    pub(crate) fn node_bin(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// The path of the program `name`, which pip installs from requirements.txt.
    pub(crate) fn python_bin(&self, name: &str) -> PathBuf {
        self.root.join(".venv/bin").join(name)
    }

    /// The path of the Python interpreter in `.venv`.
    pub(crate) fn python(&self) -> PathBuf {
        self.python_bin("python")
    }
}

/// Returns the Lambda function that a Cargo package builds. `None` if the package is not below the folder `services` or has no
/// binary.
fn function(package: &Package, services: &Path) -> Option<Function> {
    let manifest = package.manifest_path.as_std_path();
    let relative = manifest.strip_prefix(services).ok()?;
    let service = relative.components().next()?.as_os_str().to_str()?;
    let binary = package
        .targets
        .iter()
        .find(|target| target.kind.contains(&TargetKind::Bin))?;
    Some(Function {
        name: binary.name.clone(),
        service: service.into(),
    })
}
