//! The function zips of a release. A zip is reused if an earlier release of
//! the same stage, or an earlier build on this machine, built it from the same sources. Otherwise it is built.
//!
//! `cargo xtask build` builds the artifacts in advance. It needs no AWS credentials, so a workflow can run it before it
//! assumes the role with which it deploys.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::app; // part: web
use super::{
    context::StageContext,
    record::Function,
    sources::{self, Sources},
    synth,
    table::{Architecture, Build, Infrastructure, StageName},
    target::Target,
};
use crate::{
    build::{self, Level},
    package,
    stage::write_atomically,
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// `cargo xtask build`: builds the artifacts of a release of `stage` and synthesizes its templates. A later deploy of
/// the same sources reuses them. Sends no request to AWS.
///
/// # Errors
/// Fails if an artifact cannot be built, or if a template cannot be synthesized.
pub(crate) async fn build(stage: &StageName, infrastructure: Option<Infrastructure>) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let target = Target::read(&workspace, stage, infrastructure).await?;
    let (root, row) = (workspace.clone(), target.row.clone());
    let sources =
        tokio::task::spawn_blocking(move || sources::read(&root, row.build, row.architecture));
    let sources = sources.await??;
    let functions = build_functions(&workspace, &target, sources.iter().collect()).await?;
    let built = ui::count(functions.len(), "function");
    // part: web {
    let app = app::build(&workspace).await?;
    let files = ui::count(app.files.len(), "file");
    let built = format!("{built} and the browser app ({files})");
    // part: web }
    synth::templates(&workspace, &target).await?;
    if let Some(next) = &target.row.promotes_to {
        let next = Target::read(&workspace, next, None).await?;
        synth::templates(&workspace, &next).await?;
    }
    ui::success(format!("built for {stage}: {built}"));
    Ok(())
}

/// Returns the functions of a release, keyed by name. Reuses each zip that an earlier release of the stage, or an
/// earlier build on this machine, built from the same sources. Builds all other zips.
///
/// # Errors
/// Fails if a function does not compile, if the content of an object in the bucket does not match its name, or if a
/// request to S3 fails.
pub(crate) async fn functions(
    stage: &StageContext,
    sources: &BTreeMap<String, Sources>,
) -> Result<BTreeMap<String, Function>> {
    let released = released_zips(stage).await?;
    let mut functions = BTreeMap::new();
    let mut missing = BTreeMap::new();
    for (name, sources) in sources {
        match released.get(&sources.fingerprint()) {
            Some(artifact) if stage.store.has_code(artifact).await? => {
                let function = Function {
                    artifact: artifact.clone(),
                    sources: sources.clone(),
                };
                functions.insert(name.clone(), function);
            }
            _ => {
                missing.insert(name, sources);
            }
        }
    }
    functions.extend(build_functions(&stage.workspace, &stage.target, missing).await?);
    Ok(functions)
}

/// Returns the hashes of the function zips of the stage's releases. The keys are the fingerprints of the zips' sources.
async fn released_zips(stage: &StageContext) -> Result<BTreeMap<String, String>> {
    let releases = stage.releases().await?.into_iter();
    let functions = releases.flat_map(|release| release.functions.into_values());
    let zips = functions.map(|function| (function.sources.fingerprint(), function.artifact));
    Ok(zips.collect())
}

/// Returns the functions with these sources. Their zips are then on this machine: builds each zip that no earlier build
/// on this machine has built from the same sources.
async fn build_functions(
    workspace: &Workspace,
    target: &Target,
    mut sources: BTreeMap<&String, &Sources>,
) -> Result<BTreeMap<String, Function>> {
    let built = BuiltZips::new(workspace.root());
    let mut functions = BTreeMap::new();
    sources.retain(|name, sources| {
        let artifact = built.find(sources);
        let artifact = artifact.filter(|artifact| workspace.zip_of(artifact).exists());
        let is_missing = artifact.is_none();
        functions.extend(artifact.map(|artifact| {
            let sources = (*sources).clone();
            ((*name).clone(), Function { artifact, sources })
        }));
        is_missing
    });
    if sources.is_empty() {
        return Ok(functions);
    }
    let row = &target.row;
    let names: Vec<&str> = sources.keys().map(|name| name.as_str()).collect();
    let binaries = match row.build {
        Build::Dev if row.architecture == Architecture::HOST => {
            build::build(workspace).await?;
            workspace.binaries()
        }
        Build::Dev => bail!(
            "cannot cross-compile a dev build: set `build: release` in the row of {} in serverless.yml",
            target.stage
        ),
        Build::Release => package::release(workspace, &names, row.architecture).await?,
    };
    let step = Step::begin("pack the functions");
    for (name, sources) in sources {
        step.at(name);
        let (binary, level) = match row.build {
            Build::Dev => (binaries.join(name), Level::Quick),
            Build::Release => (package::binary(&binaries, name), Level::Small),
        };
        let artifact = build::pack(workspace, name, &binary, level)?;
        built.add(sources, &artifact)?;
        let sources = sources.clone();
        functions.insert(name.clone(), Function { artifact, sources });
    }
    step.done("");
    Ok(functions)
}

/// The folder of files that record which artifacts were built on this machine, relative to the checkout.
pub(super) const BUILT: &str = "target/built";

/// The index of the function zips that were built on this machine. It has one file for each zip: the file's name is the
/// fingerprint of the function's sources, and its content is the hash of the zip.
struct BuiltZips(PathBuf);

impl BuiltZips {
    fn new(root: &Path) -> Self {
        Self(root.join(BUILT).join("functions"))
    }

    /// Returns the hash of the zip that was built from these sources.
    fn find(&self, sources: &Sources) -> Option<String> {
        fs::read_to_string(self.0.join(sources.fingerprint())).ok()
    }

    fn add(&self, sources: &Sources, artifact: &str) -> Result<()> {
        fs::create_dir_all(&self.0)?;
        write_atomically(&self.0.join(sources.fingerprint()), artifact.as_bytes())
    }
}

/// Uploads the function zips that exist on this machine.
///
/// # Errors
/// Fails if an upload to S3 fails, or if the content of an existing object does not match its name.
pub(crate) async fn upload(
    stage: &StageContext,
    functions: &BTreeMap<String, Function>,
) -> Result<()> {
    let step = Step::begin("upload the artifacts");
    for (name, function) in functions {
        step.at(name);
        let zip = stage.workspace.zip_of(&function.artifact);
        if zip.exists() {
            stage.store.upload_code(&function.artifact, &zip).await?;
        }
    }
    step.done("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zip_is_found_only_by_the_sources_that_it_was_built_from() {
        let root = tempfile::tempdir().unwrap();
        let built = BuiltZips::new(root.path());
        let [one, other] = ["1", "2"].map(Sources::of_binary);
        assert_eq!(built.find(&one), None);
        built.add(&one, "a1").unwrap();
        assert_eq!(built.find(&one).as_deref(), Some("a1"));
        assert_eq!(built.find(&other), None);
        built.add(&one, "a2").unwrap();
        assert_eq!(built.find(&one).as_deref(), Some("a2"));
    }
}
