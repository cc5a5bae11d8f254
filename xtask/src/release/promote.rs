//! `cargo xtask promote` applies a stored release of one stage to another stage. `cargo xtask rollback` applies an
//! earlier release of a stage to the same stage.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use console::style;

use super::record::current; // part: web
use super::stripe_keys; // part: billing
use super::{
    bootstrap::check_bootstrapped,
    change::Change,
    change_plan::{ChangePlan, short_name},
    clock::now,
    confirm::confirm,
    context::StageContext,
    execute::{execute, persist, print_endpoints},
    provenance::actor,
    record::{Outcome, Record, Release},
    stack::StackFailed,
    store::Store,
    table::StageName,
    target::Target,
    template::{Template, Templates, function_key},
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
    /// Allow the release to replace or remove this table, bucket, user pool or identity pool and delete its data; can be repeated
    #[arg(long, value_name = "RESOURCE")]
    allow_replacement: Vec<String>,
}

/// The command-line options that ensure that a promotion applies exactly the release that someone has approved.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Approval {
    /// Promote the release only if its record has this digest, which --show prints
    #[arg(long)]
    digest: Option<String>,
    /// Write the digest of the release's record to this file
    #[arg(long, value_name = "FILE", requires = "show")]
    digest_file: Option<PathBuf>,
}

impl Approval {
    /// Checks that the record of a release is the one that was approved. Without an approved digest, accepts every
    /// record.
    ///
    /// # Errors
    /// Fails if the record has another digest.
    fn check(&self, record: &Record) -> Result<()> {
        let (release, digest) = (&record.release, &record.digest);
        match &self.digest {
            Some(approved) if approved != digest => bail!(
                "{}'s release {} has the digest {digest}, not the approved digest {approved}: the approval was for \
                 another release, or someone has changed the record of the release since. Nothing was changed. Run \
                 cargo xtask promote with --show, and approve the changes again",
                release.stage,
                release.number
            ),
            _ => Ok(()),
        }
    }
}

/// A stored release that a promotion or a rollback applies to a stage.
struct StoredRelease<'a> {
    /// The record of the stored release, prepared for the stage that the release is applied to. The number, start time,
    /// actor, outcome and list of changes are replaced when the release is applied.
    record: Release,
    templates: Templates,
    /// The digest of the release's record. `None` for a rollback.
    digest: Option<String>,
    /// The other stage's part of a bucket of releases, to copy the artifacts from. `None` for a rollback: the stage has
    /// the artifacts already.
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

    /// Checks that the templates use only function zips that the record lists, and only objects of the stage that the
    /// release is applied to. The content of only these objects is compared with their names.
    ///
    /// # Errors
    /// Fails if a template uses another zip.
    fn check_zips(&self) -> Result<()> {
        let functions = self.record.functions.values();
        let zips: BTreeSet<String> = functions
            .map(|function| function_key(&self.record.stage, &function.artifact))
            .collect();
        let mut used = self.templates.values().flat_map(Template::zip_keys);
        match used.find(|key| !zips.contains(*key)) {
            Some(key) => bail!(
                "a template of {} uses the function zip {key}, which the record of the release does not list",
                self.name()?
            ),
            None => Ok(()),
        }
    }
}

