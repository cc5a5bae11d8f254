//! `cargo xtask promote` applies a stored release of one stage to another stage. `cargo xtask rollback` applies an
//! earlier release of a stage to the same stage.

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

/// The command-line options that say whether and how to apply a stored release after its changes are shown.
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

/// A stored release that a promotion or a rollback applies to a stage.
struct StoredRelease<'a> {
    /// The record of the stored release, prepared for the stage that the release is applied to. The number, start time,
    /// actor, outcome and list of changes are replaced when the release is applied.
    record: Release,
    templates: Templates,
    /// The bucket of releases to copy the artifacts from. `None` for a rollback: the stage's own bucket has the
    /// artifacts.
    store: Option<&'a Store>,
}

impl StoredRelease<'_> {
    /// Returns a name of the stored release for messages, such as "dev's release 7".
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
/// Fails if `from` has no such successful release, if the release has no templates for `to`, if the promotion would
/// delete data, or if a stack cannot be updated.
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
            .with_context(|| format!("the stage {from} runs no release; deploy the stage first"))?,
        Some(number) => source
            .store
            .releases(from)
            .await?
            .into_iter()
            .find(|release| release.number == number && release.outcome == Outcome::Done)
            .with_context(|| {
                format!(
                    "the stage {from} has no successful release {number}; see cargo xtask releases --stage {from}"
                )
            })?,
    };
    let Some((_, stacks)) = release.promotion.as_ref().filter(|(stage, _)| stage == to) else {
        bail!(
            "{from}'s release {} has no templates for the stage {to}; set promotesTo in the row of {from} in serverless.yml, and deploy {from}",
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

/// `cargo xtask rollback`: applies the stage's earlier release `number` again. Without a number, applies the latest of
/// the earlier releases whose templates differ from those that the stage runs.
///
/// # Errors
/// Fails if the stage has no such earlier successful release, if the rollback would delete data, or if a stack cannot
/// be updated.
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
        .with_context(|| format!("the stage {name} runs no release; deploy the stage first"))?;
    let release = match number {
        Some(number) => successful
            .find(|release| release.number == number)
            .with_context(|| {
                format!(
                    "the stage {name} has no successful release {number} before release {}; see cargo xtask releases --stage {name}",
                    running.number
                )
            })?,
        None => successful
            .find(|release| release.stacks != running.stacks)
            .with_context(|| {
                format!(
                    "the stage {name} has no release with other templates before release {} to roll back to",
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

/// Shows what a stored release would change in a stage, asks for confirmation, and applies the release. `consent` can
/// skip the confirmation, or stop before it.
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

/// Applies a stored release to a stage, and returns the new release of the stage. Returns `None` if the stage already
/// has the content of the stored release. The caller must hold the stage's lock.
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

/// Copies a release's function zips and browser app from the bucket of releases `from` to the bucket of releases `to`.
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

/// Prints the changes that a stored release would make to a stage, and writes them to the summary file of `consent`.
/// Fails if the release would delete data that `consent` does not allow to delete.
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

/// The changes that a stored release would make to a stage, for display.
struct Preview {
    title: String,
    rows: Vec<PreviewRow>,
}

/// One change of a [`Preview`].
enum PreviewRow {
    /// The short name of a stack, and the change of one of its resources.
    Resource(String, Change),
    /// The short name of a stack that changes although none of its resources change. Only its outputs change.
    Outputs(String),
    /// The browser app changes.
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

    /// Formats the changes as lines, for the terminal and for the `changes` field of a release record.
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

    /// Prints the title and the changes on standard output.
    fn print(&self) {
        ui::print(&self.title);
        for line in self.lines() {
            ui::print(format!("  {line}"));
        }
    }

    /// Formats the changes as a Markdown table under a heading with the title.
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
