//! Stages in the cloud: what would be deployed, deployed, promoted, rolled back, removed.
//!
//! A release is a set of templates and of zips, all named by their content, and a record of them. It is made once,
//! from the sources; to deploy, to promote and to roll back is then the same: make the stage's stacks what the
//! templates say.

mod account;
mod app;
mod apply;
mod lease;
mod remove;
mod secret;
mod sources;
mod stack;
mod store;
mod synth;
mod table;
mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead as _, IsTerminal as _, stdin},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use console::style;

pub(crate) use account::Target;
pub(crate) use remove::{Age, remove, stages};
pub(crate) use secret::{Secret, secrets};
pub(crate) use sources::Sources;
pub(crate) use store::Function;
pub(crate) use synth::services;
pub(crate) use table::{Architecture, Infrastructure, StageName, Tables};

use app::App;
use apply::{Work, short};
use lease::Lease;
use stack::Stacks;
use store::{Outcome, Release, Store, now};
use table::Build;
use template::{Template, Templates, hash};

use crate::{
    build::{self, Level},
    package, tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// How many releases of a stage can be gone back to.
const KEPT: usize = 20;

/// What the sources would make of a stage, without building anything.
struct Sketch {
    templates: Templates,
    sources: BTreeMap<String, Sources>,
    /// A hash of what the browser app is built from.
    app: String,
}

impl Sketch {
    async fn of(workspace: &Workspace, target: &Target) -> Result<Self> {
        let (root, row) = (workspace.clone(), target.row.clone());
        let sources =
            tokio::task::spawn_blocking(move || sources::read(&root, row.build, row.architecture));
        let templates = synth::templates(workspace, target).await?;
        Ok(Self {
            templates,
            sources: sources.await??,
            app: app::sources(workspace.root())?,
        })
    }

    /// The templates as they are released, with the code of functions as far as it is known.
    fn released(&self, code: impl Fn(&str) -> Option<String>) -> Templates {
        released(&self.templates, &self.sources, code)
    }
}

/// The templates with the code of their functions, and with the hash of what they were made from.
fn released(
    templates: &Templates,
    sources: &BTreeMap<String, Sources>,
    code: impl Fn(&str) -> Option<String>,
) -> Templates {
    let with_code = templates.iter().map(|(name, template)| {
        let functions: BTreeMap<&str, String> = template
            .functions()
            .filter_map(|(_, function)| Some((function, sources.get(function)?.fingerprint())))
            .collect();
        let fingerprint = hash(&(template, functions));
        (name.clone(), template.released(&fingerprint, &code))
    });
    with_code.collect()
}

/// `cargo xtask plan`.
///
/// # Errors
/// Says what stands in the way.
pub(crate) async fn plan(stage: &StageName, infrastructure: Option<Infrastructure>) -> Result<()> {
    Outlook::of(stage, infrastructure).await.map(drop)
}

/// A stage, and what the sources would make of it.
struct Outlook {
    workspace: Workspace,
    target: Target,
    stacks: Stacks,
    store: Store,
    sketch: Sketch,
    work: Work,
    /// The work, as lines for the record.
    changes: Vec<String>,
}

impl Outlook {
    /// Says what would be done, and why.
    async fn of(stage: &StageName, infrastructure: Option<Infrastructure>) -> Result<Self> {
        let workspace = Workspace::read()?;
        tools::prepare(&workspace).await?;
        let target = Target::open(&workspace, stage, infrastructure).await?;
        account::announce(&target);
        let sketch = Sketch::of(&workspace, &target).await?;
        let store = Store::new(&target.account);
        let current = current(&store, stage).await?;
        let stacks = Stacks::of(&target);
        let work = Work::plan(&stacks, &target, &sketch.released(|_| None)).await?;
        let changes = explain(&target, &sketch, &work, current.as_ref());
        Ok(Self {
            workspace,
            target,
            stacks,
            store,
            sketch,
            work,
            changes,
        })
    }
}

/// The releases of a stage, the newest first.
async fn releases_of(store: &Store, stage: &StageName) -> Result<Vec<Release>> {
    if store.exists().await? {
        store.releases(stage).await
    } else {
        Ok(Vec::new())
    }
}

/// The release that the stage runs.
async fn current(store: &Store, stage: &StageName) -> Result<Option<Release>> {
    Ok(releases_of(store, stage)
        .await?
        .into_iter()
        .find(|release| release.outcome == Outcome::Done))
}

/// Says what would be done, and why, by stack and function. Returns the same as lines for the record.
fn explain(
    target: &Target,
    sketch: &Sketch,
    work: &Work,
    current: Option<&Release>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, template) in &sketch.templates {
        let short = short(name, target);
        if !work.changed().contains_key(name) {
            ui::say(format!(
                "{} {short}: {}",
                style("=").dim(),
                style("nothing changes").dim()
            ));
            continue;
        }
        let Some(earlier) = work.earlier(name) else {
            lines.push(format!("{short}: new"));
            ui::say(format!("{} {short}: new", style("+").green()));
            continue;
        };
        let mut reasons = Vec::new();
        let known = |function: &str| current.and_then(|release| release.functions.get(function));
        for (_, function) in template.functions() {
            let Some(sources) = sketch.sources.get(function) else {
                continue;
            };
            match known(function) {
                None => reasons.push(format!("{function} is new")),
                Some(before) if before.sources == *sources => {}
                Some(before) => {
                    let why = sources.reasons(&before.sources).join(", ");
                    reasons.push(format!("{function} changed, {why}"));
                }
            }
        }
        // With the code as it is: what else is another.
        let as_it_is = template.released("", |function| {
            known(function).map(|function| function.artefact.clone())
        });
        reasons.extend(as_it_is.differences(earlier));
        if reasons.is_empty() {
            reasons.push("it was not deployed to the end".into());
        }
        for reason in reasons {
            ui::say(format!("{} {short}: {reason}", style("~").yellow()));
            lines.push(format!("{short}: {reason}"));
        }
    }
    if current.is_none_or(|release| !release.has_app(&sketch.app)) {
        let new = current.is_none_or(|release| release.app.is_none());
        let why = if new { "new" } else { "changed" };
        ui::say(format!(
            "{} app: {why}",
            style(if new { "+" } else { "~" }).yellow()
        ));
        lines.push(format!("app: {why}"));
    } else {
        ui::say(format!(
            "{} app: {}",
            style("=").dim(),
            style("nothing changes").dim()
        ));
    }
    for name in work.gone() {
        let short = short(name, target);
        ui::say(format!("{} {short}: removed", style("-").red()));
        lines.push(format!("{short}: removed"));
    }
    lines
}

