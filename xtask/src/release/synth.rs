//! Synthesizes CloudFormation templates: runs the CDK app in infrastructure/ and `osls` in the folder of each service.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, de::IgnoredAny};
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

/// The files and folders that the templates of the CDK app depend on.
const INPUTS: &[&str] = &[
    "infrastructure",
    "libs/metrics/metrics.json",
    "package-lock.json",
    "serverless.yml",
    "services",
    "web/security-headers.ts", // part: web
];

/// The files that the template of a service depends on, besides its own serverless.yml.
const SERVICE_INPUTS: [&str; 5] = [
    "libs/metrics/metrics.json",
    "package-lock.json",
    "serverless.plugin.cjs",
    "serverless.resources.cjs",
    "serverless.yml",
];

/// Returns the templates of the stage `target`. The templates of each service and those of the CDK app are cached in
/// target/stages until a file or an environment variable that they depend on changes.
///
/// # Errors
/// Fails if the CDK app or `osls` fails. The message contains the tool's output.
pub(crate) async fn templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let stage = target.stage.as_ref();
    let folder = workspace.root().join("target/stages").join(stage);
    let infrastructure = Cache {
        file: folder.join("infrastructure.json"),
        inputs: inputs_hash(workspace, target, INPUTS, &format!("stage {stage}"))?,
    };
    let mut templates = Templates::new();
    let mut outdated = Vec::new();
    for service in services(workspace.root())? {
        let manifest = format!("services/{service}/serverless.yml");
        let own = [&SERVICE_INPUTS[..], &[&manifest]].concat();
        let cache = Cache {
            inputs: inputs_hash(workspace, target, &own, &format!("stage {stage}"))?,
            file: folder.join(format!("{service}.json")),
        };
        match cache.read() {
            Some(cached) => templates.extend(cached),
            None => outdated.push((service, cache)),
        }
    }
    let cached = infrastructure.read();
    if let Some(cached) = &cached
        && outdated.is_empty()
    {
        templates.extend(cached.clone());
        return Ok(templates);
    }
    let step = Step::begin(format!("synthesize the templates of {stage}"));
    workspace.create_placeholder_zips(stage)?;
    let synthesized = async {
        match cached {
            Some(cached) => Ok(cached),
            None => stage_and_account(workspace, target, &folder, &infrastructure, &step).await,
        }
    };
    let packaged = osls(workspace, target, &folder, outdated, &step);
    let (synthesized, packaged) = tokio::try_join!(synthesized, packaged)?;
    templates.extend(synthesized);
    templates.extend(packaged);
    step.done(&format!("({} stacks)", templates.len()));
    Ok(templates)
}

/// Synthesizes the templates that the CDK app has for a stage. The same run also synthesizes those of the account, because
/// starting the app takes longer than creating the stacks. Both are cached.
async fn stage_and_account(
    workspace: &Workspace,
    target: &Target,
    folder: &Path,
    cache: &Cache,
    step: &Step,
) -> Result<Templates> {
    let stage = target.stage.as_ref();
    let account = &target.account.name;
    let contexts = [("stage", stage), ("account", account)];
    let out = folder.join("infrastructure");
    let (own, of_account) = cdk(workspace, target, &out, step, &contexts).await?;
    account_cache(workspace, target)?.write(&of_account)?;
    cache.write(&own)?;
    Ok(own)
}

/// A file with templates that were synthesized from inputs with the hash `inputs`.
struct Cache {
    file: PathBuf,
    inputs: String,
}

impl Cache {
    /// Returns the templates in the file. `None` if they were synthesized from other inputs.
    fn read(&self) -> Option<Templates> {
        let cached: (String, Templates) =
            serde_json::from_slice(&fs::read(&self.file).ok()?).ok()?;
        (cached.0 == self.inputs).then_some(cached.1)
    }

    fn write(&self, templates: &Templates) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically(&self.file, &serde_json::to_vec(&(&self.inputs, templates))?)
    }
}

/// Returns the templates of the stage `stage`.
///
/// # Errors
/// Fails if `cdk` or `osls` fails. The message contains the tool's output.
pub(crate) async fn synthesize(workspace: &Workspace, stage: &str) -> Result<Templates> {
    let stage = stage.parse().map_err(anyhow::Error::msg)?;
    let target = Target::read(workspace, &stage, None).await?;
    templates(workspace, &target).await
}

/// Synthesizes the templates of services with osls, one service after the other, and caches them. `folder` receives the
/// output of osls.
async fn osls(
    workspace: &Workspace,
    target: &Target,
    folder: &Path,
    services: Vec<(String, Cache)>,
    step: &Step,
) -> Result<Templates> {
    let mut templates = Templates::new();
    for (service, cache) in services {
        let package = folder.join(&service);
        let program = workspace.node_bin("osls");
        let mut osls = tool(workspace, target, program, &format!("services/{service}"));
        osls.args(["package", "--stage", target.stage.as_ref(), "--package"])
            .arg(&package);
        run(step, &mut osls).await?;
        let template = package.join("cloudformation-template-update-stack.json");
        let template: Value = serde_json::from_slice(&fs::read(template)?)?;
        let stack = format!("scratchpad-{service}-{}", target.stage);
        let own = Templates::from([(stack, Template::synthesized(template))]);
        cache.write(&own)?;
        templates.extend(own);
    }
    Ok(templates)
}

