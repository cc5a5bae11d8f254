//! The checkout: where things are, and which functions there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, anyhow};
use cargo_metadata::{MetadataCommand, TargetKind};
use tokio::process::Command;

/// A checkout of the project.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    functions: BTreeMap<String, Function>,
    tests: BTreeSet<String>,
}

/// One function: a crate under services/ that makes a binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// The name of the crate, the binary, and the entry in the service's serverless.yml.
    pub(crate) name: String,
    /// The service that it is of.
    pub(crate) service: String,
}

impl Workspace {
    /// Reads the checkout that Cargo runs this tool for, or else the one that it was built from.
    ///
    /// # Errors
    /// When Cargo cannot.
    pub(crate) fn read() -> Result<Self> {
        let run_for = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let manifest = run_for
            .filter(|manifest| manifest.ends_with("xtask"))
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = manifest
            .parent()
            .context("xtask stands in the checkout")?
            .to_owned();
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("Cargo cannot read the workspace")?;
        let services = root.join("services");
        let functions = metadata.packages.iter().filter_map(|package| {
            let below = package
                .manifest_path
                .as_std_path()
                .strip_prefix(&services)
                .ok()?;
            let service = below.components().next()?.as_os_str().to_str()?;
            let binary = package
                .targets
                .iter()
                .find(|target| target.kind.contains(&TargetKind::Bin))?;
            let function = Function {
                name: binary.name.clone(),
                service: service.into(),
            };
            Some((binary.name.clone(), function))
        });
        let targets = metadata
            .packages
            .iter()
            .flat_map(|package| &package.targets);
        let tests = targets.filter(|target| target.kind.contains(&TargetKind::Test));
        Ok(Self {
            functions: functions.collect(),
            tests: tests.map(|target| target.name.clone()).collect(),
            target: metadata.target_directory.into(),
            root,
        })
    }

    /// Cargo, as if it were called from the shell.
    pub(crate) fn cargo(&self) -> Command {
        self.runs_cargo(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// A program that runs Cargo, as if it were called from the shell.
    pub(crate) fn runs_cargo(&self, program: impl AsRef<OsStr>) -> Command {
        let mut cargo = Command::new(program);
        cargo
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // What Cargo says of this tool when it runs it. Crates whose build scripts look at it would
        // be built anew, and all that depends on them.
        for (name, _) in env::vars_os() {
            let said = name.to_string_lossy();
            if [
                "CARGO_BIN_",
                "CARGO_CRATE_",
                "CARGO_MANIFEST_",
                "CARGO_PKG_",
                "CARGO_PRIMARY_",
            ]
            .iter()
            .any(|prefix| said.starts_with(prefix))
            {
                cargo.env_remove(&name);
            }
        }
        cargo
    }

    /// The checkout's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where Cargo puts all that it builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where Cargo puts what it builds for this machine.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// The zip of a function, where serverless.yml looks for it.
    pub(crate) fn zip(&self, function: &Function, stage: &str) -> PathBuf {
        self.root
            .join(format!("target/lambda/{stage}/{}.zip", function.name))
    }

    /// A zip by its hash.
    pub(crate) fn zip_of(&self, artefact: &str) -> PathBuf {
        self.root
            .join(format!("target/lambda/packed/{artefact}.zip"))
    }

    /// Deletes all zips but these.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub(crate) fn keep_zips(&self, artefacts: &BTreeSet<&str>) -> Result<()> {
        for zip in fs::read_dir(self.root.join("target/lambda/packed"))? {
            let zip = zip?.path();
            let name = zip
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if zip.extension().is_some_and(|extension| extension == "zip")
                && !artefacts.contains(name.as_str())
            {
                fs::remove_file(zip)?;
            }
        }
        Ok(())
    }

    /// The tests that are binaries of their own, by name.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(String::as_str)
    }

    /// All functions, by name.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.values()
    }

    /// One function.
    ///
    /// # Errors
    /// With the names that there are.
    pub(crate) fn function(&self, name: &str) -> Result<&Function> {
        self.functions.get(name).ok_or_else(|| {
            let known: Vec<_> = self.functions.keys().map(String::as_str).collect();
            anyhow!(
                "there is no function {name}; there are {}",
                known.join(", ")
            )
        })
    }

    /// A program that package.json brings.
    pub(crate) fn node_bin(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// A program that requirements.txt brings.
    pub(crate) fn python_bin(&self, name: &str) -> PathBuf {
        self.root.join(".venv/bin").join(name)
    }

    /// The Python of `.venv`.
    pub(crate) fn python(&self) -> PathBuf {
        self.python_bin("python")
    }
}
