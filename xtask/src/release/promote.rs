//! `cargo xtask promote` and `cargo xtask rollback`: apply a stored release to a stage.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use console::style;

use super::{
    bootstrap::ensure_bucket,
    change::Change,
    change_plan::{ChangePlan, short_name},
    clock::now,
    confirm::confirm,
    context::StageContext,
    execute::{execute, persist, print_endpoints},
    provenance::actor,
    record::{Outcome, Release, current},
    store::Store,
    table::StageName,
    target::Target,
    template::Templates,
};
use crate::{
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// The options for the confirmation of a stored release, after its changes are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Consent {
    /// Apply the changes without asking
    #[arg(long, conflicts_with = "show")]
    yes: bool,
    /// Show the changes without applying them
    #[arg(long)]
    show: bool,
    /// Write the changes to this file, as Markdown
    #[arg(long)]
    summary: Option<PathBuf>,
    /// Allow the release to replace or remove this table, bucket or user pool and delete its data; can be repeated
    #[arg(long, value_name = "RESOURCE")]
    allow_replacement: Vec<String>,
}

/// A release that is applied to a stage, from the bucket of releases of this or of another account.
struct StoredRelease<'a> {
    /// The record of the stored release. When the release is applied, a copy with a new number, start time, actor,
    /// outcome and list of changes is stored for the target stage.
    record: Release,
    templates: Templates,
    /// The bucket to copy the artifacts from. `None` if they are in the stage's own account already.
    store: Option<&'a Store>,
}

impl StoredRelease<'_> {
    /// The release's name: "dev's release 7".
    fn name(&self) -> Result<String> {
        let (stage, number) = self
            .record
            .copied_from
            .as_ref()
            .context("cannot find the stage that the release was copied from")?;
        Ok(format!("{stage}'s release {number}"))
    }
}

/// `cargo xtask promote`: applies the release `number` of the stage `from` to the stage `to`. Without a number, applies
/// the release that `from` runs.
///
/// # Errors
/// Fails if there is no such release, it has no templates for `to`, data would be lost, or a stack cannot be updated.
pub(crate) async fn promote(
    from: &StageName,
    to: &StageName,
    number: Option<u32>,
    consent: &Consent,
) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let source = StageContext::open(&workspace, from, None).await?;
    let stage = StageContext::open(&workspace, to, None).await?;
    stage.target.announce();
    let release = match number {
        None => source
            .current_release()
            .await?
            .with_context(|| format!("{from} runs no release; deploy it first"))?,
        Some(number) => source
            .store
            .releases(from)
            .await?
            .into_iter()
            .find(|release| release.number == number && release.outcome == Outcome::Done)
            .with_context(|| {
                format!(
                    "{from} has no successful release {number}; see cargo xtask releases --stage {from}"
                )
            })?,
    };
    let Some((_, stacks)) = release.promotion.as_ref().filter(|(stage, _)| stage == to) else {
        bail!(
            "{from}'s release {} has no templates for {to}; set promotesTo in the row of {from} in serverless.yml, and deploy {from}",
            release.number
        );
    };
    let stored = StoredRelease {
        templates: source.store.templates(stacks).await?,
        record: Release {
            stage: to.clone(),
            infrastructure: stage.target.row.infrastructure,
            copied_from: Some((from.clone(), release.number)),
            stacks: stacks.clone(),
            promotion: None,
            ..release.clone()
        },
        store: Some(&source.store),
    };
    apply_release(&stage, &stored, consent).await
}

/// `cargo xtask rollback`: applies the earlier release `number` of a stage again. Without a number, applies the latest
/// earlier release with other templates.
///
/// # Errors
/// Fails if there is no such release, data would be lost, or a stack cannot be updated.
pub(crate) async fn rollback(
    stage: &StageName,
    number: Option<u32>,
    consent: &Consent,
) -> Result<()> {
    let workspace = Workspace::read()?;
    let name = stage;
    let stage = StageContext::open(&workspace, name, None).await?;
    stage.target.announce();
    let mut successful = stage
        .releases()
        .await?
        .into_iter()
        .filter(|release| release.outcome == Outcome::Done);
    let running = successful
        .next()
        .with_context(|| format!("{name} runs no release; deploy it first"))?;
    let release = match number {
        Some(number) => successful
            .find(|release| release.number == number)
            .with_context(|| {
                format!(
                    "{name} has no successful release {number} before {}; see cargo xtask releases --stage {name}",
                    running.number
                )
            })?,
        None => successful
            .find(|release| release.stacks != running.stacks)
            .with_context(|| {
                format!(
                    "{name} has no other release before {} to roll back to",
                    running.number
                )
            })?,
    };
    let stored = StoredRelease {
        templates: stage.store.templates(&release.stacks).await?,
        record: Release {
            copied_from: Some((name.clone(), release.number)),
            ..release
        },
        store: None,
    };
    apply_release(&stage, &stored, consent).await
}

/// Shows what a stored release changes, asks for confirmation, and updates the stage to it.
async fn apply_release(
    stage: &StageContext,
    stored: &StoredRelease<'_>,
    consent: &Consent,
) -> Result<()> {
    let name = &stage.target.stage;
    if consent.show {
        let changes = ChangePlan::compute(stage, &stored.templates).await?;
        let preview = show_preview(stage, &changes, stored, consent).await?;
        ui::say(if preview.is_empty() {
            format!("{name} has the content of {} already", stored.name()?)
        } else {
            format!(
                "{} would make {} in {name}; nothing was changed",
                stored.name()?,
                ui::count(preview.rows.len(), "change")
            )
        });
        return Ok(());
    }
    ensure_bucket(stage).await?;
    let before = stage.current_release().await?;
    let lease = stage.lock("a release").await?;
    let applied = lease.during(apply_locked(stage, stored, consent)).await?;
    print_endpoints(stage).await?;
    let mark = style("✓").green();
    ui::say(match applied {
        Some(release) => format!(
            "{mark} {name} runs release {}, a copy of {} ({})",
            release.number,
            stored.name()?,
            release.changed_functions(before.as_ref())
        ),
        None => format!(
            "{mark} {name} has the content of {} already; nothing was changed",
            stored.name()?
        ),
    });
    Ok(())
}