/// `cargo xtask deploy`.
///
/// # Errors
/// Says what failed, and what the stage is now.
pub(crate) async fn deploy(
    stage: &StageName,
    infrastructure: Option<Infrastructure>,
    allowed: &[String],
) -> Result<()> {
    let Outlook {
        workspace,
        target,
        stacks,
        store,
        sketch,
        work,
        changes,
    } = Outlook::of(stage, infrastructure).await?;
    let newest = releases_of(&store, stage).await?.into_iter().next();
    let runs =
        newest.filter(|release| release.outcome == Outcome::Done && release.has_app(&sketch.app));
    if let Some(release) = runs.filter(|_| work.is_nothing()) {
        ui::say(format!(
            "{stage} runs release {} of these sources",
            release.number
        ));
        return announce_stage(&stacks, &target).await;
    }
    prepare(&workspace, &target, &stacks, &store).await?;
    let lease = Lease::take(&store, &lock_of(stage), "a deploy").await?;
    lease
        .during(async {
            let functions = functions(&workspace, &target, &store, &sketch.sources).await?;
            let (app, built) = browser_app(&workspace, &target, &store, &sketch.app).await?;
            let commit = Commit::of(workspace.root());
            let number = next(&store, stage).await?;
            let promoted = match &target.row.promotes_to {
                Some(next) => {
                    let next = Target::unchecked(&workspace, next, None).await?;
                    let templates = synth::templates(&workspace, &next).await?;
                    Some((
                        next.stage,
                        released(&templates, &sketch.sources, |name| {
                            artefact(&functions, name)
                        }),
                    ))
                }
                None => None,
            };
            let templates = sketch.released(|name| artefact(&functions, name));
            let work = Work::plan(&stacks, &target, &templates).await?;
            work.guard(&stacks, &store, &target, allowed).await?;
            let mut release = Release {
                stage: stage.clone(),
                number,
                at: now(),
                who: who(),
                commit: commit.hash,
                branch: commit.branch,
                dirty: commit.dirty,
                from: None,
                outcome: Outcome::UnderWay,
                changes,
                architecture: target.row.architecture,
                infrastructure: target.row.infrastructure,
                functions,
                app: Some(app),
                stacks: templates
                    .iter()
                    .map(|(name, template)| (name.clone(), template.hash()))
                    .collect(),
                promotes: promoted.as_ref().map(|(stage, templates)| {
                    (
                        stage.clone(),
                        templates
                            .iter()
                            .map(|(name, template)| (name.clone(), template.hash()))
                            .collect(),
                    )
                }),
            };
            keep(
                &store,
                &release,
                [
                    Some(&templates),
                    promoted.as_ref().map(|(_, templates)| templates),
                ],
                async || {
                    let step = Step::begin("upload what was built");
                    for (name, function) in &release.functions {
                        step.at(name);
                        let zip = workspace.zip_of(&function.artefact);
                        if zip.exists() {
                            store.keep_code(&function.artefact, &zip).await?;
                        }
                    }
                    if let (Some(app), Some(built)) = (&release.app, &built) {
                        store.keep_app(app, built).await?;
                    }
                    step.done("");
                    Ok(())
                },
            )
            .await?;
            carry_out(&work, &stacks, &store, &target, &mut release).await
        })
        .await?;
    announce_stage(&stacks, &target).await
}