/// `cargo xtask promote`: applies the release `number` of the stage `from` to the stage `to`. Without a number, applies
/// the release that `from` runs.
///
/// # Errors
/// Fails if `from` has no such successful release, if the release is not the one that `approval` names, if the release
/// has no templates for `to`, if the content of an object of the release does not match its name, if the promotion
/// would delete data, or if a stack cannot be updated.
pub(crate) async fn promote(
    from: &StageName,
    to: &StageName,
    number: Option<u32>,
    consent: &Consent,
    approval: &Approval,
) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let source = StageContext::open(&workspace, from, None).await?;
    let stage = StageContext::open(&workspace, to, None).await?;
    stage.target.announce();
    check_bootstrapped(&stage).await?;
    // part: billing {
    if !consent.show {
        stripe_keys::check(&stage.target).await?;
    }
    // part: billing }
    let records = source.store.records().await?.into_iter();
    let mut successful = records.filter(|record| record.release.outcome == Outcome::Done);
    let record = match number {
        None => successful
            .next()
            .with_context(|| format!("the stage {from} runs no release; deploy the stage first"))?,
        Some(number) => successful
            .find(|record| record.release.number == number)
            .with_context(|| {
                format!(
                    "the stage {from} has no successful release {number}; see cargo xtask releases --stage {from}"
                )
            })?,
    };
    approval.check(&record)?;
    let Record { release, digest } = record;
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
        digest: Some(digest.clone()),
        store: Some(&source.store),
    };
    apply_release(&stage, &stored, consent).await?;
    if let Some(file) = &approval.digest_file {
        fs::write(file, format!("{digest}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// `cargo xtask rollback`: applies the stage's earlier release `number` again. Without a number, applies the latest of
/// the earlier releases whose templates differ from those that the stage runs.
///
/// # Errors
/// Fails if the stage has no such earlier successful release, if the content of an object of the release does not match
/// its name, if the rollback would delete data, or if a stack cannot be updated.
pub(crate) async fn rollback(
    stage: &StageName,
    number: Option<u32>,
    consent: &Consent,
) -> Result<()> {
    let workspace = Workspace::read()?;
    let name = stage;
    let stage = StageContext::open(&workspace, name, None).await?;
    stage.target.announce();
    check_bootstrapped(&stage).await?;
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
    if !stage.store.has_artifacts(&release).await? {
        bail!(
            "the artifacts of release {} of the stage {name} are not complete; choose another release with --to",
            release.number
        );
    }
    let stored = StoredRelease {
        templates: stage.store.templates(&release.stacks).await?,
        record: Release {
            copied_from: Some((name.clone(), release.number)),
            ..release
        },
        digest: None,
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
    stored.check_zips()?;
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
    let before = stage.current_release().await?;
    let lease = stage.lock("a release").await?;
    let applied = lease.during(apply_locked(stage, stored, consent)).await?;
    print_endpoints(stage).await;
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
    let newest = newest.filter(|newest| newest.outcome == Outcome::Done);
    let newest = newest.filter(|newest| newest.app == stored.record.app); // part: web
    let is_same = newest.is_some();
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
    let etag = persist(&stage.store, &release, [&stored.templates], async || {
        let Some(from) = stored.store else {
            return Ok(());
        };
        let step = Step::begin("copy the artifacts");
        let progress = |function: &str| step.at(function);
        stage.store.copy_artifacts(from, &release, progress).await?;
        step.done("");
        Ok(())
    })
    .await?;
    let executed = execute(stage, &changes, &mut release, &etag).await;
    match (&stored.store, &release.copied_from) {
        // The message contains the number. Otherwise, if this rollback has succeeded and only a response was lost, the
        // next one would apply an even earlier release.
        (None, Some((_, number))) => executed.map_err(|error| {
            if error.is::<StackFailed>() {
                return error;
            }
            error.context(format!(
                "the rollback is not finished; run it again with --to {number}"
            ))
        })?,
        _ => executed?,
    }
    Ok(Some(release))
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
    let running = current(&stage.releases().await?).and_then(|release| release.app.clone()); // part: web
    let preview = Preview::new(
        format!("{} for {}", stored.name()?, stage.target.stage),
        &stage.target,
        &resource_changes,
        running != stored.record.app, // part: web
        stored.digest.clone(),
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
    /// The digest of the release's record. `None` for a rollback.
    digest: Option<String>,
}

/// One change of a [`Preview`].
enum PreviewRow {
    /// The short name of a stack, and the change of one of its resources.
    Resource(String, Change),
    /// The short name of a stack that changes although none of its resources change. Only its outputs change.
    Outputs(String),
    // part: web {
    /// The browser app changes.
    App,
    // part: web }
}

impl Preview {
    fn new(
        title: String,
        target: &Target,
        changes: &BTreeMap<String, Vec<Change>>,
        app_changes: bool, // part: web
        digest: Option<String>,
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
        // part: web {
        if app_changes {
            rows.push(PreviewRow::App);
        }
        // part: web }
        Self {
            title,
            rows,
            digest,
        }
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
            PreviewRow::App => "app: changed".into(), // part: web
        });
        lines.collect()
    }

    /// Prints the title, the changes and the digest on standard output.
    fn print(&self) {
        ui::print(&self.title);
        for line in self.lines() {
            ui::print(format!("  {line}"));
        }
        if let Some(digest) = &self.digest {
            ui::print(format!("  digest {digest}"));
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
                PreviewRow::App => writeln!(text, "| app | modify | | | |"), // part: web
            };
        }
        if self.is_empty() {
            text += "| | nothing | | | |\n";
        }
        if let Some(digest) = &self.digest {
            text = text + "\nDigest: `" + digest + "`\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::release::{record::Function, sources::Sources};

    #[test]
    fn only_the_record_with_the_approved_digest_is_promoted() {
        let record = |digest: &str| Record {
            release: Release::example("dev", 7),
            digest: digest.into(),
        };
        let approval = |digest: Option<&str>| Approval {
            digest: digest.map(str::to_owned),
            digest_file: None,
        };
        approval(None).check(&record("aa")).unwrap();
        approval(Some("aa")).check(&record("aa")).unwrap();
        let error = approval(Some("aa")).check(&record("bb")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("dev's release 7 has the digest bb"),
            "{error}"
        );
        assert!(error.to_string().contains("Nothing was changed"), "{error}");
    }

    #[test]
    fn templates_may_use_only_zips_of_the_record_below_the_keys_of_the_stage() {
        let stored = |key: &str| {
            let template = json!({"Resources": {"Get": {
                "Type": "AWS::Lambda::Function",
                "Properties": {"Code": {"S3Bucket": "releases", "S3Key": key}},
            }}});
            let function = Function {
                artifact: "a1".into(),
                sources: Sources::default(),
            };
            StoredRelease {
                record: Release {
                    copied_from: Some(("dev".parse().unwrap(), 7)),
                    functions: BTreeMap::from([("notes-get".into(), function)]),
                    ..Release::example("prod", 1)
                },
                templates: Templates::from([(
                    "stack".into(),
                    serde_json::from_value(template).unwrap(),
                )]),
                digest: None,
                store: None,
            }
        };
        stored("prod/artifacts/functions/a1.zip")
            .check_zips()
            .unwrap();
        for key in [
            "prod/artifacts/functions/b2.zip",
            "dev/artifacts/functions/a1.zip",
            "pr-1/artifacts/functions/a1.zip",
            "artifacts/functions/a1.zip",
        ] {
            let error = stored(key).check_zips().unwrap_err().to_string();
            assert!(
                error.contains(key) && error.contains("dev's release 7"),
                "{error}"
            );
        }
    }
}
