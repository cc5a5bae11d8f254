//! `cargo xtask bootstrap`: creates the account-wide stacks, which all stages of an account share.

use anyhow::{Context, Result};
use console::style;

use super::{context::StageContext, synth, table::StageName, template::phases};
use crate::{
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// The name of the stack that contains the account's bucket of releases.
pub(crate) const RELEASES_STACK: &str = "scratchpad-releases";

/// `cargo xtask bootstrap`: creates or updates the account-wide stacks in the account of `stage`.
///
/// # Errors
/// Fails if an account-wide stack cannot be created or updated.
pub(crate) async fn bootstrap(stage: &StageName) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let stage = StageContext::open(&workspace, stage, None).await?;
    stage.target.announce();
    let templates = synth::account_templates(&workspace, &stage.target).await?;
    let mut changed = 0;
    for name in phases(&templates)?.into_iter().flatten() {
        let Some(template) = templates.get(&name) else {
            continue;
        };
        let step = Step::begin(name.clone());
        let is_changed = stage
            .stacks
            .apply_account_stack(&step, &name, template)
            .await?;
        changed += u32::from(is_changed);
        step.done(if is_changed { "" } else { "nothing changes" });
    }
    let account = &stage.target.account;
    ui::say(format!(
        "{} account {} ({}) is ready for stages ({changed} of {} stacks changed)",
        style("✓").green(),
        account.id,
        account.name,
        templates.len()
    ));
    Ok(())
}

/// Creates the account's bucket of releases, unless the bucket exists.
///
/// # Errors
/// Fails if the stack with the bucket cannot be created.
pub(crate) async fn ensure_bucket(stage: &StageContext) -> Result<()> {
    let store = &stage.store;
    if store.exists().await? {
        return Ok(());
    }
    let templates = synth::account_templates(&stage.workspace, &stage.target).await?;
    let template = templates
        .get(RELEASES_STACK)
        .context("cannot find the stack scratchpad-releases among the templates of the account")?;
    let step = Step::begin(format!("create the bucket {}", store.bucket()));
    let applied = stage
        .stacks
        .apply_account_stack(&step, RELEASES_STACK, template)
        .await;
    // The first deploy of another stage may have created the bucket at the same time.
    if !store.exists().await? {
        applied?;
    }
    step.done("");
    Ok(())
}
