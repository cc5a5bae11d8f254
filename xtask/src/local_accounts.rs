//! The accounts of the stage table, played on this machine: a place to try what is done to stages in the cloud.

use std::path::PathBuf;

use anyhow::{Result, bail};
use console::style;

use crate::{
    cloud::Cloud,
    dev::told_to_stop,
    release::Tables,
    stage::{LocalStage, write_whole},
    tools, ui,
    workspace::Workspace,
};

/// Local clouds, one for each account. They have to be stopped.
pub(crate) struct Accounts {
    clouds: Vec<(LocalStage, Cloud)>,
    /// An AWS configuration with a profile for each.
    pub(crate) config: PathBuf,
}

impl Accounts {
    /// Starts a cloud for each account, with its data below target/`folder`.
    ///
    /// # Errors
    /// With the end of its log when one does not come up.
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
                stage.empty("data")?;
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
        write_whole(&accounts.config, profiles.as_bytes())?;
        Ok(accounts)
    }

    /// Stops them.
    ///
    /// # Errors
    /// When one does not stop.
    pub(crate) async fn stop(self) -> Result<()> {
        for (stage, cloud) in self.clouds {
            cloud.stop(&stage).await?;
        }
        Ok(())
    }
}

/// `cargo xtask local-accounts`.
///
/// # Errors
/// When a cloud does not start.
pub(crate) async fn local_accounts(fresh: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    tools::prepare(&workspace).await?;
    let stage = LocalStage::open(&workspace, "accounts")?;
    let Some(_lock) = stage.try_lock("accounts.lock")? else {
        bail!("they are played already, in another terminal")
    };
    let accounts = tokio::select! {
        accounts = Accounts::start(&workspace, "accounts", fresh) => accounts?,
        () = told_to_stop() => bail!("stopped before they were ready"),
    };
    ui::say(format!(
        "\n  {}\n",
        style("In another terminal, by these all of cargo xtask works on them:").bold()
    ));
    for (name, value) in [
        ("AWS_CONFIG_FILE", accounts.config.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
    ] {
        ui::say(format!("  export {name}={value}"));
    }
    ui::say(format!(
        "\n{} {} ends them; what is in them stays",
        style("✓").green(),
        style("Ctrl-C").bold()
    ));
    told_to_stop().await;
    ui::say("");
    ui::step("stop", accounts.stop()).await
}
