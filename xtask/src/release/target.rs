//! The stage that a command reads or changes, with the stage's row of the stage table and the stage's account.

use std::{collections::BTreeMap, env};

use anyhow::{Context, Result, bail};
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

/// The names of the environment variables that rows of the stage table can refer to.
const TABLE_VARIABLES: &[&str] = &[
    "SCRATCHPAD_ARCHITECTURE",
    "SCRATCHPAD_BUILD",
    "SCRATCHPAD_INFRASTRUCTURE",
    "SCRATCHPAD_STRIPE_URL", // part: billing
    "SCRATCHPAD_TRAFFIC",
];

/// A stage, its row of the stage table and its AWS account.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The stage's name.
    pub(crate) stage: StageName,
    /// The stage's row of the stage table: its own row, the row whose pattern it matches, or the row `ephemeral`.
    pub(crate) row: StageRow,
    /// Whether `row` is the stage's own row, or one whose pattern it matches. False if it is the row `ephemeral`.
    pub(crate) has_own_row: bool,
    /// The AWS account of the stage.
    pub(crate) account: Account,
    overrides: Overrides,
}

impl Target {
    /// Reads the row of `stage` in the stage table and the row of its account. Does not check the AWS credentials.
    ///
    /// # Errors
    /// Fails if a row cannot be read, if the stage cannot have its name, or if `infrastructure` is given although the
    /// stage does not use the row `ephemeral`.
    pub(crate) async fn read(
        workspace: &Workspace,
        stage: &StageName,
        infrastructure: Option<Infrastructure>,
    ) -> Result<Self> {
        let tables = Tables::read(workspace.root(), |_| None)?;
        let row = tables.row(stage)?;
        if infrastructure.is_some() && !tables.is_ephemeral(stage)? {
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
    /// Fails if the row of the stage cannot be read, or the stage's AWS configuration is incomplete.
    pub(crate) fn local(workspace: &Workspace, stage: &LocalStage) -> Result<Self> {
        let overrides = Overrides::local();
        // part: billing {
        let overrides = {
            let mut overrides = overrides;
            let stripe = stage.server_url(crate::stripe::SERVER);
            overrides.set("SCRATCHPAD_STRIPE_URL", &stripe);
            overrides
        };
        // part: billing }
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
            has_own_row: !tables.is_ephemeral(&stage)?,
            stage,
            row,
            account,
            overrides,
        })
    }

    /// Sets the environment variables that the stage table refers to in `tool`, the command of a tool that reads the
    /// table. Removes the variables that have no value.
    pub(crate) fn configure<'a>(&self, tool: &'a mut Command) -> &'a mut Command {
        for (name, value) in self.table_variables() {
            match value {
                Some(value) => tool.env(name, value),
                None => tool.env_remove(name),
            };
        }
        tool
    }

    /// Returns the name and the value of each environment variable that the stage table can refer to. The value is
    /// `None` if the variable is not set.
    pub(crate) fn table_variables(&self) -> Vec<(&'static str, Option<String>)> {
        let names = TABLE_VARIABLES.iter();
        names
            .map(|name| (*name, self.overrides.get(name)))
            .collect()
    }

    /// Returns the name of the stage whose DynamoDB tables, bucket, users and secrets this stage uses. It is the name
    /// of this stage, or `dev`.
    pub(crate) fn infrastructure_stage(&self) -> String {
        match self.row.infrastructure {
            Infrastructure::Own => self.stage.to_string(),
            Infrastructure::Dev => Infrastructure::Dev.name().into(),
        }
    }

    /// Converts the URL in an export of the stage to a URL that accepts requests. Only the URL of an API in a local
    /// cloud changes. `exports` contains the exports of the account's stacks.
    pub(crate) fn reachable_url(&self, exports: &BTreeMap<String, String>, url: &str) -> String {
        let api = exports.get(&format!("scratchpad-{}-RestApiId", self.stage));
        match (self.account.config().endpoint_url(), api) {
            (Some(endpoint), Some(api)) if url.contains("execute-api") => {
                format!("{endpoint}/_aws/execute-api/{api}/{}", self.stage)
            }
            _ => url.into(),
        }
    }

    /// Prints the name of the stage, and the ID, name and region of its account.
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

/// Returns the export `name` of a stage. `exports` contains the exports of the account's stacks.
///
/// # Errors
/// Fails if no stack has this export.
pub(crate) fn export(
    exports: &BTreeMap<String, String>,
    stage: &str,
    name: &str,
) -> Result<String> {
    let full = format!("scratchpad-{stage}-{name}");
    let value = exports.get(&full).cloned();
    value.with_context(|| format!("cannot find the export {full} in any stack"))
}

/// Environment variables whose values here take precedence over the environment of this process.
#[derive(Debug, Clone, Default)]
struct Overrides(Vec<(&'static str, String)>);

impl Overrides {
    /// Returns the environment variables for a stage in a local cloud.
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