/// Does the work of a release, and writes down how it ended.
async fn carry_out(
    work: &Work,
    stacks: &Stacks,
    store: &Store,
    target: &Target,
    release: &mut Release,
) -> Result<()> {
    let result = async {
        work.run(stacks, store, target).await?;
        match &release.app {
            Some(app) => app::publish(app, store, target, &stacks.exports().await?).await,
            None => Ok(()),
        }
    };
    let result = result.await;
    release.outcome = if result.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    store.record(release).await?;
    result?;
    ui::say(format!(
        "{} {} runs release {}",
        style("✓").green(),
        target.stage,
        release.number
    ));
    let old: Vec<Release> = store
        .releases(&target.stage)
        .await?
        .into_iter()
        .skip(KEPT)
        .collect();
    if !old.is_empty() {
        for release in &old {
            store.forget(release).await?;
        }
        tidy(store, None).await?;
    }
    Ok(())
}

/// Writes a release down, and then keeps what it needs: nobody tidies up in between.
async fn keep(
    store: &Store,
    release: &Release,
    templates: [Option<&Templates>; 2],
    code: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let lease = Lease::wait(store, TIDY, "an upload").await?;
    lease
        .during(async {
            store.record(release).await?;
            for templates in templates.into_iter().flatten() {
                store.keep_templates(templates).await?;
            }
            code().await
        })
        .await
}

/// The lock of whoever adds to what is kept, or takes from it.
const TIDY: &str = "artefacts";

/// The lock of a stage.
fn lock_of(stage: &StageName) -> String {
    format!("releases/{stage}")
}

/// Deletes what no release of any stage needs, but for one that goes.
async fn tidy(store: &Store, going: Option<&StageName>) -> Result<()> {
    let lease = Lease::wait(store, TIDY, "tidying").await?;
    let tidied = lease.during(store.tidy(going)).await;
    if let Err(error) = tidied {
        // The roles of workflows may not delete what other stages may need.
        ui::say(format!(
            "{} what no release needs stays: {error:#}",
            style("!").yellow()
        ));
    }
    Ok(())
}

/// The functions of a release: those that somebody has built from the same sources before, and the others, built.
async fn functions(
    workspace: &Workspace,
    target: &Target,
    store: &Store,
    sources: &BTreeMap<String, Sources>,
) -> Result<BTreeMap<String, Function>> {
    let known = known(target, store).await?;
    let mut functions = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, sources) in sources {
        let artefact = known.get(&sources.fingerprint());
        let kept = match artefact {
            Some(artefact) if store.has_code(artefact).await? => Some(artefact.clone()),
            _ => None,
        };
        match kept {
            Some(artefact) => {
                functions.insert(
                    name.clone(),
                    Function {
                        artefact,
                        sources: sources.clone(),
                    },
                );
            }
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(functions);
    }
    let binaries = match target.row.build {
        Build::Dev if target.row.architecture == Architecture::HOST => {
            build::build(workspace).await?;
            workspace.binaries().to_owned()
        }
        Build::Dev => bail!(
            "only a release build can be for another machine: set `build: release` in the row of {}",
            target.stage
        ),
        Build::Release => package::release(workspace, &missing, target.row.architecture).await?,
    };
    let step = Step::begin("pack the functions");
    for name in missing {
        step.at(name);
        let (binary, level) = match target.row.build {
            Build::Dev => (binaries.join(name), Level::Quick),
            Build::Release => (package::binary(&binaries, name), Level::Small),
        };
        let artefact = build::pack(workspace, name, &binary, level)?;
        let sources = sources.get(name).cloned().unwrap_or_default();
        functions.insert(name.into(), Function { artefact, sources });
    }
    step.done("");
    Ok(functions)
}

