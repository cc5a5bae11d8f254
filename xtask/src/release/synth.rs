//! Synthesizes CloudFormation templates: runs `cdk` in infrastructure/ and `osls` in the folder of each service.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::Value;
use tokio::process::Command;
use walkdir::WalkDir;

use super::{
    hash::{json_hash, sha256},
    target::Target,
    template::{Template, Templates},
};
use crate::{
    stage::write_atomically,
    ui::{self, Step, run},
    workspace::Workspace,
};

/// The files and folders that the templates of a stage depend on, besides the serverless.yml of each service.
const INPUTS: &[&str] = &[
    "infrastructure",
    "libs/metrics/metrics.json",
    "package-lock.json",
    "serverless.resources.cjs",
    "serverless.plugin.cjs",
    "serverless.yml",
    "web/security-headers.ts", // part: web
];

/// Returns the templates of the stage `target`. The templates are cached in target/stages until a file or an
/// environment variable that they depend on changes.
///
/// # Errors
/// Fails if `cdk` or `osls` fails. The message contains the tool's output.
pub(crate) async fn templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let stage = target.stage.as_ref();
    let inputs = inputs_hash(workspace, target, &format!("stage {stage}"))?;
    let folder = workspace.root().join("target/stages").join(stage);
    let cache = folder.join("templates.json");
    if let Some(templates) = cached(&cache, &inputs) {
        return Ok(templates);
    }
    let step = Step::begin(format!("synthesize the templates of {stage}"));
    workspace.create_placeholder_zips(stage)?;
    let out = folder.join("infrastructure");
    let infrastructure = cdk(workspace, target, &out, &step, "stage", stage);
    let services = osls(workspace, target, &folder, &step);
    let (mut templates, services) = tokio::try_join!(infrastructure, services)?;
    templates.extend(services);
    write_atomically(&cache, &serde_json::to_vec(&(inputs, &templates))?)?;
    step.done(&format!("({} stacks)", templates.len()));
    Ok(templates)
}

/// Returns the templates in the file `cache`, if they were synthesized from inputs with the hash `inputs`.
fn cached(cache: &Path, inputs: &str) -> Option<Templates> {
    let cached: (String, Templates) = serde_json::from_slice(&fs::read(cache).ok()?).ok()?;
    (cached.0 == inputs).then_some(cached.1)
}

/// Synthesizes the template of each service with osls, one service after the other. `folder` receives the output of
/// osls.
async fn osls(
    workspace: &Workspace,
    target: &Target,
    folder: &Path,
    step: &Step,
) -> Result<Templates> {
    let mut templates = Templates::new();
    for service in services(workspace.root())? {
        let package = folder.join(&service);
        let mut osls = tool(workspace, target, "osls", &format!("services/{service}"));
        osls.args(["package", "--stage", target.stage.as_ref(), "--package"])
            .arg(&package);
        run(step, &mut osls).await?;
        let template = package.join("cloudformation-template-update-stack.json");
        let template: Value = serde_json::from_slice(&fs::read(template)?)?;
        templates.insert(
            format!("scratchpad-{service}-{}", target.stage),
            Template::synthesized(template),
        );
    }
    Ok(templates)
}

/// Returns the templates of the stacks that all stages of an account share. The templates are cached in target/accounts
/// until a file or an environment variable that they depend on changes.
///
/// # Errors
/// Fails if `cdk` fails. The message contains the output of `cdk`.
pub(crate) async fn account_templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let account = &target.account.name;
    let inputs = inputs_hash(workspace, target, &format!("account {account}"))?;
    let folder = workspace.root().join("target/accounts").join(account);
    let cache = folder.join("templates.json");
    if let Some(templates) = cached(&cache, &inputs) {
        return Ok(templates);
    }
    let step = Step::begin(format!("synthesize the templates of account {account}"));
    let templates = cdk(workspace, target, &folder, &step, "account", account).await?;
    write_atomically(&cache, &serde_json::to_vec(&(inputs, &templates))?)?;
    step.done("");
    Ok(templates)
}

/// Synthesizes templates with the CDK app into `folder`. `kind` is `stage` or `account`, and `name` is the name of the
/// stage or account whose stacks are synthesized.
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
            templates.insert(stack.to_owned(), Template::synthesized(template));
        }
    }
    Ok(templates)
}

/// Returns a command that runs the tool `name` of node_modules in `folder`. The tool gets no AWS credentials, because
/// synthesis does not call AWS.
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

/// Returns the sorted names of the services. A service is a folder in services/ that contains a serverless.yml.
///
/// # Errors
/// Fails if services/ cannot be read.
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

/// Returns one hash of `subject` and of all files and environment variables that the templates of the stage `target` and
/// of its account depend on. `subject` is the stage or the account whose templates are synthesized.
fn inputs_hash(workspace: &Workspace, target: &Target, subject: &str) -> Result<String> {
    let root = workspace.root();
    let mut files: Vec<PathBuf> = Vec::new();
    for service in services(root)? {
        files.push(root.join("services").join(service).join("serverless.yml"));
    }
    for input in INPUTS {
        for entry in WalkDir::new(root.join(input)) {
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
        content.push((name, sha256(fs::read(file)?)));
    }
    Ok(json_hash(&(
        content,
        target.table_variables(),
        target.account.is_local(),
        subject,
    )))
}
