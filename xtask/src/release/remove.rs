//! `cargo xtask remove`: deletes a stage and all its resources. The command changes no other stage.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, stdin},
};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::types::StackStatus;
use console::style;

use super::{
    account::Account,
    change_plan::short_name,
    confirm::confirm,
    context::StageContext,
    execute::delete_artifacts,
    hosted_zone, secret,
    stack::Stacks,
    store::empty_bucket,
    table::StageName,
    template::{Template, Templates, phases},
};
use crate::{
    ui::{self, Step},
    workspace::Workspace,
};

/// Runs `cargo xtask remove`, which deletes a stage. Without `yes`, asks for confirmation.
///
/// # Errors
/// Fails if `yes` is false and standard input is not a terminal, if the stage is protected, another stage imports an export of the stage, or a resource cannot be deleted.
pub(crate) async fn remove(stage: &StageName, yes: bool) -> Result<()> {
    check_consent(yes, stdin().is_terminal())?;
    let workspace = Workspace::read()?;
    let context = StageContext::open(&workspace, stage, None).await?;
    context.target.announce();
    if !yes {
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

/// Checks that the user can be asked for confirmation, or that the option `--yes` makes this unnecessary.
fn check_consent(yes: bool, is_terminal: bool) -> Result<()> {
    if !yes && !is_terminal {
        bail!("cannot ask for confirmation, because standard input is not a terminal: add --yes");
    }
    Ok(())
}

/// Deletes a stage and its objects in the account's bucket of releases. Deletes nothing that
/// other stages use. Returns the number of deleted stacks.
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
    let stage = &context.target.stage;
    let templates = removable_stacks(context).await?;
    let deleted = delete_parts(context, &templates).await;
    deleted.with_context(|| {
        format!("{stage} is not removed completely; run the same command again to continue")
    })?;
    Ok(templates.len())
}

/// Deletes all parts of the stage of `context`. Each step can be repeated after an interruption. `templates` are the
/// templates of the stage's stacks.
async fn delete_parts(context: &StageContext, templates: &Templates) -> Result<()> {
    let (stage, store) = (&context.target.stage, &context.store);
    let log_groups = function_log_groups(context).await?;
    let api_log_groups = delete_stacks(context, templates).await?;
    let step = Step::begin("remove secrets, artifacts and logs");
    secret::delete_all(&context.target.account, stage).await?;
    delete_artifacts(store).await?;
    // Delete the log groups late: a function that still runs when its stack is deleted writes logs at its end, and so
    // recreates its log group.
    let log_groups = log_groups.into_iter().chain(api_log_groups);
    delete_log_groups(&context.target.account, log_groups).await?;
    step.done("");
    store.delete_migrations().await?;
    // Delete the release records last, so that the command finds the stage if it is run again after it was killed.
    for release in store.releases().await? {
        store.delete_release(&release).await?;
    }
    Ok(())
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
        // A stack that was only created for a change set has no template.
        let template = if stack.stack_status() == Some(&StackStatus::ReviewInProgress) {
            Template::default()
        } else {
            stacks.template(name).await?
        };
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

/// Deletes the stacks in `templates`, and what prevents their deletion: the content of their buckets, and the records
/// of their DNS zones that no stack contains. A stack is deleted before the stacks that it imports from. Returns the
/// names of the log groups of the deleted REST APIs.
async fn delete_stacks(context: &StageContext, templates: &Templates) -> Result<Vec<String>> {
    let (target, stacks) = (&context.target, &context.stacks);
    let mut log_groups = Vec::new();
    for name in phases(templates)?.into_iter().rev().flatten() {
        let step = Step::begin(format!("remove {}", short_name(&name, target)));
        let resources = stacks.resources(&name).await?;
        let records = resources
            .iter()
            .filter(|(kind, _)| kind == "AWS::Route53::RecordSet");
        let records: BTreeSet<String> = records.map(|(_, name)| name.clone()).collect();
        for (kind, id) in &resources {
            match kind.as_str() {
                "AWS::S3::Bucket" => empty_bucket(&target.account.s3(), id).await?,
                "AWS::Route53::HostedZone" => {
                    hosted_zone::delete_records(&target.account, id, &records).await?;
                }
                "AWS::ApiGateway::RestApi" => {
                    let stage = &target.stage;
                    log_groups.push(format!("API-Gateway-Execution-Logs_{id}/{stage}"));
                }
                _ => {}
            }
        }
        // Also delete the log groups before the stack: if the command is interrupted after the deletion of the stack,
        // its next run does not know the IDs of the APIs.
        delete_log_groups(&target.account, log_groups.iter().cloned()).await?;
        stacks.delete(&step, &name).await?;
        step.done("");
    }
    Ok(log_groups)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_without_confirmation_needs_the_option_yes() {
        assert!(check_consent(true, false).is_ok());
        assert!(check_consent(false, true).is_ok());
        let error = check_consent(false, false).unwrap_err().to_string();
        assert!(error.contains("--yes"), "{error}");
    }
}
