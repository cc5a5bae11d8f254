//! `cargo xtask remove`: deletes a stage and all its resources. The command changes no other stage.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, stdin},
};

use anyhow::{Context, Result, bail};
use console::style;

use super::{
    account::Account,
    change_plan::short_name,
    confirm::confirm,
    context::StageContext,
    execute::delete_artifacts,
    stack::Stacks,
    store::empty_bucket,
    table::StageName,
    template::{Templates, phases},
};
use crate::{
    ui::{self, Step},
    workspace::Workspace,
};

/// Runs `cargo xtask remove`, which deletes a stage. Without `yes`, asks for confirmation in a terminal.
///
/// # Errors
/// Fails if the stage is protected, another stage imports an export of the stage, or a resource cannot be deleted.
pub(crate) async fn remove(stage: &StageName, yes: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let context = StageContext::open(&workspace, stage, None).await?;
    context.target.announce();
    if !yes && stdin().is_terminal() {
        confirm(stage)?;
    }
    let stacks = remove_stage(&context).await?;
    ui::say(format!(
        "{} {stage} is removed ({} deleted)",
        style("✓").green(),
        ui::count(stacks, "stack")
    ));
    Ok(())
}

/// Deletes a stage and its objects in the account's bucket of releases. Returns the number of deleted stacks.
///
/// # Errors
/// Fails in the same cases as [`remove`].
pub(crate) async fn remove_stage(context: &StageContext) -> Result<usize> {
    let (target, stage) = (&context.target, &context.target.stage);
    if target.row.protected {
        bail!(
            "{stage} is protected against removal: first set `protected: false` in its row in serverless.yml, and deploy it"
        );
    }
    if !context.store.exists().await? {
        bail!("account {} has no stage {stage}", target.account.id);
    }
    let lease = context.lock("a removal").await?;
    lease.during(remove_locked(context)).await
}

/// Deletes the stage of `context` and returns the number of deleted stacks. The caller must hold the stage's lock.
async fn remove_locked(context: &StageContext) -> Result<usize> {
    let (stage, store) = (&context.target.stage, &context.store);
    let templates = removable_stacks(context).await?;
    let log_groups = function_log_groups(context).await?;
    let apis = delete_stacks(context, &templates).await?;
    let step = Step::begin("remove logs and secrets");
    // Delete the log groups after the stacks: a function can write logs, and so recreate its log group, until its stack
    // is deleted.
    let api_log_groups = apis
        .iter()
        .map(|api| format!("API-Gateway-Execution-Logs_{api}/{stage}"));
    let log_groups = log_groups.into_iter().chain(api_log_groups);
    delete_log_groups(&context.target.account, log_groups).await?;
    delete_parameters(&context.target.account, stage).await?;
    step.done("");
    delete_artifacts(store).await?;
    // Delete the release records last, so that the command finds the stage if it is run again after it was killed.
    for release in store.releases().await? {
        store.delete_release(&release).await?;
    }
    Ok(templates.len())
}

/// Returns the templates of the stacks of the stage. The keys are the stacks' names.
///
/// # Errors
/// Fails if the stage does not exist, one of its stacks has termination protection, or another stage imports an export
/// of one of these stacks.
async fn removable_stacks(context: &StageContext) -> Result<Templates> {
    let (target, stacks) = (&context.target, &context.stacks);
    let stage = &target.stage;
    let deployed = stacks.of_stage().await?;
    if deployed.is_empty() && context.store.releases().await?.is_empty() {
        bail!("account {} has no stage {stage}", target.account.id);
    }
    let mut templates = Templates::new();
    for (name, stack) in &deployed {
        if stack.enable_termination_protection() == Some(true) {
            bail!(
                "the stack {name} has termination protection, although {stage} is not protected in serverless.yml: deploy {stage} first"
            );
        }
        // A stack whose creation failed may have no template.
        let template = stacks.template(name).await.unwrap_or_default();
        templates.insert(name.clone(), template);
    }
    let importers = foreign_importers(stacks, &templates).await?;
    if !importers.is_empty() {
        bail!(
            "cannot remove {stage}: {}. Remove or change these stacks first",
            importers.join("; ")
        );
    }
    Ok(templates)
}

/// Finds stacks outside `templates` that import an export of a stack in `templates`. Returns a text for each such pair:
/// "A imports from B".
async fn foreign_importers(stacks: &Stacks, templates: &Templates) -> Result<Vec<String>> {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for (name, template) in templates {
        for export in template.exports() {
            let importers = stacks.importers(export).await?;
            let foreign = importers
                .into_iter()
                .filter(|importer| !templates.contains_key(importer));
            found.extend(foreign.map(|importer| (importer, name.clone())));
        }
    }
    Ok(found
        .into_iter()
        .map(|(importer, name)| format!("{importer} imports from {name}"))
        .collect())
}

/// Returns the names of the log groups of all functions that the stage's stored releases contain.
async fn function_log_groups(context: &StageContext) -> Result<BTreeSet<String>> {
    let stage = &context.target.stage;
    let mut log_groups = BTreeSet::new();
    for release in context.store.releases().await? {
        let names = release.functions.into_keys();
        log_groups.extend(names.map(|name| format!("/aws/lambda/scratchpad-{stage}-{name}")));
    }
    Ok(log_groups)
}

/// Empties the buckets of the stacks in `templates` and deletes the stacks. A stack is deleted before the stacks that
/// it imports from. Returns the IDs of the deleted REST APIs.
async fn delete_stacks(context: &StageContext, templates: &Templates) -> Result<Vec<String>> {
    let (target, stacks) = (&context.target, &context.stacks);
    let mut apis = Vec::new();
    for name in phases(templates)?.into_iter().rev().flatten() {
        let step = Step::begin(format!("remove {}", short_name(&name, target)));
        for (resource_type, resource) in stacks.resources(&name).await? {
            match resource_type.as_str() {
                "AWS::S3::Bucket" => empty_bucket(&target.account.s3(), &resource).await?,
                "AWS::ApiGateway::RestApi" => apis.push(resource),
                _ => {}
            }
        }
        stacks.delete(&step, &name).await?;
        step.done("");
    }
    Ok(apis)
}

/// Deletes CloudWatch log groups by name. A missing log group is not an error.
async fn delete_log_groups(account: &Account, names: impl Iterator<Item = String>) -> Result<()> {
    let logs = aws_sdk_cloudwatchlogs::Client::new(account.config());
    for name in names {
        match logs.delete_log_group().log_group_name(&name).send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) => {}
            Err(error) => {
                return Err(aws_sdk_cloudwatchlogs::Error::from(error))
                    .with_context(|| format!("cannot delete the log group {name}"));
            }
        }
    }
    Ok(())
}

/// Deletes the secrets of a stage, which are the SSM parameters under `/scratchpad/STAGE/`.
async fn delete_parameters(account: &Account, stage: &StageName) -> Result<()> {
    let ssm = aws_sdk_ssm::Client::new(account.config());
    loop {
        let page = ssm
            .get_parameters_by_path()
            .path(format!("/scratchpad/{stage}/"))
            .recursive(true)
            .send()
            .await;
        let page = page
            .map_err(aws_sdk_ssm::Error::from)
            .with_context(|| format!("cannot list the secrets of the stage {stage}"))?;
        let names: Vec<String> = page
            .parameters()
            .iter()
            .filter_map(|parameter| parameter.name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let delete = ssm.delete_parameters().set_names(Some(names)).send().await;
        delete
            .map_err(aws_sdk_ssm::Error::from)
            .with_context(|| format!("cannot delete the secrets of the stage {stage}"))?;
    }
}
