//! Local clouds that emulate the AWS accounts of serverless.yml, so that commands such as `deploy` and `promote` can
//! run without AWS.

use std::{env, path::PathBuf};

use anyhow::{Context, Result, bail};
use console::style;
use tokio::process::Command;

use crate::{
    cloud::Cloud,
    process::shutdown_signal,
    release::{StageName, Tables},
    stage::{LocalStage, write_atomically},
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// Names of stages. Each account in serverless.yml has at least one of these stages.
const STAGES: [&str; 3] = ["dev", "prod", "pr-1"];

/// The running local clouds, one for each AWS account of serverless.yml. Dropping this value does not stop the clouds:
/// call [`LocalAccounts::stop`].
pub(crate) struct LocalAccounts {
    clouds: Vec<(LocalStage, Cloud)>,
    /// The path of an AWS configuration file that has a profile for each account.
    pub(crate) config: PathBuf,
}

impl LocalAccounts {
    /// Starts a local cloud for each AWS account of serverless.yml. The data of each cloud is in a subfolder of
    /// target/`folder`. If `fresh` is true, the data of earlier runs is deleted first.
    ///
    /// # Errors
    /// Fails if a local cloud does not start. The message contains the end of that cloud's log.
    pub(crate) async fn start(workspace: &Workspace, folder: &str, fresh: bool) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |_| None)?;
        let config = workspace
            .root()
            .join("target")
            .join(folder)
            .join("aws-config");
        let mut accounts = Self {
            clouds: Vec::new(),
            config,
        };
        let mut profiles = String::new();
        for row in tables.accounts() {
            let id = tables.account(&row.account)?;
            let stage = LocalStage::in_account(workspace, &format!("{folder}/{id}"), id)?;
            let mut stage = stage.recording_calls();
            if fresh {
                if let Some(cloud) = Cloud::running(&stage) {
                    cloud.stop(&stage).await?;
                }
                stage.clear_folder("data")?;
            }
            let cloud = ui::step(
                &format!("start account {id} ({})", row.account),
                Cloud::ensure(workspace, &mut stage),
            )
            .await?;
            let profile = row.profile.as_deref().unwrap_or(&row.account);
            profiles += &format!(
                "[profile {profile}]\nregion = {}\nendpoint_url = {}\naws_access_key_id = {id}\naws_secret_access_key = local\n\n",
                tables.region,
                stage.url()
            );
            accounts.clouds.push((stage, cloud));
        }
        write_atomically(&accounts.config, profiles.as_bytes())?;
        if let Err(error) = accounts.bootstrap_all(&tables).await {
            accounts.stop().await?;
            return Err(error);
        }
        Ok(accounts)
    }

    /// The environment variables that make AWS clients use the local clouds.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("AWS_CONFIG_FILE", self.config.display().to_string()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
        ]
    }

    /// Creates the account-wide stacks of all accounts.
    async fn bootstrap_all(&self, tables: &Tables) -> Result<()> {
        for row in tables.accounts() {
            let stage = stage_in(tables, &row.account)?;
            self.bootstrap(&row.account, &stage).await?;
        }
        Ok(())
    }

    /// Runs `cargo xtask bootstrap` for the account with the name `account`. `stage` is a stage of this account.
    async fn bootstrap(&self, account: &str, stage: &StageName) -> Result<()> {
        let step = Step::begin(format!("bootstrap account {account}"));
        let mut xtask = Command::new(env::current_exe()?);
        xtask
            .args(["bootstrap", "--stage", stage.as_ref()])
            .envs(self.environment());
        ui::run(&step, &mut xtask).await?;
        step.done("");
        Ok(())
    }

    /// Stops all local clouds, and waits until each has saved its data.
    ///
    /// # Errors
    /// Fails if a local cloud does not stop.
    pub(crate) async fn stop(self) -> Result<()> {
        for (stage, cloud) in self.clouds {
            cloud.stop(&stage).await?;
        }
        Ok(())
    }
}

/// Returns the first stage of [`STAGES`] that is in the account with the name `account`.
fn stage_in(tables: &Tables, account: &str) -> Result<StageName> {
    let mut stages = STAGES.iter().filter_map(|name| name.parse().ok());
    let stage = stages.find(|stage| tables.row(stage).is_ok_and(|row| row.account == account));
    stage.with_context(|| {
        format!(
            "none of the stages {} is in account {account}",
            STAGES.join(", ")
        )
    })
}

/// Runs `cargo xtask local-accounts`: starts the local clouds, prints how to use them, and stops them at Ctrl-C.
///
/// # Errors
/// Fails if the local accounts run already, or if a local cloud does not start or stop.
pub(crate) async fn local_accounts(fresh: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let stage = LocalStage::open(&workspace, "accounts")?;
    let Some(_lock) = stage.try_lock("accounts.lock")? else {
        bail!(
            "cannot start the local accounts: they run already; press Ctrl-C in the terminal that runs them"
        )
    };
    let accounts = tokio::select! {
        accounts = LocalAccounts::start(&workspace, "accounts", fresh) => accounts?,
        () = shutdown_signal() => bail!("a signal stopped xtask before the local accounts were ready"),
    };
    ui::say(format!(
        "\n  {}\n",
        style("To use the local accounts, set these variables in another terminal:").bold()
    ));
    for (name, value) in accounts.environment() {
        ui::say(format!("  export {name}={value}"));
    }
    ui::say("");
    ui::success(format!(
        "the local accounts are ready; stop them with {}",
        style("Ctrl-C").bold()
    ));
    shutdown_signal().await;
    ui::say("");
    ui::step("stop the local clouds", accounts.stop()).await?;
    ui::success("stopped; the accounts' data is kept in target/accounts");
    Ok(())
}
