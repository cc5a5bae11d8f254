//! The account that a stage is in: its credentials, and the guard that they are the right ones.

use std::{env, time::Duration};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_types::{
    os_shim_internal::{Env, Fs},
    region::Region,
};
use tokio::process::Command;

use super::store::Store;
use super::table::{Architecture, Infrastructure, Row, StageName, Tables};
use crate::{
    stage::{ACCOUNT, LocalStage, STAGE},
    ui,
    workspace::Workspace,
};

/// How long a connection from a developer's machine may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the stage table takes from the environment.
const SETTINGS: [&str; 5] = [
    "SCRATCHPAD_ARCHITECTURE",
    "SCRATCHPAD_BUILD",
    "SCRATCHPAD_INFRASTRUCTURE",
    "SCRATCHPAD_STRIPE_URL",
    "SCRATCHPAD_TRAFFIC",
];

/// An AWS account that the credentials at hand belong to, or a local cloud that plays it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its number.
    pub(crate) id: String,
    /// Its row in the account table.
    pub(crate) name: String,
    config: SdkConfig,
}

/// A stage, and the account that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) stage: StageName,
    /// Its row in the stage table.
    pub(crate) row: Row,
    /// Whether the row is for it alone.
    pub(crate) listed: bool,
    /// Where it is.
    pub(crate) account: Account,
    settings: Settings,
}

impl Target {
    /// The stage of that name.
    ///
    /// # Errors
    /// When the credentials at hand are of another account, or there are none.
    pub(crate) async fn open(
        workspace: &Workspace,
        stage: &StageName,
        infrastructure: Option<Infrastructure>,
    ) -> Result<Self> {
        if stage.as_ref() == STAGE {
            bail!("the stage {STAGE} is for cargo xtask dev alone");
        }
        let target = Self::unchecked(workspace, stage, infrastructure).await?;
        target.account.check(&target.row).await?;
        if infrastructure.is_some() || target.listed {
            return Ok(target);
        }
        // What was said when it was deployed first goes on to hold.
        let store = Store::new(&target.account);
        let releases = if store.exists().await? {
            store.releases(stage).await?
        } else {
            Vec::new()
        };
        match releases.first().map(|release| release.infrastructure) {
            Some(said) if said != target.row.infrastructure => {
                Self::unchecked(workspace, stage, Some(said)).await
            }
            _ => Ok(target),
        }
    }

    /// The stage of that name, for making its templates alone.
    ///
    /// # Errors
    /// When its row cannot be read.
    pub(crate) async fn unchecked(
        workspace: &Workspace,
        stage: &StageName,
        infrastructure: Option<Infrastructure>,
    ) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |_| None)?;
        let row = tables.row(stage)?;
        if infrastructure.is_some() && tables.lists(stage) {
            bail!(
                "--infrastructure is for stages without a row in serverless.yml; change the row of {stage} instead"
            );
        }
        let account = Account::of(&tables, row).await?;
        let mut settings = if account.is_local() {
            Settings::local()
        } else {
            Settings::default()
        };
        if let Some(infrastructure) = infrastructure {
            settings.set("SCRATCHPAD_INFRASTRUCTURE", infrastructure.name());
        }
        Self::new(workspace, stage.clone(), account, settings)
    }

    /// The stage that `cargo xtask dev` runs.
    ///
    /// # Errors
    /// When its row cannot be read.
    pub(crate) fn local(workspace: &Workspace, stage: &LocalStage) -> Result<Self> {
        let mut settings = Settings::local();
        settings.set("SCRATCHPAD_STRIPE_URL", &stage.stripe_url());
        let account = Account {
            id: ACCOUNT.into(),
            name: STAGE.into(),
            config: without_time_limits(&stage.aws()?.config()),
        };
        let name = STAGE.parse().map_err(anyhow::Error::msg)?;
        Self::new(workspace, name, account, settings)
    }

    fn new(
        workspace: &Workspace,
        stage: StageName,
        account: Account,
        settings: Settings,
    ) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |name| settings.get(name))?;
        let row = tables.row(&stage)?.clone();
        Ok(Self {
            listed: tables.lists(&stage),
            stage,
            row,
            account,
            settings,
        })
    }

    /// The same table for a deploy tool.
    pub(crate) fn configure<'a>(&self, tool: &'a mut Command) -> &'a mut Command {
        for name in SETTINGS {
            match self.settings.get(name) {
                Some(value) => tool.env(name, value),
                None => tool.env_remove(name),
            };
        }
        tool
    }

    /// What templates depend on besides the sources.
    pub(crate) fn set(&self) -> Vec<(&'static str, Option<String>)> {
        SETTINGS
            .map(|name| (name, self.settings.get(name)))
            .to_vec()
    }
}

