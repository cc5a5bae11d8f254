//! [`StageContext`]: a stage, and clients for the stacks and the bucket of releases of the stage's account.

use anyhow::{Result, bail};

use super::{
    lease::Lease,
    record::{Release, current},
    stack::Stacks,
    store::Store,
    table::{Infrastructure, StageName},
    target::Target,
};
use crate::{cloud::running_stage, stage::STAGE, workspace::Workspace};

/// A stage, and clients for the stacks and the bucket of releases of the stage's account.
#[derive(Debug, Clone)]
pub(crate) struct StageContext {
    /// The checkout of this repository that the command runs in.
    pub(crate) workspace: Workspace,
    /// The stage and the stage's account.
    pub(crate) target: Target,
    /// A client for the stage's objects in the account's bucket of releases.
    pub(crate) store: Store,
    /// A client for the account's CloudFormation stacks.
    pub(crate) stacks: Stacks,
}

impl StageContext {
    /// Creates the context of a stage in the cloud from the stage's row in serverless.yml. Checks that the credentials
    /// belong to the stage's account.
    ///
    /// `infrastructure` says whether the stage uses its own tables, bucket and users, or those of the stage dev. If
    /// `infrastructure` is `None`, the choice comes from the stage's row, or from the latest release of a stage that
    /// has no row of its own.
    ///
    /// # Errors
    /// Fails if the credentials are missing or belong to another account, or if `stage` is the name that is reserved
    /// for `cargo xtask dev`.
    pub(crate) async fn open(
        workspace: &Workspace,
        stage: &StageName,
        infrastructure: Option<Infrastructure>,
    ) -> Result<Self> {
        if stage.as_ref() == STAGE {
            bail!("the stage {STAGE} is reserved for cargo xtask dev; choose another name");
        }
        let target = Target::read(workspace, stage, infrastructure).await?;
        target.account.check(&target.row).await?;
        let context = Self::new(workspace, target);
        if infrastructure.is_some() || context.target.has_own_row {
            return Ok(context);
        }
        let releases = context.releases().await?;
        match releases.first().map(|release| release.infrastructure) {
            Some(recorded) if recorded != context.target.row.infrastructure => {
                let target = Target::read(workspace, stage, Some(recorded)).await?;
                Ok(Self::new(workspace, target))
            }
            _ => Ok(context),
        }
    }

    /// Creates the context of a stage in the cloud, as [`StageContext::open`] does, or of the stage that
    /// `cargo xtask dev` runs.
    ///
    /// # Errors
    /// Fails if the credentials are missing or belong to another account, or if the local stage does not run.
    pub(crate) async fn open_any(workspace: &Workspace, stage: &StageName) -> Result<Self> {
        if stage.as_ref() != STAGE {
            return Self::open(workspace, stage, None).await;
        }
        let local = running_stage(workspace)?;
        Ok(Self::new(workspace, Target::local(workspace, &local)?))
    }

    /// Creates the context of a stage. Does not check the credentials.
    pub(crate) fn new(workspace: &Workspace, target: Target) -> Self {
        let store = Store::new(&target.account, &target.stage);
        Self {
            workspace: workspace.clone(),
            stacks: Stacks::new(&target, &store),
            store,
            target,
        }
    }

    /// Reads the stage's releases, the newest first. Empty if the account has no bucket of releases yet.
    ///
    /// # Errors
    /// Fails if a record of a release cannot be read.
    pub(crate) async fn releases(&self) -> Result<Vec<Release>> {
        self.store.releases().await
    }

    /// Returns the release that the stage runs. `None` if no release of the stage succeeded.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn current_release(&self) -> Result<Option<Release>> {
        Ok(current(&self.releases().await?).cloned())
    }

    /// Returns the number for the stage's next release: 1 if the stage has no release.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn next_number(&self) -> Result<u32> {
        let releases = self.releases().await?;
        Ok(releases.first().map_or(1, |release| release.number + 1))
    }

    /// Takes the stage's lock. `purpose` says why, such as "a deploy". If another process tries to take the lock while
    /// this process holds it, the other process's error message contains `purpose`. Then waits until CloudFormation
    /// executes no operation on a stack of the stage, because a command that was interrupted may have started one.
    ///
    /// # Errors
    /// Fails if another process holds the lock, or a request to CloudFormation fails.
    pub(crate) async fn lock(&self, purpose: &str) -> Result<Lease> {
        let lease = Lease::take(&self.store, purpose).await?;
        match self.stacks.wait_until_idle().await {
            Ok(()) => Ok(lease),
            Err(error) => lease.during(async { Err(error) }).await,
        }
    }
}
