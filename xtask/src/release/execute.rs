//! The steps that deployments, promotions and removals share: record a release, execute it, and delete the artifacts
//! that no release needs.

use anyhow::Result;
use console::style;

use super::{
    app,
    change_plan::ChangePlan,
    context::StageContext,
    lease::Lease,
    record::{Outcome, Release},
    secret,
    store::Store,
    table::StageName,
    template::Templates,
};
use crate::ui;

/// The maximum number of stored releases of a stage.
const STORED_RELEASES: usize = 20;

/// The path of the lock that a process holds while it adds or deletes artifacts of the account.
const ARTIFACTS_LOCK: &str = "artifacts";

/// Stores the record of a release and its templates, and runs `upload` for its other artifacts. It holds the artifacts
/// lock, so that no other process prunes the artifacts in between.
///
/// # Errors
/// Fails if an upload to S3 fails.
pub(crate) async fn persist(
    store: &Store,
    release: &Release,
    templates: impl IntoIterator<Item = &Templates>,
    upload: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let lease = Lease::wait(store, ARTIFACTS_LOCK, "an upload").await?;
    lease
        .during(async {
            store.write_release(release).await?;
            for templates in templates {
                store.upload_templates(templates).await?;
            }
            upload().await
        })
        .await
}

/// Updates a stage's stacks and its browser app to a release, records the outcome, and prunes old releases.
///
/// # Errors
/// Fails if a stack cannot be created, updated or deleted. The message says whether the stage was rolled back.
pub(crate) async fn execute(
    stage: &StageContext,
    changes: &ChangePlan,
    release: &mut Release,
) -> Result<()> {
    let result = async {
        changes.execute(stage).await?;
        match &release.app {
            Some(app) => {
                let exports = stage.stacks.exports().await?;
                app::publish(app, &stage.store, &stage.target, &exports).await
            }
            None => Ok(()),
        }
    };
    let result = result.await;
    release.outcome = if result.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    stage.store.write_release(release).await?;
    result?;
    // The stage runs the release now, so an error here must not look like a failed deploy.
    if let Err(error) = prune_releases(stage).await {
        ui::say(format!(
            "{} old releases were not deleted: {error:#}",
            style("!").yellow()
        ));
    }
    Ok(())
}

/// Deletes the stage's oldest releases, so that [`STORED_RELEASES`] remain.
async fn prune_releases(stage: &StageContext) -> Result<()> {
    let releases = stage.store.releases(&stage.target.stage).await?;
    let Some(old) = releases
        .get(STORED_RELEASES..)
        .filter(|old| !old.is_empty())
    else {
        return Ok(());
    };
    for release in old {
        stage.store.delete_release(release).await?;
    }
    prune(&stage.store, None).await
}

/// Deletes the artifacts that no release needs. Artifacts that only releases of `removed_stage` need are deleted too. If
/// the deletion fails, prints a warning and succeeds, because the roles of workflows have no permission to delete
/// artifacts.
///
/// # Errors
/// Fails if the lock cannot be taken.
pub(crate) async fn prune(store: &Store, removed_stage: Option<&StageName>) -> Result<()> {
    let lease = Lease::wait(store, ARTIFACTS_LOCK, "pruning").await?;
    if let Err(error) = lease.during(store.prune(removed_stage)).await {
        ui::say(format!(
            "{} unused artifacts were not deleted: {error:#}",
            style("!").yellow()
        ));
    }
    Ok(())
}

/// Prints the URLs of a stage, and a warning with the names of its missing secrets.
///
/// # Errors
/// Fails if the exports or the secrets cannot be listed.
pub(crate) async fn print_endpoints(stage: &StageContext) -> Result<()> {
    let target = &stage.target;
    let exports = stage.stacks.exports().await?;
    for (label, name) in [("API", "ApiUrl"), ("app", "WebUrl")] {
        if let Some(url) = exports.get(&format!("scratchpad-{}-{name}", target.stage)) {
            let url = target.reachable_url(&exports, url);
            ui::say(format!("  {label:<6}{}", style(url).cyan()));
        }
    }
    let missing = secret::missing(target).await?;
    if !missing.is_empty() {
        let stage = target.infrastructure_stage();
        ui::say(format!(
            "{} {stage} has no {}: functions that read a missing secret fail at a cold start. To set a secret, run cargo xtask secrets set NAME --stage {stage}",
            style("!").yellow(),
            missing.join(", ")
        ));
    }
    Ok(())
}
