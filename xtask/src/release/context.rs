//! A stage, with the clients for its account that a command needs.

use anyhow::{Result, bail};

use super::{
    lease::Lease,
    record::{Release, current},
    stack::Stacks,
    store::Store,
    table::{Infrastructure, StageName},
    target::Target,
};
use crate::{stage::STAGE, workspace::Workspace};

/// A stage, the bucket of releases of its account, and the stacks of its account.
#[derive(Debug, Clone)]
pub(crate) struct StageContext {
    /// The checkout.
    pub(crate) workspace: Workspace,
    /// The stage and its account.
    pub(crate) target: Target,
    /// The account's bucket of releases.
    pub(crate) store: Store,
    /// The account's stacks.
    pub(crate) stacks: Stacks,
}

impl StageContext {
    /// Reads the rows of a stage in the cloud, and checks the credentials.
    ///
    /// A stage without a row in serverless.yml keeps the `infrastructure` option of its latest release, unless
    /// `infrastructure` is given.
    ///
    /// # Errors
    /// Fails if the credentials are missing or belong to another account, or if the stage is the local one.
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

    /// Creates a context without a check of the credentials.
    pub(crate) fn new(workspace: &Workspace, target: Target) -> Self {
        let store = Store::new(&target.account);
        Self {
            workspace: workspace.clone(),
            stacks: Stacks::new(&target, &store),
            store,
            target,
        }
    }

    /// The stage's releases, the newest first. Empty if the account has no bucket yet.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn releases(&self) -> Result<Vec<Release>> {
        if self.store.exists().await? {
            self.store.releases(&self.target.stage).await
        } else {
            Ok(Vec::new())
        }
    }

    /// The release that the stage runs. `None` if no release succeeded.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn current_release(&self) -> Result<Option<Release>> {
        Ok(current(&self.releases().await?).cloned())
    }

    /// The number of the stage's next release.
    ///
    /// # Errors
    /// Fails if the S3 request fails.
    pub(crate) async fn next_number(&self) -> Result<u32> {
        let releases = self.store.releases(&self.target.stage).await?;
        Ok(releases.first().map_or(1, |release| release.number + 1))
    }

    /// Takes the stage's lock. If another process tries to take the lock, its error message contains `purpose`, such as
    /// "a deploy".
    ///
    /// # Errors
    /// Fails if another process holds the lock.
    pub(crate) async fn lock(&self, purpose: &str) -> Result<Lease> {
        Lease::take(
            &self.store,
            &format!("releases/{}", self.target.stage),
            purpose,
        )
        .await
    }
}
