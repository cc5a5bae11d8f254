//! The artifacts of a release: the function zips and the browser app. Each artifact is built from the sources, or
//! reused from an earlier release that built it from the same sources.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{
    app,
    context::StageContext,
    record::{App, Function},
    sources::Sources,
    table::{Architecture, Build, StageName},
};
use crate::{
    build::{self, Level},
    package,
    ui::Step,
};

/// Returns the functions of a release, keyed by name. Reuses the zip of each function that an earlier release built
/// from the same sources, and builds the zips of all other functions.
///
/// # Errors
/// Fails if a function does not compile, or a request to S3 fails.
pub(crate) async fn functions(
    stage: &StageContext,
    sources: &BTreeMap<String, Sources>,
) -> Result<BTreeMap<String, Function>> {
    let built = built_artifacts(stage).await?;
    let mut functions = BTreeMap::new();
    let mut missing = BTreeMap::new();
    for (name, sources) in sources {
        match built.get(&sources.fingerprint()) {
            Some(artifact) if stage.store.has_code(artifact).await? => {
                let function = Function {
                    artifact: artifact.clone(),
                    sources: sources.clone(),
                };
                functions.insert(name.clone(), function);
            }
            _ => {
                missing.insert(name.as_str(), sources);
            }
        }
    }
    if !missing.is_empty() {
        functions.extend(build_and_pack(stage, &missing).await?);
    }
    Ok(functions)
}

async fn build_and_pack(
    stage: &StageContext,
    missing: &BTreeMap<&str, &Sources>,
) -> Result<BTreeMap<String, Function>> {
    let (workspace, row) = (&stage.workspace, &stage.target.row);
    let names: Vec<&str> = missing.keys().copied().collect();
    let binaries = match row.build {
        Build::Dev if row.architecture == Architecture::HOST => {
            build::build(workspace).await?;
            workspace.binaries().to_owned()
        }
        Build::Dev => bail!(
            "cannot cross-compile a dev build: set `build: release` in the row of {} in serverless.yml",
            stage.target.stage
        ),
        Build::Release => package::release(workspace, &names, row.architecture).await?,
    };
    let step = Step::begin("pack the functions");
    let mut functions = BTreeMap::new();
    for (name, sources) in missing {
        step.at(*name);
        let (binary, level) = match row.build {
            Build::Dev => (binaries.join(name), Level::Quick),
            Build::Release => (package::binary(&binaries, name), Level::Small),
        };
        let function = Function {
            artifact: build::pack(workspace, name, &binary, level)?,
            sources: (*sources).clone(),
        };
        functions.insert((*name).to_owned(), function);
    }
    step.done("");
    Ok(functions)
}

/// Returns the browser app of a release, and the folder with the built files. The folder is `None` if the app of an
/// earlier release is reused. `sources` is the hash of the app's sources.
///
/// # Errors
/// Fails if Vite or a request to S3 fails.
pub(crate) async fn browser_app(
    stage: &StageContext,
    sources: &str,
) -> Result<(App, Option<PathBuf>)> {
    for name in trusted_stages(stage).await? {
        for release in stage.store.releases(&name).await? {
            if let Some(app) = release.app.filter(|app| app.sources == sources)
                && stage.store.has_app_files(app.files.values()).await?
            {
                return Ok((app, None));
            }
        }
    }
    let (app, folder) = app::build(&stage.workspace, sources.into()).await?;
    Ok((app, Some(folder)))
}

/// Uploads the function zips that exist on this machine, and the files of the browser app. `app_folder` has these
/// files; `None` if the app is already in the bucket.
///
/// # Errors
/// Fails if an upload to S3 fails.
pub(crate) async fn upload(
    stage: &StageContext,
    functions: &BTreeMap<String, Function>,
    app: &App,
    app_folder: Option<&Path>,
) -> Result<()> {
    let step = Step::begin("upload the artifacts");
    for (name, function) in functions {
        step.at(name);
        let zip = stage.workspace.zip_of(&function.artifact);
        if zip.exists() {
            stage.store.upload_code(&function.artifact, &zip).await?;
        }
    }
    if let Some(folder) = app_folder {
        stage.store.upload_app_files(&app.files, folder).await?;
    }
    step.done("");
    Ok(())
}

/// Returns the stages whose artifacts a release of `stage` may reuse. A stage with its own row in serverless.yml reuses
/// only its own artifacts, so that it never runs a build of another stage's branch. A stage without its own row may
/// reuse the artifacts of all stages of the account.
async fn trusted_stages(stage: &StageContext) -> Result<Vec<StageName>> {
    let mut stages = vec![stage.target.stage.clone()];
    if !stage.target.has_own_row {
        stages.extend(stage.store.stages().await?);
    }
    Ok(stages)
}

/// Returns the hashes of the function zips that `stage` may reuse. The keys are the fingerprints of the zips' sources.
async fn built_artifacts(stage: &StageContext) -> Result<BTreeMap<String, String>> {
    let mut built = BTreeMap::new();
    for name in trusted_stages(stage).await? {
        for release in stage.store.releases(&name).await? {
            let functions = release.functions.into_values();
            built.extend(
                functions.map(|function| (function.sources.fingerprint(), function.artifact)),
            );
        }
    }
    Ok(built)
}
