//! The steps that the deployment, promotion and removal of a stage share: record a release, update the stage to it, and
//! delete the artifacts that no release needs.

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

/// The maximum number of releases that the bucket stores for each stage.
const STORED_RELEASES: usize = 20;

/// The path of the artifacts lock. A process holds this lock while it adds or deletes artifacts in the account's
/// bucket.
const ARTIFACTS_LOCK: &str = "artifacts";

/// Stores the record and the `templates` of a release, and runs `upload`, which must store the release's other
/// artifacts. Holds the artifacts lock meanwhile, so that no other process deletes artifacts that the release needs.
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

/// Updates a stage's stacks and browser app to a release, records the release's outcome, and deletes the stage's oldest
/// releases.
///
/// # Errors
/// Fails if a stack cannot be created, updated or deleted, or if the browser app cannot be published. After a
/// failed creation or update, the message says whether the stage was rolled back.
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

/// Deletes all releases of the stage but the newest [`STORED_RELEASES`], and the artifacts that no release needs.
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

/// Deletes the artifacts that no release needs. Ignores the releases of `removed_stage`. If the deletion fails, prints
/// a warning and returns `Ok`, because the IAM roles of workflows have no permission to delete artifacts.
///
/// # Errors
/// Fails if the artifacts lock cannot be taken.
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

/// Prints the URLs of a stage's API and browser app. Also prints a warning with the names of the secrets that the stage
/// needs but does not have.
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
