//! `cargo xtask deploy`: deploys the sources to a stage in the cloud. [`converge`] deploys the sources to the local
//! stage.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use console::style;

use super::app; // part: web
use super::record::App; // part: web
use super::stripe_keys; // part: billing
use super::{
    artifacts,
    bootstrap::{self, check_bootstrapped},
    change_plan::ChangePlan,
    clock::now,
    context::StageContext,
    execute::{execute, persist, print_endpoints},
    migrate,
    plan::{DeployPlan, templates_with_code},
    provenance::{Commit, actor},
    record::{Function, Outcome, Release, current},
    sources::Sources,
    synth,
    table::{Infrastructure, StageName},
    target::Target,
    template::{Template, Templates},
};
use crate::{
    build::{self, Level},
    tools, ui,
    workspace::Workspace,
};

/// `cargo xtask deploy`: builds a release from the sources and deploys it to `stage`. `allowed` has the IDs of the
/// resources whose data the deploy may delete.
///
/// # Errors
/// Fails if a function does not compile, if the deploy would delete other data, or if a stack cannot be updated. The
/// message says whether the stage was rolled back.
pub(crate) async fn deploy(
    stage: &StageName,
    infrastructure: Option<Infrastructure>,
    allowed: &[String],
) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let context = StageContext::open(&workspace, stage, infrastructure).await?;
    context.target.announce();
    check_bootstrapped(&context).await?;
    stripe_keys::check(&context.target).await?; // part: billing
    let plan = DeployPlan::compute(context).await?;
    plan.print();
    if let Some(release) = plan.up_to_date_release()
        && plan.stage.store.has_artifacts(release).await?
    {
        print_endpoints(&plan.stage).await;
        ui::say(format!(
            "{} {stage} runs release {} of these sources; nothing was changed",
            style("✓").green(),
            release.number
        ));
        return Ok(());
    }
    let lease = plan.stage.lock("a deploy").await?;
    let release = lease.during(deploy_locked(&plan, allowed)).await?;
    print_endpoints(&plan.stage).await;
    ui::say(format!(
        "{} {stage} runs release {} ({})",
        style("✓").green(),
        release.number,
        release.changed_functions(current(&plan.releases))
    ));
    Ok(())
}

/// Builds a release from the sources and deploys it. The caller must hold the stage's lock.
async fn deploy_locked(plan: &DeployPlan, allowed: &[String]) -> Result<Release> {
    let (stage, desired) = (&plan.stage, &plan.desired);
    let functions = artifacts::functions(stage, &desired.sources).await?;
    let (app, app_folder) = app::of_release(stage, &desired.app).await?; // part: web
    let promotion = promotion_templates(stage, &desired.sources, &functions).await?;
    let templates = desired.templates(|name| artifact(&functions, name));
    // Another process may have changed the stage after the plan was computed, because the plan does not take the lock.
    let changes = ChangePlan::compute(stage, &templates).await?;
    changes.check_data_loss(stage, allowed).await?;
    let mut release = new_release(
        plan,
        functions,
        app, // part: web
        &templates,
        promotion.as_ref(),
    )
    .await?;
    let promotion = promotion.as_ref().map(|(_, templates)| templates);
    let etag = persist(
        &stage.store,
        &release,
        [&templates].into_iter().chain(promotion),
        async || {
            app::upload(stage, release.app.as_ref(), app_folder.as_deref()).await?; // part: web
            artifacts::upload(stage, &release.functions).await
        },
    )
    .await?;
    execute(stage, &changes, &mut release, &etag).await?;
    Ok(release)
}

async fn new_release(
    plan: &DeployPlan,
    functions: BTreeMap<String, Function>,
    app: App, // part: web
    templates: &Templates,
    promotion: Option<&(StageName, Templates)>,
) -> Result<Release> {
    let target = &plan.stage.target;
    let commit = Commit::read(plan.stage.workspace.root());
    Ok(Release {
        stage: target.stage.clone(),
        number: plan.stage.next_number().await?,
        started_at: now(),
        actor: actor(),
        commit: commit.hash,
        branch: commit.branch,
        dirty: commit.dirty,
        copied_from: None,
        outcome: Outcome::InProgress,
        changes: plan.record_lines(),
        architecture: target.row.architecture,
        infrastructure: target.row.infrastructure,
        functions,
        app: Some(app), // part: web
        stacks: hashes(templates),
        promotion: promotion.map(|(stage, templates)| (stage.clone(), hashes(templates))),
    })
}

/// Synthesizes the templates for the stage that the release can be promoted to. Returns that stage and its templates,
/// or `None` if the row of `stage` in serverless.yml has no `promotesTo`.
async fn promotion_templates(
    stage: &StageContext,
    sources: &BTreeMap<String, Sources>,
    functions: &BTreeMap<String, Function>,
) -> Result<Option<(StageName, Templates)>> {
    let Some(next) = &stage.target.row.promotes_to else {
        return Ok(None);
    };
    // The current credentials may be for another account, so this only reads the tables of serverless.yml.
    let next = Target::read(&stage.workspace, next, None).await?;
    let templates = synth::templates(&stage.workspace, &next).await?;
    let artifact = |name: &str| artifact(functions, name);
    let templates = templates_with_code(&next.stage, &templates, sources, artifact);
    Ok(Some((next.stage, templates)))
}

fn artifact(functions: &BTreeMap<String, Function>, name: &str) -> Option<String> {
    functions
        .get(name)
        .map(|function| function.artifact.clone())
}

fn hashes(templates: &Templates) -> BTreeMap<String, String> {
    templates
        .iter()
        .map(|(name, template)| (name.clone(), template.hash()))
        .collect()
}

/// Deploys the account's stacks and the sources to the local stage, and returns the CloudFormation exports of its
/// account. The caller must have built the functions. Records no release, because the local stage is never promoted or
/// rolled back.
///
/// # Errors
/// Fails if the deployment would delete data, or if a stack cannot be updated.
pub(crate) async fn converge(
    workspace: &Workspace,
    target: &Target,
) -> Result<BTreeMap<String, String>> {
    let stage = StageContext::new(workspace, target.clone());
    let templates = synth::templates(workspace, target).await?;
    bootstrap::apply(&stage).await?;
    let mut sources = BTreeMap::new();
    let mut functions = BTreeMap::new();
    for function in workspace.functions() {
        let binary = workspace.binaries().join(&function.name);
        let artifact = build::pack(workspace, &function.name, &binary, Level::Quick)?;
        sources.insert(function.name.clone(), Sources::of_binary(&artifact));
        functions.insert(function.name.clone(), artifact);
    }
    let artifact = |name: &str| functions.get(name).cloned();
    let desired = templates_with_code(&target.stage, &templates, &sources, artifact);
    let changes = ChangePlan::compute(&stage, &desired).await?;
    let exports = stage.stacks.exports().await?;
    if !changes.is_empty() {
        for artifact in changes.changed().values().flat_map(Template::artifacts) {
            let zip = workspace.zip_of(artifact);
            stage.store.upload_code(artifact, &zip).await?;
        }
        changes.check_data_loss(&stage, &[]).await?;
        changes.execute(&stage).await?;
        let artifacts: BTreeSet<_> = desired.values().flat_map(Template::artifacts).collect();
        stage.store.prune_code(&artifacts).await?;
        let artifacts: BTreeSet<_> = functions.values().map(String::as_str).collect();
        workspace.keep_zips(&artifacts)?;
        migrate::record_new_stage(&stage, &exports).await?;
    }
    let exports = stage.stacks.exports().await?;
    migrate::print_pending(&stage, &exports).await?;
    Ok(exports)
}