/// The browser app of a release: as somebody has built it from the same sources before, or built, with its folder.
async fn browser_app(
    workspace: &Workspace,
    target: &Target,
    store: &Store,
    sources: &str,
) -> Result<(App, Option<PathBuf>)> {
    for stage in trusted(target, store).await? {
        for release in store.releases(&stage).await? {
            if let Some(app) = release.app.filter(|app| app.sources == sources)
                && store.has_app(&app).await?
            {
                return Ok((app, None));
            }
        }
    }
    let (app, folder) = app::build(workspace, sources.into()).await?;
    Ok((app, Some(folder)))
}

/// Whose releases are believed in what was built from which sources. A stage with a row of its own believes itself
/// alone: what a branch says is for branches.
async fn trusted(target: &Target, store: &Store) -> Result<Vec<StageName>> {
    let mut stages = vec![target.stage.clone()];
    if !target.listed {
        stages.extend(store.stages().await?);
    }
    Ok(stages)
}

/// What was built before, by the fingerprint of what it was built from.
async fn known(target: &Target, store: &Store) -> Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    for stage in trusted(target, store).await? {
        for release in store.releases(&stage).await? {
            let functions = release.functions.into_values();
            known.extend(
                functions.map(|function| (function.sources.fingerprint(), function.artefact)),
            );
        }
    }
    Ok(known)
}

fn artefact(functions: &BTreeMap<String, Function>, name: &str) -> Option<String> {
    functions
        .get(name)
        .map(|function| function.artefact.clone())
}

/// Makes the account ready for releases: it needs a bucket.
async fn prepare(
    workspace: &Workspace,
    target: &Target,
    stacks: &Stacks,
    store: &Store,
) -> Result<()> {
    const STACK: &str = "scratchpad-releases";
    if store.exists().await? {
        return Ok(());
    }
    let templates = synth::account_templates(workspace, target).await?;
    let template = templates
        .get(STACK)
        .context("the account has a stack for releases")?;
    let step = Step::begin(format!("make the bucket {}", store.bucket()));
    let made = stacks.apply_body(&step, STACK, template).await;
    // Another stage's first deploy may have been quicker.
    if !store.exists().await? {
        made?;
    }
    step.done("");
    Ok(())
}

/// `cargo xtask account`: what the account of a stage has once.
///
/// # Errors
/// Says what failed.
pub(crate) async fn account(stage: &StageName) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let target = Target::open(&workspace, stage, None).await?;
    account::announce(&target);
    let stacks = Stacks::of(&target);
    let templates = synth::account_templates(&workspace, &target).await?;
    for name in template::phases(&templates)?.into_iter().flatten() {
        let step = Step::begin(name.clone());
        let changed = match templates.get(&name) {
            Some(template) => stacks.apply_body(&step, &name, template).await?,
            None => false,
        };
        step.done(if changed { "" } else { "nothing changes" });
    }
    Ok(())
}

/// Says where the stage is, and what it lacks.
async fn announce_stage(stacks: &Stacks, target: &Target) -> Result<()> {
    let exports = stacks.exports().await?;
    for (what, name) in [("API", "ApiUrl"), ("app", "WebUrl")] {
        if let Some(url) = exports.get(&format!("scratchpad-{}-{name}", target.stage)) {
            ui::say(format!(
                "  {what:<6}{}",
                style(place(target, &exports, url)).cyan()
            ));
        }
    }
    let missing = secret::missing(target).await?;
    if !missing.is_empty() {
        let stage = secret::stage_of(target);
        ui::say(format!(
            "{} {stage} has no {}: what needs them does not start. Give each by cargo xtask secrets set NAME --stage {stage}",
            style("!").yellow(),
            missing.join(", ")
        ));
    }
    Ok(())
}

