//! The stage that a command works on, with its row of the stage table and its account.

use std::{collections::BTreeMap, env};

use anyhow::{Result, bail};
use tokio::process::Command;

use super::{
    account::Account,
    table::{Architecture, Infrastructure, StageName, StageRow, Tables},
};
use crate::{
    stage::{LocalStage, STAGE},
    ui,
    workspace::Workspace,
};

/// The environment variables that the stage table refers to.
const TABLE_VARIABLES: [&str; 5] = [
    "SCRATCHPAD_ARCHITECTURE",
    "SCRATCHPAD_BUILD",
    "SCRATCHPAD_INFRASTRUCTURE",
    "SCRATCHPAD_STRIPE_URL",
    "SCRATCHPAD_TRAFFIC",
];

/// A stage, and the account that it is in.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The stage's name.
    pub(crate) stage: StageName,
    /// The stage's row, or the row `ephemeral`.
    pub(crate) row: StageRow,
    /// Whether the stage has a row of its own.
    pub(crate) has_own_row: bool,
    /// The stage's account.
    pub(crate) account: Account,
    overrides: Overrides,
}

impl Target {
    /// Reads the rows of a stage. Does not check the credentials.
    ///
    /// # Errors
    /// Fails if a row cannot be read, or if `infrastructure` is given for a stage with a row of its own.
    pub(crate) async fn read(
        workspace: &Workspace,
        stage: &StageName,
        infrastructure: Option<Infrastructure>,
    ) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |_| None)?;
        let row = tables.row(stage)?;
        if infrastructure.is_some() && tables.has_row(stage) {
            bail!(
                "--infrastructure is only for stages without a row in serverless.yml; change the row of {stage} instead"
            );
        }
        let account = Account::of_row(&tables, row).await?;
        let mut overrides = if account.is_local() {
            Overrides::local()
        } else {
            Overrides::default()
        };
        if let Some(infrastructure) = infrastructure {
            overrides.set("SCRATCHPAD_INFRASTRUCTURE", infrastructure.name());
        }
        Self::new(workspace, stage.clone(), account, overrides)
    }

    /// Returns the target for the stage that `cargo xtask dev` runs.
    ///
    /// # Errors
    /// Fails if the row of the stage cannot be read.
    pub(crate) fn local(workspace: &Workspace, stage: &LocalStage) -> Result<Self> {
        let mut overrides = Overrides::local();
        overrides.set("SCRATCHPAD_STRIPE_URL", &stage.stripe_url());
        let account = Account::of_local_stage(stage)?;
        let name = STAGE.parse().map_err(anyhow::Error::msg)?;
        Self::new(workspace, name, account, overrides)
    }

    fn new(
        workspace: &Workspace,
        stage: StageName,
        account: Account,
        overrides: Overrides,
    ) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |name| overrides.get(name))?;
        let row = tables.row(&stage)?.clone();
        Ok(Self {
            has_own_row: tables.has_row(&stage),
            stage,
            row,
            account,
            overrides,
        })
    }

    /// Sets the environment variables that the stage table refers to, for a tool that reads the table.
    pub(crate) fn configure<'a>(&self, tool: &'a mut Command) -> &'a mut Command {
        for (name, value) in self.table_variables() {
            match value {
                Some(value) => tool.env(name, value),
                None => tool.env_remove(name),
            };
        }
        tool
    }

    /// The environment variables that the stage table refers to, with their values.
    pub(crate) fn table_variables(&self) -> Vec<(&'static str, Option<String>)> {
        TABLE_VARIABLES
            .map(|name| (name, self.overrides.get(name)))
            .to_vec()
    }

    /// The stage whose DynamoDB tables, bucket, users and secrets this stage uses: itself or dev.
    pub(crate) fn infrastructure_stage(&self) -> String {
        match self.row.infrastructure {
            Infrastructure::Own => self.stage.to_string(),
            Infrastructure::Dev => Infrastructure::Dev.name().into(),
        }
    }

    /// Converts an exported URL of the stage to one that can be called: on a local cloud, an API has another URL.
    /// `exports` are the exports of the account's stacks.
    pub(crate) fn reachable_url(&self, exports: &BTreeMap<String, String>, url: &str) -> String {
        let api = exports.get(&format!("scratchpad-{}-RestApiId", self.stage));
        match (self.account.config().endpoint_url(), api) {
            (Some(endpoint), Some(api)) if url.contains("execute-api") => {
                format!("{endpoint}/_aws/execute-api/{api}/{}", self.stage)
            }
            _ => url.into(),
        }
    }

    /// Prints the stage and its account.
    pub(crate) fn announce(&self) {
        let location = if self.account.is_local() {
            "emulated on this machine"
        } else {
            self.account.region()
        };
        ui::say(format!(
            "{} in account {} ({}, {location})",
            self.stage, self.account.id, self.account.name
        ));
    }
}

/// Values of environment variables that take precedence over those of this process.
#[derive(Debug, Clone, Default)]
struct Overrides(Vec<(&'static str, String)>);

impl Overrides {
    /// The values for a local cloud.
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
        let found = self.0.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| value.clone())
            .or_else(|| env::var(name).ok())
    }
}
