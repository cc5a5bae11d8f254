//! `cargo xtask plan`: shows what a deploy of the sources would change in a stage, and why.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use console::style;

use super::app; // part: web
use super::{
    change_plan::{ChangePlan, short_name},
    context::StageContext,
    hash::json_hash,
    record::{Release, current},
    sources::{self, Sources},
    synth,
    table::{Infrastructure, StageName},
    target::Target,
    template::{Template, Templates, function_key},
};
use crate::{tools, ui, workspace::Workspace};

/// What a stage would have after a deploy of the sources: templates, function sources and the like. Reading this
/// state from the checkout does not build anything.
pub(crate) struct DesiredState {
    stage: StageName,
    /// The templates as `cdk` and `osls` synthesize them, without the S3 keys of the functions' zips.
    templates: Templates,
    /// The sources of each function, keyed by the function's name.
    pub(crate) sources: BTreeMap<String, Sources>,
    // part: web {
    /// The hash of the browser app's sources.
    pub(crate) app: String,
    // part: web }
}

impl DesiredState {
    async fn read(workspace: &Workspace, target: &Target) -> Result<Self> {
        let (root, row) = (workspace.clone(), target.row.clone());
        let sources =
            tokio::task::spawn_blocking(move || sources::read(&root, row.build, row.architecture));
        let templates = synth::templates(workspace, target).await?;
        Ok(Self {
            stage: target.stage.clone(),
            templates,
            sources: sources.await??,
            app: app::sources(workspace.root())?, // part: web
        })
    }

    /// Returns the templates to deploy. `artifact` returns the hash of the zip of the function with this name, or
    /// `None` if the zip is not built.
    pub(crate) fn templates(&self, artifact: impl Fn(&str) -> Option<String>) -> Templates {
        templates_with_code(&self.stage, &self.templates, &self.sources, artifact)
    }
}

/// Adds the S3 keys of the functions' zips and a fingerprint to each template of `stage`. The fingerprint is an output
/// with a hash of the template and of its functions' sources. `artifact` returns the hash of the zip of the function
/// with this name, or `None` if the zip is not built.
pub(crate) fn templates_with_code(
    stage: &StageName,
    templates: &Templates,
    sources: &BTreeMap<String, Sources>,
    artifact: impl Fn(&str) -> Option<String>,
) -> Templates {
    let with_code = templates.iter().map(|(name, template)| {
        let functions: BTreeMap<&str, String> = template
            .functions()
            .filter_map(|(_, function)| Some((function, sources.get(function)?.fingerprint())))
            .collect();
        let fingerprint = json_hash(&(template, functions));
        let zip = |function: &str| Some(function_key(stage, &artifact(function)?));
        (name.clone(), template.with_code(&fingerprint, zip))
    });
    with_code.collect()
}

/// What a deploy of the sources would do to a part of a stage, such as a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Nothing: the part has been deployed from the same sources.
    None,
    /// Create the part, which does not exist yet.
    New,
    /// Change the part, for the reasons in this list.
    Changed(Vec<String>),
    /// Delete the part, which the sources no longer contain.
    Removed,
}

/// A part of a stage, such as a stack, and what a deploy of the sources would do to the part.
pub(crate) struct PartDifference {
    /// The short name of a stack.
    // part: web {
    /// `app` for the browser app.
    // part: web }
    part: String,
    difference: Difference,
}

impl fmt::Display for PartDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = &self.part;
        match &self.difference {
            Difference::None => write!(
                f,
                "{} {part}: {}",
                style("=").dim(),
                style("nothing changes").dim()
            ),
            Difference::New => write!(f, "{} {part}: new", style("+").green()),
            Difference::Changed(reasons) => {
                let mark = style("~").yellow();
                let lines = reasons
                    .iter()
                    .map(|reason| format!("{mark} {part}: {reason}"));
                f.write_str(&lines.collect::<Vec<_>>().join("\n"))
            }
            Difference::Removed => write!(f, "{} {part}: removed", style("-").red()),
        }
    }
}

impl PartDifference {
    /// Formats the difference as lines for the `changes` field of a release record.
    fn record_lines(&self) -> Vec<String> {
        let part = &self.part;
        match &self.difference {
            Difference::None => Vec::new(),
            Difference::New => vec![format!("{part}: new")],
            Difference::Changed(reasons) => reasons
                .iter()
                .map(|reason| format!("{part}: {reason}"))
                .collect(),
            Difference::Removed => vec![format!("{part}: removed")],
        }
    }
}

/// The changes that a deploy of the sources would make to a stage.
pub(crate) struct DeployPlan {
    /// The stage that the plan is for.
    pub(crate) stage: StageContext,
    /// What the stage would have after a deploy.
    pub(crate) desired: DesiredState,
    /// The releases of the stage, the newest first.
    pub(crate) releases: Vec<Release>,
    changes: ChangePlan,
    differences: Vec<PartDifference>,
}