/// An address of the stage, as it is for whoever plays the account.
fn place(target: &Target, exports: &BTreeMap<String, String>, url: &str) -> String {
    let api = exports.get(&format!("scratchpad-{}-RestApiId", target.stage));
    match (target.account.config().endpoint_url(), api) {
        (Some(endpoint), Some(api)) if url.contains("execute-api") => {
            format!("{endpoint}/_aws/execute-api/{api}/{}", target.stage)
        }
        _ => url.into(),
    }
}

/// Makes a local stage what the sources say. The functions must be built. Its releases are not recorded: the sources
/// are at hand.
///
/// # Errors
/// Says what failed.
pub(crate) async fn converge(
    workspace: &Workspace,
    target: &Target,
) -> Result<BTreeMap<String, String>> {
    let store = Store::new(&target.account);
    let stacks = Stacks::of(target);
    let templates = synth::templates(workspace, target).await?;
    prepare(workspace, target, &stacks, &store).await?;
    let mut sources = BTreeMap::new();
    let mut functions = BTreeMap::new();
    for function in workspace.functions() {
        let artefact = build::pack(
            workspace,
            &function.name,
            &workspace.binaries().join(&function.name),
            Level::Quick,
        )?;
        sources.insert(function.name.clone(), Sources::of_binary(&artefact));
        functions.insert(function.name.clone(), artefact);
    }
    let wanted = released(&templates, &sources, |name| functions.get(name).cloned());
    let work = Work::plan(&stacks, target, &wanted).await?;
    if !work.is_nothing() {
        for template in work.changed().values() {
            for artefact in template.artefacts() {
                store
                    .keep_code(artefact, &workspace.zip_of(artefact))
                    .await?;
            }
        }
        work.guard(&stacks, &store, target, &[]).await?;
        work.run(&stacks, &store, target).await?;
        store
            .keep_only(
                &wanted
                    .values()
                    .flat_map(Template::artefacts)
                    .collect::<BTreeSet<_>>(),
            )
            .await?;
        workspace.keep_zips(
            &functions
                .values()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
        )?;
    }
    stacks.exports().await
}

/// `cargo xtask releases`.
///
/// # Errors
/// When the account does not say.
pub(crate) async fn releases(stage: &StageName) -> Result<()> {
    let workspace = Workspace::read()?;
    let target = Target::open(&workspace, stage, None).await?;
    let store = Store::new(&target.account);
    let releases = releases_of(&store, stage).await?;
    if releases.is_empty() {
        bail!("{stage} has no release");
    }
    let running = releases
        .iter()
        .find(|release| release.outcome == Outcome::Done)
        .map(|release| release.number);
    for release in &releases {
        let Release { number, who, .. } = release;
        let state = match release.outcome {
            Outcome::Done if Some(*number) == running => style("runs").green(),
            Outcome::Done => style("ran").dim(),
            Outcome::Failed => style("failed").red(),
            Outcome::UnderWay => style("not done").yellow(),
        };
        let commit = release
            .commit
            .as_deref()
            .map_or("no commit", |commit| commit.get(..10).unwrap_or(commit));
        let dirty = if release.dirty { " and changes" } else { "" };
        let branch = release
            .branch
            .as_deref()
            .map(|branch| format!(" ({branch})"))
            .unwrap_or_default();
        let from = release
            .from
            .as_ref()
            .map(|(stage, number)| format!(", {stage}'s release {number}"))
            .unwrap_or_default();
        ui::print(format!(
            "{number:>4}  {state:<8}  {}  {who}  {commit}{dirty}{branch}{from}",
            age(release.at)
        ));
        for change in &release.changes {
            ui::print(format!("      {change}"));
        }
        for (name, function) in &release.functions {
            ui::print(format!(
                "      {name:<22}{}",
                style(&function.artefact).dim()
            ));
        }
    }
    Ok(())
}

/// How a promotion goes on once it has shown what it would do.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long, conflicts_with = "show")]
    yes: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    show: bool,
    /// Write what would change to a file, as Markdown
    #[arg(long)]
    summary: Option<PathBuf>,
    /// A table, bucket or user pool that may be replaced or removed, with all that is in it
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) allow_replacement: Vec<String>,
}

