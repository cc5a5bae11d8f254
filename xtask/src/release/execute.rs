//! The steps that deployments, promotions and removals share: the record of a release, its execution, and the deletion
//! of what no release needs.

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

/// How many releases of a stage are stored.
const STORED_RELEASES: usize = 20;

/// The path of the lock for adding and deleting artifacts of the account.
const ARTIFACTS_LOCK: &str = "artifacts";

/// Stores a release and everything that it needs: its record, then its templates, then what `upload` uploads. The lock
/// keeps another process from pruning artifacts in between.
///
/// # Errors
/// Fails if S3 refuses an object.
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
/// Fails if a stack fails. The message says which release the stage then runs.
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
    prune_releases(stage).await
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

/// Deletes the artifacts that no release needs. The releases of `removed_stage` do not count. A missing permission to
/// delete is printed, but is not an error: the roles of workflows do not have it, because stages share artifacts.
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

/// Prints the URLs of a stage, and the secrets that it lacks.
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
            "{} {stage} lacks {}: functions that read a missing secret fail at startup. Set each: cargo xtask secrets set NAME --stage {stage}",
            style("!").yellow(),
            missing.join(", ")
        ));
    }
    Ok(())
}