/// Returns the templates of the stacks that all stages of an account share. The templates are cached in target/accounts
/// until a file or an environment variable that they depend on changes.
///
/// # Errors
/// Fails if the CDK app fails. The message contains its output.
pub(crate) async fn account_templates(workspace: &Workspace, target: &Target) -> Result<Templates> {
    let account = &target.account.name;
    let cache = account_cache(workspace, target)?;
    if let Some(templates) = cache.read() {
        return Ok(templates);
    }
    let step = Step::begin(format!("synthesize the templates of account {account}"));
    let folder = workspace.root().join("target/accounts").join(account);
    let (_, templates) = cdk(workspace, target, &folder, &step, &[("account", account)]).await?;
    cache.write(&templates)?;
    step.done("");
    Ok(templates)
}

fn account_cache(workspace: &Workspace, target: &Target) -> Result<Cache> {
    let account = &target.account.name;
    let folder = workspace.root().join("target/accounts").join(account);
    Ok(Cache {
        file: folder.join("templates.json"),
        inputs: inputs_hash(workspace, target, INPUTS, &format!("account {account}"))?,
    })
}

/// Synthesizes templates with the CDK app into `folder`. `contexts` has the stage, the account or both whose stacks are
/// synthesized. Returns the templates of the stage, and those of the account.
async fn cdk(
    workspace: &Workspace,
    target: &Target,
    folder: &Path,
    step: &Step,
    contexts: &[(&str, &str)],
) -> Result<(Templates, Templates)> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut context: BTreeMap<_, _> = contexts.iter().copied().collect();
    if target.account.is_local() {
        context.insert("cloud", "local");
    }
    // Without the CDK CLI, which only starts this program, in twice the time.
    let mut synth = tool(workspace, target, "node", "infrastructure");
    synth
        .args(["--import", "tsx", "bin/scratchpad.ts"])
        .env("CDK_OUTDIR", folder)
        .env("CDK_CONTEXT_JSON", serde_json::to_string(&context)?);
    run(step, &mut synth).await?;
    let (mut of_stage, mut of_account) = (Templates::new(), Templates::new());
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    let artifacts = manifest.get("artifacts").and_then(Value::as_object);
    for (id, artifact) in artifacts.into_iter().flatten() {
        let property = |name: &str| artifact.get("properties")?.get(name)?.as_str();
        if let (Some(stack), Some(file)) = (property("stackName"), property("templateFile")) {
            let template = serde_json::from_slice(&fs::read(folder.join(file))?)?;
            let templates = match id.starts_with("account-") {
                true => &mut of_account,
                false => &mut of_stage,
            };
            templates.insert(stack.to_owned(), Template::synthesized(template));
        }
    }
    Ok((of_stage, of_account))
}

/// Returns a command that runs `program` in `folder`. The program gets no AWS credentials, because synthesis does not call
/// AWS.
fn tool(
    workspace: &Workspace,
    target: &Target,
    program: impl AsRef<OsStr>,
    folder: &str,
) -> Command {
    let mut tool = ui::command(program);
    target
        .configure(&mut tool)
        .current_dir(workspace.root().join(folder))
        .envs([
            ("NODE_NO_WARNINGS", "1"),
            ("AWS_ACCESS_KEY_ID", "none"),
            ("AWS_SECRET_ACCESS_KEY", "none"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
    tool.env_remove("AWS_PROFILE");
    tool
}

/// Returns the sorted names of the services that have functions. A service is a folder in services/ that contains a
/// serverless.yml. osls and CloudFormation accept no service without functions.
///
/// # Errors
/// Fails if services/ or a serverless.yml cannot be read, or a serverless.yml cannot be parsed.
pub(crate) fn services(root: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Manifest {
        functions: BTreeMap<String, IgnoredAny>,
    }
    let mut services = Vec::new();
    for entry in fs::read_dir(root.join("services"))? {
        let entry = entry?;
        let path = entry.path().join("serverless.yml");
        if !path.exists() {
            continue;
        }
        let manifest: Manifest = serde_saphyr::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("cannot parse {}", path.display()))?;
        if !manifest.functions.is_empty() {
            services.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    services.sort();
    Ok(services)
}

/// Returns one hash of `subject`, of the files in `inputs`, and of all environment variables that the templates of the
/// stage `target` and of its account depend on. Of the folder `services`, only the manifests are inputs. `subject` is the
/// stage or the account whose templates are synthesized.
fn inputs_hash(
    workspace: &Workspace,
    target: &Target,
    inputs: &[&str],
    subject: &str,
) -> Result<String> {
    let root = workspace.root();
    let mut files: Vec<PathBuf> = Vec::new();
    for input in inputs {
        let is_services = *input == "services";
        let depth = if is_services { 2 } else { usize::MAX };
        for entry in WalkDir::new(root.join(input)).max_depth(depth) {
            let entry = entry?;
            if entry.file_type().is_file()
                && (!is_services || entry.file_name() == "serverless.yml")
            {
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
