//! Deploys the stage `local`, and writes the URLs, IDs and names of its resources to `stage.json`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::{
    release::{self, Target},
    stage::{Description, LocalStage, STAGE},
    workspace::Workspace,
};

/// Deploys all stacks to the local cloud of `stage`, and writes `stage.json`. The functions must have been built.
///
/// # Errors
/// Fails if a stack cannot be deployed. The message contains CloudFormation's reason.
pub(crate) async fn deploy(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
    let target = Target::local(workspace, stage)?;
    let exports = release::converge(workspace, &target).await?;
    stage.write_description(&description(stage, &exports)?)
}

/// Synthesizes the templates that [`deploy`] needs, so that it finds them in the cache.
///
/// # Errors
/// Fails if a manifest or the CDK app is invalid. The message contains the tool's output.
pub(crate) async fn synthesize(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
    release::templates(workspace, &Target::local(workspace, stage)?).await?;
    Ok(())
}

fn description(stage: &LocalStage, exports: &BTreeMap<String, String>) -> Result<Description> {
    let export = |name: &str| {
        let full = format!("scratchpad-{STAGE}-{name}");
        exports
            .get(&full)
            .cloned()
            .with_context(|| format!("cannot find the export {full} in any stack"))
    };
    let api = export("RestApiId")?;
    Ok(Description {
        api_url: format!("{}/_aws/execute-api/{api}/{STAGE}", stage.url()),
        cloud_url: stage.url(),
        region: stage.region().into(),
        user_pool_id: export("UserPoolId")?,
        user_pool_client_id: export("UserPoolClientId")?,
        identity_pool_id: export("IdentityPoolId")?,
        attachments_bucket: export("AttachmentsBucketName")?,
        notes_table: export("NotesTableName")?,
        purchases_table: export("PurchasesTableName")?, // part: billing
        idempotency_table: export("IdempotencyTableName")?,
        stripe_url: stage.server_url(crate::stripe::SERVER), // part: billing
        web_url: stage.web_url(),                            // part: web
    })
}