/// `cargo xtask promote`.
///
/// # Errors
/// Says what failed, and what the stage is now.
pub(crate) async fn promote(
    from: &StageName,
    to: &StageName,
    number: Option<u32>,
    consent: &Consent,
) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let source = Target::open(&workspace, from, None).await?;
    let target = Target::open(&workspace, to, None).await?;
    account::announce(&target);
    let theirs = Store::new(&source.account);
    let store = Store::new(&target.account);
    let release = match number {
        None => current(&theirs, from)
            .await?
            .with_context(|| format!("{from} runs no release"))?,
        Some(number) => theirs
            .releases(from)
            .await?
            .into_iter()
            .find(|release| release.number == number && release.outcome == Outcome::Done)
            .with_context(|| format!("{from} never ran a release {number}"))?,
    };
    let Some((_, stacks)) = release.promotes.as_ref().filter(|(stage, _)| stage == to) else {
        bail!(
            "{from}'s release {} is not made for {to}: the row of {from} in serverless.yml says where its releases go (promotesTo)",
            release.number
        );
    };
    let templates = theirs.templates(stacks).await?;
    let copy = Release {
        stage: to.clone(),
        infrastructure: target.row.infrastructure,
        from: Some((from.clone(), release.number)),
        stacks: stacks.clone(),
        promotes: None,
        ..release.clone()
    };
    put_in_place(
        &workspace,
        &target,
        &store,
        Some(&theirs),
        &templates,
        copy,
        consent,
    )
    .await
}

/// `cargo xtask rollback`.
///
/// # Errors
/// Says what failed, and what the stage is now.
pub(crate) async fn rollback(stage: &StageName, to: Option<u32>, consent: &Consent) -> Result<()> {
    let workspace = Workspace::read()?;
    let target = Target::open(&workspace, stage, None).await?;
    account::announce(&target);
    let store = Store::new(&target.account);
    let releases = releases_of(&store, stage).await?;
    let mut done = releases
        .into_iter()
        .filter(|release| release.outcome == Outcome::Done);
    let running = done
        .next()
        .with_context(|| format!("{stage} runs no release"))?;
    let release = match to {
        Some(number) => done.find(|release| release.number == number).with_context(|| {
            format!("{stage} never ran a release {number} before {}; see cargo xtask releases --stage {stage}", running.number)
        })?,
        None => done
            .find(|release| release.stacks != running.stacks)
            .with_context(|| format!("{stage} ran nothing before release {}", running.number))?,
    };
    let templates = store.templates(&release.stacks).await?;
    let copy = Release {
        from: Some((stage.clone(), release.number)),
        ..release
    };
    put_in_place(&workspace, &target, &store, None, &templates, copy, consent).await
}

/// Shows what a release that is there already would change, asks, and makes the stage what it says.
async fn put_in_place(
    workspace: &Workspace,
    target: &Target,
    store: &Store,
    from: Option<&Store>,
    templates: &Templates,
    release: Release,
    consent: &Consent,
) -> Result<()> {
    let stacks = Stacks::of(target);
    if consent.show {
        let work = Work::plan(&stacks, target, templates).await?;
        show(&work, &stacks, store, target, &release, consent).await?;
        return Ok(());
    }
    prepare(workspace, target, &stacks, store).await?;
    let lease = Lease::take(store, &lock_of(&target.stage), "a release").await?;
    lease
        .during(async {
            let work = Work::plan(&stacks, target, templates).await?;
            let changes = show(&work, &stacks, store, target, &release, consent).await?;
            let newest = releases_of(store, &target.stage).await?.into_iter().next();
            let runs = newest
                .is_some_and(|newest| newest.outcome == Outcome::Done && newest.app == release.app);
            if work.is_nothing() && runs {
                return Ok(());
            }
            if !consent.yes {
                ask(&target.stage)?;
            }
            let mut release = Release {
                number: next(store, &target.stage).await?,
                at: now(),
                who: who(),
                outcome: Outcome::UnderWay,
                changes,
                ..release.clone()
            };
            keep(store, &release, [Some(templates), None], async || {
                let Some(from) = from else { return Ok(()) };
                let step = Step::begin("copy what was built");
                for (name, function) in &release.functions {
                    step.at(name);
                    store.copy_code(from, &function.artefact).await?;
                }
                if let Some(app) = &release.app {
                    store.copy_app(from, app).await?;
                }
                step.done("");
                Ok(())
            })
            .await?;
            carry_out(&work, &stacks, store, target, &mut release).await
        })
        .await?;
    announce_stage(&stacks, target).await
}

