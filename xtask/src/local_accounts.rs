//! Local clouds that emulate the AWS accounts of serverless.yml, so that commands such as `deploy` and `promote` can
//! run without AWS.

use std::path::PathBuf;

use anyhow::{Result, bail};
use console::style;

use crate::{
    cloud::Cloud,
    process::shutdown_signal,
    release::Tables,
    stage::{LocalStage, write_atomically},
    tools, ui,
    workspace::Workspace,
};

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
            let mut stage = LocalStage::in_account(workspace, &format!("{folder}/{id}"), id)?;
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
        Ok(accounts)
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
    for (name, value) in [
        ("AWS_CONFIG_FILE", accounts.config.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
    ] {
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
