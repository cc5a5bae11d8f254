//! Templates, made by the real `cdk` and `osls` from the manifests of the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use walkdir::WalkDir;

use super::{
    account::Target,
    template::{Template, Templates, hash},
};
use crate::{
    stage::write_whole,
    ui::{self, Step, run},
    workspace::Workspace,
};

/// What templates are made from, besides the manifests of the services.
const MANIFESTS: [&str; 6] = [
    "infrastructure",
    "package-lock.json",
    "serverless.resources.cjs",
    "serverless.traffic.cjs",
    "serverless.yml",
    "web/security-headers.ts",
];

/// The templates of a stage. They are made once for the same manifests and settings.
///
/// # Errors
/// With the tool's words when a manifest cannot be read.
pub(crate) async fn templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let root = workspace.root();
    let made_from = made_from(workspace, target)?;
    let folder = root.join("target/stages").join(target.stage.as_ref());
    let kept = folder.join("templates.json");
    let known = fs::read(&kept)
        .ok()
        .and_then(|kept| serde_json::from_slice::<(String, Templates)>(&kept).ok());
    if let Some((from, templates)) = known
        && from == made_from
    {
        return Ok(templates);
    }
    let step = Step::begin(format!("make the templates of {}", target.stage));
    for function in workspace.functions() {
        // osls wants a zip to be there. What is in it comes later.
        let zip = workspace.zip(function, target.stage.as_ref());
        if !zip.exists() {
            fs::create_dir_all(zip.parent().context("a zip stands in a folder")?)?;
            fs::write(zip, "")?;
        }
    }
    let out = folder.join("infrastructure");
    let infrastructure = cdk(
        workspace,
        target,
        &out,
        &step,
        "stage",
        target.stage.as_ref(),
    );
    let services = async {
        let mut templates = Templates::new();
        for service in services(root)? {
            let package = folder.join(&service);
            let mut osls = tool(workspace, target, "osls", &format!("services/{service}"));
            osls.args(["package", "--stage", target.stage.as_ref(), "--package"])
                .arg(&package);
            run(&step, &mut osls).await?;
            let template = package.join("cloudformation-template-update-stack.json");
            let template: Value = serde_json::from_slice(&fs::read(template)?)?;
            templates.insert(
                format!("scratchpad-{service}-{}", target.stage),
                Template::synthesised(template),
            );
        }
        anyhow::Ok(templates)
    };
    let (mut templates, services) = tokio::try_join!(infrastructure, services)?;
    templates.extend(services);
    write_whole(&kept, &serde_json::to_vec(&(made_from, &templates))?)?;
    step.done(&format!("({} stacks)", templates.len()));
    Ok(templates)
}

/// The templates of what an account has once, whatever stages are in it.
///
/// # Errors
/// With the tool's words when they cannot be made.
pub(crate) async fn account_templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let step = Step::begin(format!(
        "make the templates of account {}",
        target.account.name
    ));
    let folder = workspace
        .root()
        .join("target/accounts")
        .join(&target.account.name);
    let templates = cdk(
        workspace,
        target,
        &folder,
        &step,
        "account",
        &target.account.name,
    )
    .await?;
    step.done("");
    Ok(templates)
}

async fn cdk(
    workspace: &Workspace,
    target: &Target,
    folder: &Path,
    step: &Step,
    kind: &str,
    name: &str,
) -> Result<Templates> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut synth = tool(workspace, target, "cdk", "infrastructure");
    synth.args(["synth", "--quiet", "-c", &format!("{kind}={name}")]);
    if target.account.is_local() {
        synth.args(["-c", "cloud=local"]);
    }
    synth.arg("--output").arg(folder);
    run(step, &mut synth).await?;
    let mut templates = Templates::new();
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    for artifact in manifest
        .get("artifacts")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|artifacts| artifacts.values())
    {
        let property = |name: &str| artifact.get("properties")?.get(name)?.as_str();
        if let (Some(stack), Some(file)) = (property("stackName"), property("templateFile")) {
            let template = serde_json::from_slice(&fs::read(folder.join(file))?)?;
            templates.insert(stack.to_owned(), Template::synthesised(template));
        }
    }
    Ok(templates)
}

/// A tool that makes templates. It needs no cloud for that, and gets none.
fn tool(workspace: &Workspace, target: &Target, name: &str, folder: &str) -> Command {
    let mut tool = ui::command(workspace.node_bin(name));
    target
        .configure(&mut tool)
        .current_dir(workspace.root().join(folder))
        .envs([
            ("NODE_NO_WARNINGS", "1"),
            ("CDK_DISABLE_CLI_TELEMETRY", "true"),
            ("AWS_ACCESS_KEY_ID", "none"),
            ("AWS_SECRET_ACCESS_KEY", "none"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
    tool.env_remove("AWS_PROFILE");
    tool
}

/// The services: the folders under services/ with a manifest, by name.
pub(crate) fn services(root: &Path) -> Result<Vec<String>> {
    let mut services = Vec::new();
    for entry in fs::read_dir(root.join("services"))? {
        let entry = entry?;
        if entry.path().join("serverless.yml").exists() {
            services.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    services.sort();
    Ok(services)
}

/// A hash of all that the templates of a stage are made from.
fn made_from(workspace: &Workspace, target: &Target) -> Result<String> {
    let root = workspace.root();
    let mut files: Vec<PathBuf> = Vec::new();
    for service in services(root)? {
        files.push(root.join("services").join(service).join("serverless.yml"));
    }
    for manifest in MANIFESTS {
        for entry in WalkDir::new(root.join(manifest)) {
            let entry = entry?;
            if entry.file_type().is_file() {
                files.push(entry.into_path());
            }
        }
    }
    files.sort();
    let mut content = Vec::new();
    for file in &files {
        let name = file
            .strip_prefix(root)
            .unwrap_or(file)
            .display()
            .to_string();
        content.push((name, Sha256::digest(fs::read(file)?).to_vec()));
    }
    Ok(hash(&(
        content,
        target.set(),
        target.account.is_local(),
        target.stage.as_ref(),
    )))
}