/// Says what a release would change, by change sets, and makes sure that no data is lost. Returns it as lines.
async fn show(
    work: &Work,
    stacks: &Stacks,
    store: &Store,
    target: &Target,
    release: &Release,
    consent: &Consent,
) -> Result<Vec<String>> {
    let (stage, number) = release.from.as_ref().context("it is a copy of another")?;
    let title = format!("{stage}'s release {number} for {}", target.stage);
    let mut lines = Vec::new();
    let mut table = String::new();
    let changes = if work.is_nothing() {
        BTreeMap::new()
    } else {
        work.changes(stacks, store, target).await?
    };
    for (name, changes) in &changes {
        let stack = short(name, target);
        for change in changes {
            lines.push(format!("{stack}: {change}"));
            let name = change.name.as_deref().unwrap_or(&change.id);
            let of = change.properties.join(", ");
            table += &format!(
                "| {stack} | {} | {name} | {} | {of} |\n",
                change.action, change.kind
            );
        }
        if changes.is_empty() {
            lines.push(format!("{stack}: outputs alone"));
            table += &format!("| {stack} | modify | | outputs alone | |\n");
        }
    }
    let running = current(store, &target.stage).await?;
    if running.is_none_or(|running| running.app != release.app) {
        lines.push("app: another".into());
        table += "| app | modify | | | |\n";
    }
    if lines.is_empty() {
        lines.push("nothing changes".into());
        table += "| | nothing | | | |\n";
    }
    ui::print(&title);
    for line in &lines {
        ui::print(format!("  {line}"));
    }
    if let Some(summary) = &consent.summary {
        let head = "| stack | change | resource | type | of it |\n|---|---|---|---|---|";
        let text = format!("### {title}\n\n{head}\n{table}");
        fs::write(summary, text)
            .with_context(|| format!("{} cannot be written", summary.display()))?;
    }
    if !changes.is_empty() {
        work.guard(stacks, store, target, &consent.allow_replacement)
            .await?;
    }
    Ok(lines)
}

/// Asks whether to go on.
fn ask(stage: &StageName) -> Result<()> {
    if !stdin().is_terminal() {
        bail!("nobody can be asked here: say --yes, or --show to change nothing");
    }
    ui::say(format!("Type {} to go on:", style(stage).bold()));
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    if answer.trim() != stage.as_ref() {
        bail!("nothing was changed");
    }
    Ok(())
}

/// The number of a stage's next release.
async fn next(store: &Store, stage: &StageName) -> Result<u32> {
    Ok(store
        .releases(stage)
        .await?
        .first()
        .map_or(1, |release| release.number + 1))
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who works here.
pub(crate) fn who() -> String {
    let named = ["GITHUB_ACTOR", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| env::var(name).ok());
    named
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "somebody".into())
}

/// The commit of a checkout.
#[derive(Debug, Default)]
struct Commit {
    hash: Option<String>,
    branch: Option<String>,
    dirty: bool,
}

impl Commit {
    /// What Git says of it. A copy without its history has none.
    fn of(root: &Path) -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(arguments)
                .current_dir(root)
                .output()
                .ok()?;
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(said)
        };
        let branch = env::var("GITHUB_HEAD_REF")
            .ok()
            .filter(|branch| !branch.is_empty());
        Self {
            hash: git(&["rev-parse", "HEAD"]),
            branch: branch.or_else(|| git(&["rev-parse", "--abbrev-ref", "HEAD"])),
            dirty: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
        }
    }
}

/// How long ago something was.
fn age(at: u64) -> String {
    let seconds = now().saturating_sub(at) / 1000;
    match seconds {
        0..120 => format!("{seconds:>3} s ago"),
        120..7200 => format!("{:>3} min ago", seconds / 60),
        7200..172_800 => format!("{:>3} h ago", seconds / 3600),
        _ => format!("{:>3} d ago", seconds / 86_400),
    }
}