/// What is set for the stage table.
#[derive(Debug, Clone, Default)]
struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// For a cloud on this machine.
    fn local() -> Self {
        Self(vec![
            ("SCRATCHPAD_ARCHITECTURE", Architecture::HOST.name().into()),
            (
                "SCRATCHPAD_BUILD",
                env::var("SCRATCHPAD_BUILD").unwrap_or_else(|_| "dev".into()),
            ),
            ("SCRATCHPAD_TRAFFIC", "AllAtOnce".into()),
        ])
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.into()));
    }

    fn get(&self, name: &str) -> Option<String> {
        let set = self.0.iter().find(|(known, _)| *known == name);
        set.map(|(_, value)| value.clone())
            .or_else(|| env::var(name).ok())
    }
}

impl Account {
    /// The account of a row, by the row's profile if the AWS configuration has it, and by the credentials at hand
    /// otherwise.
    ///
    /// # Errors
    /// When the AWS configuration or the account table cannot be read.
    pub(crate) async fn of(tables: &Tables, row: &Row) -> Result<Self> {
        let profiles =
            aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
        let profiles = profiles.context("the AWS configuration cannot be read")?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws::https(CONNECT_TIMEOUT).for_aws())
            .region(Region::new(tables.region.clone()));
        if let Some(profile) = &row.profile
            && profiles.profiles().any(|known| known == profile)
        {
            loader = loader.profile_name(profile);
        }
        let id = tables.account(&row.account)?.to_owned();
        Ok(Self {
            id,
            name: row.account.clone(),
            config: loader.load().await,
        })
    }

    /// Makes sure that the credentials are this account's.
    ///
    /// # Errors
    /// When they are another's, or there are none.
    pub(crate) async fn check(&self, row: &Row) -> Result<()> {
        let profile = row.profile.as_deref().unwrap_or("default");
        let caller = aws_sdk_sts::Client::new(&self.config)
            .get_caller_identity()
            .send()
            .await;
        let caller = caller.map_err(aws_sdk_sts::Error::from).with_context(|| {
            format!(
                "there are no credentials for account {} ({}): sign in with the profile {profile}, or set \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                self.id, self.name
            )
        })?;
        let found = caller.account().unwrap_or_default();
        if found != self.id {
            bail!(
                "the credentials at hand belong to account {found}, and this is for account {} ({}): nothing was \
                 touched. Sign in with the profile {profile}",
                self.id,
                self.name
            );
        }
        Ok(())
    }

    /// For AWS's clients.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Whether a cloud on this machine plays it.
    pub(crate) fn is_local(&self) -> bool {
        let endpoint = self.config.endpoint_url().unwrap_or_default();
        let host = endpoint.split("://").nth(1).unwrap_or_default();
        ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local))
    }

    /// The region that everything is in.
    pub(crate) fn region(&self) -> &str {
        self.config
            .region()
            .map_or("us-east-1", |region| region.as_ref())
    }

    /// S3, with addresses that any endpoint understands.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        // What has to be right is named by its hash.
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .force_path_style(self.is_local())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Where CloudFormation finds an object of the account's bucket.
    pub(crate) fn object_url(&self, bucket: &str, key: &str) -> String {
        match self.config.endpoint_url() {
            Some(endpoint) => format!("{endpoint}/{bucket}/{key}"),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/{key}", self.region()),
        }
    }
}

/// Functions have to answer in time; a deploy can wait.
fn without_time_limits(config: &SdkConfig) -> SdkConfig {
    let mut config = config.to_builder();
    config.set_timeout_config(None);
    config.build()
}

/// Says which account is worked on, for whoever watches.
pub(crate) fn announce(target: &Target) {
    let place = if target.account.is_local() {
        "played by this machine"
    } else {
        target.account.region()
    };
    ui::say(format!(
        "{} in account {} ({}, {place})",
        target.stage, target.account.id, target.account.name
    ));
}
