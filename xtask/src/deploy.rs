//! Makes a stage on this machine what the sources say, by the real `cdk` and `osls`, and does no
//! more than has changed.
//!
//! What is deployed says itself what it was made from: a stack by a tag, a function by the hash of
//! its zip. So a run that was killed, or a cloud that lost its data, needs no special case.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use aws_sdk_cloudformation::types::{Stack, StackStatus};
use aws_sdk_lambda::primitives::Blob;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use walkdir::WalkDir;

use crate::{
    graph,
    stage::{Description, LocalStage, REGION, STAGE},
    ui::{Step, run},
    workspace::Workspace,
};

/// The tag that says what a stack was made from.
const FINGERPRINT: &str = "scratchpad:fingerprint";

/// What every stack is made from, besides its own files.
const SHARED: [&str; 3] = [
    "serverless.yml",
    "serverless.resources.cjs",
    "package-lock.json",
];

/// Brings the stage up to the sources. The functions must be built.
///
/// `lock` is what keeps other runs away. The tools share it, so that what a killed run left at work
/// is waited for.
///
/// # Errors
/// With the tool's words when a stack cannot be deployed.
pub(crate) async fn converge(workspace: &Workspace, stage: &LocalStage, lock: &File) -> Result<()> {
    let tools = Tools {
        workspace,
        stage,
        lock,
    };
    let deployed = Stacks::read(stage).await?;
    tools.deploy_infrastructure(&deployed).await?;
    tools.deploy_services(&deployed).await?;
    update_code(workspace, stage).await?;
    let deployed = Stacks::read(stage).await?;
    stage.describe(&deployed.description(stage)?)
}

/// The deploy tools, for one cloud and no other.
struct Tools<'a> {
    workspace: &'a Workspace,
    stage: &'a LocalStage,
    lock: &'a File,
}

impl Tools<'_> {
    /// A deploy tool. It holds the lock as long as it lives.
    fn tool(&self, name: &str, folder: &str) -> Result<Command> {
        let mut tool = Command::new(self.workspace.node_bin(name));
        tool.current_dir(self.workspace.root().join(folder))
            .envs(self.stage.aws_environment())
            .envs(offline_environment())
            .env("SCRATCHPAD_STRIPE_URL", self.stage.stripe_url())
            // An empty file that they have open is all that they see of it.
            .stdin(self.lock.try_clone()?);
        Ok(tool)
    }

    /// Deploys all stacks of the CDK app, if one of them is not what the sources say.
    async fn deploy_infrastructure(&self, deployed: &Stacks) -> Result<()> {
        let folder = "infrastructure";
        let made_from = fingerprint(self.workspace.root(), &[folder], "")?;
        let templates = self.stage.path("cdk").join(&made_from);
        let up_to_date =
            |stacks: Vec<String>| stacks.iter().all(|stack| deployed.holds(stack, &made_from));
        if stacks_of(&templates).is_some_and(up_to_date) {
            return Ok(());
        }
        let step = Step::begin("deploy infrastructure");
        let mut synth = self.tool("cdk", folder)?;
        synth.args([
            "synth",
            "--quiet",
            "-c",
            &format!("stage={STAGE}"),
            "--output",
        ]);
        run(&step, synth.arg(&templates)).await?;
        let mut deploy = self.tool("cdk", folder)?;
        deploy
            .args([
                "deploy",
                "--all",
                "--require-approval",
                "never",
                "--method",
                "direct",
            ])
            .args(["--concurrency", "4", "--progress", "events"])
            .args(["--tags", &format!("{FINGERPRINT}={made_from}"), "--app"]);
        run(&step, deploy.arg(&templates)).await?;
        step.done("");
        Ok(())
    }

    /// Deploys the stacks of the services that are not what the sources say, each after those whose
    /// exports it imports.
    async fn deploy_services(&self, deployed: &Stacks) -> Result<()> {
        let root = self.workspace.root();
        let mut packaged = BTreeMap::new();
        for service in services(root)? {
            let folder = format!("services/{service}");
            let made_from = fingerprint(
                root,
                &[&format!("{folder}/serverless.yml")],
                &self.stage.stripe_url(),
            )?;
            if deployed.holds(&format!("scratchpad-{service}-{STAGE}"), &made_from) {
                continue;
            }
            let step = Step::begin(format!("package {service}"));
            let package = self.stage.path("osls").join(&service);
            let mut osls = self.tool("osls", &folder)?;
            osls.args(["package", "--stage", STAGE, "--package"])
                .arg(&package);
            run(&step, osls.env("SCRATCHPAD_FINGERPRINT", made_from)).await?;
            let template = fs::read(package.join("cloudformation-template-update-stack.json"))?;
            packaged.insert(service, serde_json::from_slice(&template)?);
            step.done("");
        }
        for service in graph::order(&packaged)? {
            let step = Step::begin(format!("deploy {service}"));
            let mut osls = self.tool("osls", &format!("services/{service}"))?;
            osls.args([
                "deploy",
                "--stage",
                STAGE,
                "--force",
                "--verbose",
                "--package",
            ])
            .arg(self.stage.path("osls").join(&service));
            run(&step, &mut osls).await?;
            step.done("");
        }
        Ok(())
    }
}

/// What the deploy tools need to make templates without a cloud.
pub(crate) fn offline_environment() -> Vec<(&'static str, String)> {
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    };
    vec![
        ("SCRATCHPAD_ARCHITECTURE", architecture.into()),
        ("NODE_NO_WARNINGS", "1".into()),
        ("SLS_AWS_MONITORING_FREQUENCY", "200".into()), // ms
        ("CDK_DISABLE_CLI_TELEMETRY", "true".into()),
    ]
}