/// Applies a stored release. The caller holds the stage's lock. Returns `None` if the stage already has the content of
/// the release.
async fn apply_locked(
    stage: &StageContext,
    stored: &StoredRelease<'_>,
    consent: &Consent,
) -> Result<Option<Release>> {
    let changes = ChangePlan::compute(stage, &stored.templates).await?;
    let preview = show_preview(stage, &changes, stored, consent).await?;
    let newest = stage.releases().await?.into_iter().next();
    let is_same = newest
        .is_some_and(|newest| newest.outcome == Outcome::Done && newest.app == stored.record.app);
    if changes.is_empty() && is_same {
        return Ok(None);
    }
    if !consent.yes {
        confirm(&stage.target.stage)?;
    }
    let mut release = Release {
        number: stage.next_number().await?,
        started_at: now(),
        actor: actor(),
        outcome: Outcome::InProgress,
        changes: preview.lines(),
        ..stored.record.clone()
    };
    persist(
        &stage.store,
        &release,
        [&stored.templates],
        async || match stored.store {
            Some(from) => copy_artifacts(from, &stage.store, &release).await,
            None => Ok(()),
        },
    )
    .await?;
    execute(stage, &changes, &mut release).await?;
    Ok(Some(release))
}

/// Copies a release's zips and browser app from the bucket of another account.
async fn copy_artifacts(from: &Store, to: &Store, release: &Release) -> Result<()> {
    let step = Step::begin("copy the artifacts");
    for (name, function) in &release.functions {
        step.at(name);
        to.copy_code(from, &function.artifact).await?;
    }
    if let Some(app) = &release.app {
        to.copy_app_files(from, app.files.values()).await?;
    }
    step.done("");
    Ok(())
}

/// Prints the changes of a stored release, writes them to the summary file, and checks that no data would be lost.
async fn show_preview(
    stage: &StageContext,
    changes: &ChangePlan,
    stored: &StoredRelease<'_>,
    consent: &Consent,
) -> Result<Preview> {
    let resource_changes = if changes.is_empty() {
        BTreeMap::new()
    } else {
        changes.changes(stage).await?
    };
    let running = current(&stage.releases().await?).and_then(|release| release.app.clone());
    let preview = Preview::new(
        format!("{} for {}", stored.name()?, stage.target.stage),
        &stage.target,
        &resource_changes,
        running != stored.record.app,
    );
    preview.print();
    if let Some(file) = &consent.summary {
        fs::write(file, preview.markdown())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if !resource_changes.is_empty() {
        changes
            .check_data_loss(stage, &consent.allow_replacement)
            .await?;
    }
    Ok(preview)
}

/// The changes that a stored release makes to a stage.
struct Preview {
    title: String,
    rows: Vec<PreviewRow>,
}

/// One change of a [`Preview`].
enum PreviewRow {
    /// A changed resource, with the short name of its stack.
    Resource(String, Change),
    /// The short name of a stack in which only outputs change.
    Outputs(String),
    /// The browser app has other files.
    App,
}

impl Preview {
    fn new(
        title: String,
        target: &Target,
        changes: &BTreeMap<String, Vec<Change>>,
        app_changes: bool,
    ) -> Self {
        let mut rows = Vec::new();
        for (name, changes) in changes {
            let stack = short_name(name, target);
            if changes.is_empty() {
                rows.push(PreviewRow::Outputs(stack.into()));
            }
            let resources = changes.iter().cloned();
            rows.extend(resources.map(|change| PreviewRow::Resource(stack.into(), change)));
        }
        if app_changes {
            rows.push(PreviewRow::App);
        }
        Self { title, rows }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Formats the changes as lines for the terminal and for the record of the release.
    fn lines(&self) -> Vec<String> {
        if self.is_empty() {
            return vec!["nothing changes".into()];
        }
        let lines = self.rows.iter().map(|row| match row {
            PreviewRow::Resource(stack, change) => format!("{stack}: {change}"),
            PreviewRow::Outputs(stack) => format!("{stack}: only outputs"),
            PreviewRow::App => "app: changed".into(),
        });
        lines.collect()
    }

    /// Prints the changes on standard output.
    fn print(&self) {
        ui::print(&self.title);
        for line in self.lines() {
            ui::print(format!("  {line}"));
        }
    }

    /// Formats the changes as a Markdown table.
    fn markdown(&self) -> String {
        let mut text = format!(
            "### {}\n\n| stack | change | resource | type | properties |\n|---|---|---|---|---|\n",
            self.title
        );
        for row in &self.rows {
            // Writing to a String cannot fail.
            let _ = match row {
                PreviewRow::Resource(stack, change) => writeln!(
                    text,
                    "| {stack} | {} | {} | {} | {} |",
                    change.action,
                    change.label(),
                    change.resource_type,
                    change.properties.join(", ")
                ),
                PreviewRow::Outputs(stack) => {
                    writeln!(text, "| {stack} | modify | | only outputs | |")
                }
                PreviewRow::App => writeln!(text, "| app | modify | | | |"),
            };
        }
        if self.is_empty() {
            text += "| | nothing | | | |\n";
        }
        text
    }
}
