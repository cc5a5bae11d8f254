//! `cargo xtask bootstrap`: creates or deletes the account-wide stacks, which all stages of an account share.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use console::style;

use super::{
    context::StageContext,
    hash::json_hash,
    stack::{fingerprint, stage_tag},
    store::{Store, empty_bucket},
    synth,
    table::StageName,
    template::{Templates, phases},
};
use crate::{
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// The name of the stack that contains the account's bucket of releases.
const RELEASES_STACK: &str = "scratchpad-releases";

/// `cargo xtask bootstrap`: creates or updates the account-wide stacks in the account of `stage`. With `remove`, deletes
/// them.
///
/// # Errors
/// Fails if an account-wide stack cannot be created, updated or deleted. With `remove`, also fails if the account has a
/// stage.
pub(crate) async fn bootstrap(stage: &StageName, remove: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let stage = StageContext::open(&workspace, stage, None).await?;
    stage.target.announce();
    let account = &stage.target.account;
    let mark = style("✓").green();
    if remove {
        let removed = remove_account(&stage).await?;
        ui::say(format!(
            "{mark} account {} ({}) has no account-wide stacks ({} deleted)",
            account.id,
            account.name,
            ui::count(removed, "stack")
        ));
    } else {
        let applied = apply(&stage).await?;
        ui::say(format!(
            "{mark} account {} ({}) is ready for stages ({} of {} stacks changed)",
            account.id, account.name, applied.changed, applied.all
        ));
    }
    Ok(())
}

/// Numbers of account-wide stacks.
pub(crate) struct Applied {
    changed: usize,
    all: usize,
}

/// Creates or updates the account-wide stacks in the account of a stage. Does nothing for stacks that have the template
/// already.
///
/// # Errors
/// Fails if a stack cannot be created or updated.
pub(crate) async fn apply(stage: &StageContext) -> Result<Applied> {
    let templates = templates(stage).await?;
    let deployed = stage.stacks.all().await?;
    let mut changed = 0;
    for name in phases(&templates)?.into_iter().flatten() {
        let Some(template) = templates.get(&name) else {
            continue;
        };
        if deployed.get(&name).and_then(fingerprint) == template.fingerprint() {
            continue;
        }
        let step = Step::begin(name.clone());
        stage
            .stacks
            .apply_account_stack(&step, &name, template)
            .await?;
        step.done("");
        changed += 1;
    }
    Ok(Applied {
        changed,
        all: templates.len(),
    })
}

/// Returns the templates of the account-wide stacks. The fingerprint of each template is a hash of the template.
async fn templates(stage: &StageContext) -> Result<Templates> {
    let templates = synth::account_templates(&stage.workspace, &stage.target).await?;
    let with_fingerprint = templates
        .into_iter()
        .map(|(name, template)| (name, template.with_code(&json_hash(&template), |_| None)));
    Ok(with_fingerprint.collect())
}

/// Deletes the account-wide stacks of the account of a stage, in the reverse order of their creation. Returns the number
/// of deleted stacks.
async fn remove_account(stage: &StageContext) -> Result<usize> {
    let account = &stage.target.account;
    let deployed = stage.stacks.all().await?;
    let tags = deployed.values().filter_map(stage_tag);
    let mut stages: BTreeSet<String> = tags.map(str::to_owned).collect();
    for name in Store::stages(account).await? {
        if !Store::new(account, &name).is_unused().await? {
            stages.insert(name.to_string());
        }
    }
    if !stages.is_empty() {
        bail!(
            "account {} ({}) still has stages: {}. Remove each of them first with cargo xtask remove --stage NAME",
            account.id,
            account.name,
            stages.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    let mut removed = 0;
    let names = phases(&templates(stage).await?)?.into_iter().rev();
    for name in names.flat_map(|phase| phase.into_iter().rev()) {
        if !deployed.contains_key(&name) {
            continue;
        }
        let step = Step::begin(format!("remove {name}"));
        if name == RELEASES_STACK {
            empty_bucket(&account.s3(), stage.store.bucket()).await?;
        }
        stage.stacks.delete(&step, &name).await?;
        step.done("");
        removed += 1;
    }
    Ok(removed)
}

/// Checks that the account of a stage has a bucket of releases.
///
/// # Errors
/// Fails if the bucket does not exist. The message says how to create it.
pub(crate) async fn check_bootstrapped(stage: &StageContext) -> Result<()> {
    if stage.store.exists().await? {
        return Ok(());
    }
    let account = &stage.target.account;
    bail!(
        "account {} ({}) is not ready for stages: the bucket {} does not exist. Run cargo xtask bootstrap --stage {} \
         first, with the credentials of an administrator",
        account.id,
        account.name,
        stage.store.bucket(),
        stage.target.stage
    )
}