impl DeployPlan {
    /// Compares what is deployed to a stage with the sources in the checkout.
    ///
    /// # Errors
    /// Fails if the sources or the stage cannot be read, and in the cases of [`ChangePlan::compute`].
    pub(crate) async fn compute(stage: StageContext) -> Result<Self> {
        let desired = DesiredState::read(&stage.workspace, &stage.target).await?;
        let releases = stage.releases().await?;
        let changes = ChangePlan::compute(&stage, &desired.templates(|_| None)).await?;
        let differences = differences(&stage.target, &desired, &changes, current(&releases));
        Ok(Self {
            stage,
            desired,
            releases,
            changes,
            differences,
        })
    }

    /// Returns the stage's newest release if that release succeeded and a deploy of the sources would change nothing.
    pub(crate) fn up_to_date_release(&self) -> Option<&Release> {
        let newest = self.releases.first()?;
        let is_current = current(&self.releases).map(|release| release.number);
        let is_same = self.changes.is_empty() && is_current == Some(newest.number);
        let is_same = is_same && newest.has_app(&self.desired.app); // part: web
        is_same.then_some(newest)
    }

    /// Formats the differences of all parts of the stage as lines for the `changes` field of a release record.
    pub(crate) fn record_lines(&self) -> Vec<String> {
        self.differences
            .iter()
            .flat_map(PartDifference::record_lines)
            .collect()
    }

    /// Prints the differences between the stage and the sources.
    pub(crate) fn print(&self) {
        for difference in &self.differences {
            ui::say(difference.to_string());
        }
    }

    /// Returns a line that says how much a deploy of the sources would change.
    fn summary(&self) -> String {
        let name = &self.stage.target.stage;
        if let Some(release) = self.up_to_date_release() {
            return format!(
                "{name} runs release {} of these sources; a deploy would change nothing",
                release.number
            );
        }
        let is_same = self.changes.is_empty();
        // part: web {
        let has_app =
            current(&self.releases).is_some_and(|release| release.has_app(&self.desired.app));
        let is_same = is_same && has_app;
        // part: web }
        if is_same {
            return format!(
                "{name} has these sources, but its latest release did not finish; a deploy would only record a new release"
            );
        }
        let all = self.desired.templates.len() + self.changes.removed().count();
        let parts = format!("{} of {all} stacks", self.changes.len());
        let parts = parts + if has_app { "" } else { " and the browser app" }; // part: web
        format!("a deploy of {name} would change {parts}")
    }
}

/// `cargo xtask plan`: prints what a deploy of the sources would change in a stage.
///
/// # Errors
/// Fails in the same cases as [`DeployPlan::compute`].
pub(crate) async fn plan(stage: &StageName, infrastructure: Option<Infrastructure>) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let stage = StageContext::open(&workspace, stage, infrastructure).await?;
    stage.target.announce();
    let plan = DeployPlan::compute(stage).await?;
    plan.print();
    ui::say(plan.summary());
    Ok(())
}

/// Returns what a deploy would do to each part of a stage. `release` is the release that the stage runs.
fn differences(
    target: &Target,
    desired: &DesiredState,
    changes: &ChangePlan,
    release: Option<&Release>,
) -> Vec<PartDifference> {
    let part = |name: &str, difference| PartDifference {
        part: short_name(name, target).to_owned(),
        difference,
    };
    let mut differences = Vec::new();
    for (name, template) in &desired.templates {
        let difference = match changes.current(name) {
            _ if !changes.changed().contains_key(name) => {
                if changes.changes_protection(name) {
                    let state = if target.row.protected { "on" } else { "off" };
                    Difference::Changed(vec![format!("termination protection is switched {state}")])
                } else {
                    Difference::None
                }
            }
            None => Difference::New,
            Some(current) => {
                let reasons = stack_reasons(desired, template, current, release);
                Difference::Changed(reasons)
            }
        };
        differences.push(part(name, difference));
    }
    // part: web {
    differences.push(PartDifference {
        part: "app".into(),
        difference: match release.map(|release| (release.has_app(&desired.app), &release.app)) {
            Some((true, _)) => Difference::None,
            Some((false, Some(_))) => Difference::Changed(vec!["changed".into()]),
            Some((false, None)) | None => Difference::New,
        },
    });
    // part: web }
    let removed = changes.removed();
    differences.extend(removed.map(|name| part(name, Difference::Removed)));
    differences
}

/// Returns the reasons why a deploy changes a stack: a line for each changed function and each other changed resource.
/// `template` is the stack's desired template, and `current` is its deployed template.
fn stack_reasons(
    desired: &DesiredState,
    template: &Template,
    current: &Template,
    release: Option<&Release>,
) -> Vec<String> {
    let deployed = |function: &str| release.and_then(|release| release.functions.get(function));
    let mut reasons = Vec::new();
    for (_, function) in template.functions() {
        let Some(sources) = desired.sources.get(function) else {
            continue;
        };
        match deployed(function) {
            None => reasons.push(format!("{function} is new")),
            Some(before) if before.sources == *sources => {}
            Some(before) => {
                let reason = sources.reasons(&before.sources).join(", ");
                reasons.push(format!("{function} changed, {reason}"));
            }
        }
    }
    // Put the deployed code into the new template, so that only the other resources differ.
    let with_deployed_code = template.with_code("", |function| {
        deployed(function).map(|function| function_key(&desired.stage, &function.artifact))
    });
    reasons.extend(with_deployed_code.differences(current));
    if reasons.is_empty() {
        reasons.push("the last update did not finish".into());
    }
    reasons
}
