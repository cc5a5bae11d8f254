//! The steps that the deployment, promotion and removal of a stage share: record a release, update the stage to it, and
//! delete the artifacts that no release needs.

use anyhow::{Context, Error, Result};
use console::style;

use super::app; // part: web
use super::{
    change_plan::ChangePlan,
    context::StageContext,
    migrate,
    record::{Outcome, Release, current},
    secret,
    stack::StackFailed,
    store::{Store, error_code},
    template::Templates,
};
use crate::ui;

/// The maximum number of releases that the bucket stores for each stage, besides the release that the stage runs.
const STORED_RELEASES: usize = 20;

/// Stores the record and the `templates` of a new release, and runs `upload`, which must store the release's other
/// artifacts. Returns the ETag of the record. The caller must hold the stage's lock.
///
/// The record is stored first. Otherwise, `cargo xtask remove` would not find a stage whose first deploy was
/// interrupted between the artifacts and the record.
///
/// # Errors
/// Fails if an upload to S3 fails, or the content of an existing object does not match its name.
pub(crate) async fn persist(
    store: &Store,
    release: &Release,
    templates: impl IntoIterator<Item = &Templates>,
    upload: impl AsyncFnOnce() -> Result<()>,
) -> Result<String> {
    let etag = store.create_release(release).await?;
    for templates in templates {
        store.upload_templates(templates).await?;
    }
    upload().await?;
    Ok(etag)
}

/// Updates a stage to a release, records the release's outcome, and deletes the stage's oldest
/// releases. `etag` is the ETag of the release's record, which [`persist`] returned.
///
/// # Errors
/// Fails if a part of the stage cannot be created, updated or deleted. If a stack failed, the message says whether the stage was rolled back, and the release is recorded as failed. After any other
/// error, the release is still in progress: the next run of the same command continues.
pub(crate) async fn execute(
    stage: &StageContext,
    changes: &ChangePlan,
    release: &mut Release,
    etag: &str,
) -> Result<()> {
    let exports = stage.stacks.exports().await?;
    let result = async {
        changes.execute(stage).await?;
        // part: web {
        publish(stage, release).await.context(
            "the browser app is not published completely; run the same command again to continue",
        )?;
        // part: web }
        Ok(())
    };
    let result = result.await;
    match outcome(&result) {
        Outcome::Done => {
            release.outcome = Outcome::Done;
            stage
                .store
                .update_release(release, etag)
                .await
                .context("the stage runs the release, but the record of the release is not finished; run the same command again")?;
        }
        Outcome::Failed => {
            release.outcome = Outcome::Failed;
            // The error of the stack is more important than an error of this request.
            if let Err(error) = stage.store.update_release(release, etag).await {
                warn("the release is not recorded as failed", &error);
            }
        }
        Outcome::InProgress => {}
    }
    result?;
    // The stage runs the release now, so an error here must not look like a failed deploy.
    if let Err(error) = migrate::record_new_stage(stage, &exports).await {
        warn(
            "the stage is new, but the records that it needs no migration were not written",
            &error,
        );
    }
    if let Err(error) = prune_releases(stage).await {
        warn("old releases were not deleted", &error);
    }
    Ok(())
}

/// Returns the outcome to record for the result of an update of a stage. An error that is not about a failed stack says
/// nothing about the stage: a request may have been throttled, or the credentials may have expired.
fn outcome(result: &Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) if error.is::<StackFailed>() => Outcome::Failed,
        Err(_) => Outcome::InProgress,
    }
}

// part: web {
async fn publish(stage: &StageContext, release: &Release) -> Result<()> {
    match &release.app {
        Some(app) => {
            let exports = stage.stacks.exports().await?;
            app::publish(app, &stage.store, &stage.target, &exports).await
        }
        None => Ok(()),
    }
}
// part: web }

fn warn(problem: &str, error: &Error) {
    ui::say(format!("{} {problem}: {error:#}", style("!").yellow()));
}

/// Deletes all releases of the stage but the newest [`STORED_RELEASES`] and the one that the stage runs, and the
/// artifacts that no release needs.
async fn prune_releases(stage: &StageContext) -> Result<()> {
    let releases = stage.releases().await?;
    let running = current(&releases).map(|release| release.number);
    let old = releases.iter().skip(STORED_RELEASES);
    let old: Vec<_> = old
        .filter(|release| Some(release.number) != running)
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    for release in old {
        stage.store.delete_release(release).await?;
    }
    if let Err(error) = stage.store.prune().await {
        warn("unused artifacts were not deleted", &error);
    }
    Ok(())
}

/// Deletes all artifacts of a stage. Prints a warning if the credentials have no permission to do so, because the IAM
/// roles of some workflows may not delete artifacts.
///
/// # Errors
/// Fails if an S3 request fails for another reason.
pub(crate) async fn delete_artifacts(store: &Store) -> Result<()> {
    match store.delete_artifacts().await {
        Err(error) if error_code(&error) == Some("AccessDenied") => {
            warn("the artifacts of the stage were not deleted", &error);
            Ok(())
        }
        result => result,
    }
}

/// Prints the URLs of a stage. Also prints a warning with the names of the secrets that the stage
/// needs but does not have, and one for each migration that its data needs. Prints only a warning if a request to AWS
/// fails, because the command has succeeded already.
pub(crate) async fn print_endpoints(stage: &StageContext) {
    if let Err(error) = try_print_endpoints(stage).await {
        warn(
            "the URLs, the secrets and the migrations of the stage are not known",
            &error,
        );
    }
}

async fn try_print_endpoints(stage: &StageContext) -> Result<()> {
    let target = &stage.target;
    let exports = stage.stacks.exports().await?;
    let urls = [
        ("API", "ApiUrl"),
        ("app", "WebUrl"), // part: web
    ];
    for (label, name) in urls {
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
    migrate::print_pending(stage, &exports).await
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_a_failed_stack_is_recorded_as_a_failed_release() {
        let failed = || Error::from(StackFailed("the stack failed".into()));
        for (result, expected) in [
            (Ok(()), Outcome::Done),
            (Err(failed()), Outcome::Failed),
            (Err(failed().context("rolled back")), Outcome::Failed),
            (Err(anyhow!("Rate exceeded")), Outcome::InProgress),
            (
                Err(anyhow!("ExpiredToken").context("cannot describe")),
                Outcome::InProgress,
            ),
        ] {
            assert_eq!(outcome(&result), expected, "{result:?}");
        }
    }
}