/// Gives each function whose zip is another than the deployed one its new code.
async fn update_code(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
    let lambda = aws_sdk_lambda::Client::new(stage.aws()?.config());
    let mut deployed = BTreeMap::new();
    let mut pages = lambda.list_functions().into_paginator().items().send();
    while let Some(function) = pages
        .next()
        .await
        .transpose()
        .context("the functions cannot be listed")?
    {
        deployed.extend(function.function_name.zip(function.code_sha256));
    }
    for function in workspace.functions() {
        let name = format!("scratchpad-{STAGE}-{}", function.name);
        let zip = fs::read(workspace.zip(function, STAGE))?;
        let hash = STANDARD.encode(Sha256::digest(&zip));
        if deployed
            .get(&name)
            .is_some_and(|deployed| *deployed != hash)
        {
            let step = Step::begin(format!("update {}", function.name));
            let update = lambda
                .update_function_code()
                .function_name(name)
                .zip_file(Blob::new(zip));
            update
                .send()
                .await
                .with_context(|| format!("{} cannot be updated", function.name))?;
            step.done("");
        }
    }
    Ok(())
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

/// A hash over what a stack is made from: these files and folders, what all share, and what is set
/// from outside.
fn fingerprint(root: &Path, own: &[&str], set: &str) -> Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for source in own.iter().chain(&SHARED) {
        for entry in WalkDir::new(root.join(source)) {
            let entry = entry?;
            if entry.file_type().is_file() {
                files.push(entry.into_path());
            }
        }
    }
    files.sort();
    let mut hash = Sha256::new_with_prefix(set);
    for file in files {
        let content = fs::read(&file)?;
        hash.update(
            file.strip_prefix(root)
                .unwrap_or(&file)
                .to_string_lossy()
                .as_bytes(),
        );
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    Ok(URL_SAFE_NO_PAD
        .encode(hash.finalize())
        .chars()
        .take(16)
        .collect())
}

/// The names of the stacks that the CDK app synthesised. None when it did not, or not to the end.
fn stacks_of(templates: &Path) -> Option<Vec<String>> {
    let manifest = fs::read(templates.join("manifest.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    let artifacts = manifest.get("artifacts")?.as_object()?;
    let stacks = artifacts.iter().filter_map(|(id, artifact)| {
        let is_stack = artifact.get("type")?.as_str()? == "aws:cloudformation:stack";
        let named = artifact
            .pointer("/properties/stackName")
            .and_then(|name| name.as_str());
        is_stack.then(|| named.unwrap_or(id).to_owned())
    });
    Some(stacks.collect())
}

/// What is deployed.
struct Stacks(BTreeMap<String, Stack>);

impl Stacks {
    async fn read(stage: &LocalStage) -> Result<Self> {
        let cloudformation = aws_sdk_cloudformation::Client::new(stage.aws()?.config());
        let mut stacks = BTreeMap::new();
        let mut pages = cloudformation
            .describe_stacks()
            .into_paginator()
            .items()
            .send();
        while let Some(stack) = pages
            .next()
            .await
            .transpose()
            .context("the stacks cannot be listed")?
        {
            stacks.extend(stack.stack_name.clone().map(|name| (name, stack)));
        }
        Ok(Self(stacks))
    }

    /// Whether the stack is deployed to the end, and made from that.
    fn holds(&self, name: &str, made_from: &str) -> bool {
        self.0.get(name).is_some_and(|stack| {
            let complete = matches!(
                stack.stack_status,
                Some(StackStatus::CreateComplete | StackStatus::UpdateComplete)
            );
            let tagged = |tag: &aws_sdk_cloudformation::types::Tag| {
                tag.key.as_deref() == Some(FINGERPRINT) && tag.value.as_deref() == Some(made_from)
            };
            // osls makes a stack first with its bucket alone, tag and all.
            let whole = stack
                .outputs()
                .iter()
                .any(|output| output.export_name.is_some());
            complete && whole && stack.tags().iter().any(tagged)
        })
    }

    /// What the stacks export, by the name without the stage.
    fn export(&self, name: &str) -> Result<String> {
        let full = format!("scratchpad-{STAGE}-{name}");
        let outputs = self.0.values().flat_map(Stack::outputs);
        let export = outputs
            .filter(|output| output.export_name.as_deref() == Some(&full))
            .find_map(|output| output.output_value.clone());
        export.with_context(|| format!("no stack exports {full}"))
    }

    fn description(&self, stage: &LocalStage) -> Result<Description> {
        let api = self.export("RestApiId")?;
        Ok(Description {
            api_url: format!("{}/_aws/execute-api/{api}/{STAGE}", stage.url()),
            cloud_url: stage.url(),
            region: REGION.into(),
            user_pool_id: self.export("UserPoolId")?,
            user_pool_client_id: self.export("UserPoolClientId")?,
            identity_pool_id: self.export("IdentityPoolId")?,
            attachments_bucket: self.export("AttachmentsBucketName")?,
            notes_table: self.export("NotesTableName")?,
            purchases_table: self.export("PurchasesTableName")?,
            idempotency_table: self.export("IdempotencyTableName")?,
            stripe_url: stage.stripe_url(),
            web_url: stage.web_url(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_made_from_its_files_and_from_where_stripe_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let [billing, notify] = ["services/billing-api", "services/notify-job"];
        let made_from = |own, stripe| fingerprint(root, &[own], stripe).unwrap();
        let before = made_from(billing, "http://127.0.0.1:1");
        assert_eq!(made_from(billing, "http://127.0.0.1:1"), before);
        assert_ne!(made_from(billing, "http://127.0.0.1:2"), before);
        assert_ne!(made_from(notify, "http://127.0.0.1:1"), before);
    }
}
