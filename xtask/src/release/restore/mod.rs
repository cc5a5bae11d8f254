//! `cargo xtask restore`: copies the state that a table had at an earlier time into a stage.
//!
//! DynamoDB's point-in-time recovery restores only into a new table, and the tables of a stage belong to its stacks. So this
//! command restores into a temporary table, copies its items, checks that they arrived, and deletes the temporary table. Its
//! progress is recorded after each page, so the next run of a killed command continues.
//!
//! What is copied:
//!
//! - Items of the temporary table replace items with the same key. Items that only the stage's table has are kept.
//! - Items that have expired by TTL are not copied: DynamoDB would delete them again. The others keep their time.
//! - Purchases, into the stage that they come from: as they were. The stream announces no new item, and billing-reconcile
//!   announces a purchase that has an outbox again. Its subscribers ignore what they have processed already.
//! - Purchases, into another stage: without `outbox`, `unsettledShard` and `dueAt`, so that the copy is inert. No function of
//!   that stage announces, charges or settles a purchase of the other one.
//!
//! | module | content |
//! |---|---|
//! | [`check`] | what must be true before a restore |
//! | [`copy`] | the temporary table, the copy and its verification |
//! | [`item`] | what changes in an item |

mod check;
mod copy;
mod item;

use std::{
    fmt,
    io::{IsTerminal as _, stdin},
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use aws_smithy_types::date_time::{DateTime, Format};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::{check::Plan, copy::Copy};
use super::{
    clock::now, confirm::confirm, context::StageContext, dynamodb::Dynamodb, lease::Lease,
    pace::Pace, progress::Record, provenance::actor, table::StageName,
};
use crate::{process::shutdown_signal, ui, workspace::Workspace};

/// The options of `cargo xtask restore`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RestoreOptions {
    /// The name of the stage that the table belongs to
    #[arg(long)]
    stage: StageName,
    /// The table
    #[arg(long)]
    table: Table,
    /// The time of the state to restore, in the format of RFC 3339, such as 2026-11-30T10:00:00Z; or `latest`
    #[arg(long, value_name = "TIME")]
    to: Time,
    /// The name of the stage to copy the items into
    #[arg(long, value_name = "STAGE")]
    into: StageName,
    /// Allow that restored items replace items of the stage with the same key
    #[arg(long)]
    overwrite: bool,
    /// Show what the command would do, and change nothing
    #[arg(long, conflicts_with = "yes")]
    show: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// The maximum number of items to write per second. Throttling by DynamoDB reduces the rate
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

/// A table of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Table {
    /// Notes
    Notes,
    /// The records of files
    Attachments,
    /// The numbers of notes, and what purchases give. Restore it together with Purchases
    Storage,
    /// Purchases
    Purchases,
    /// The open orders and the declined orders
    Buyers,
    /// The records of requests and messages
    Idempotency,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The time of the state to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Time {
    /// The latest state that can be restored, which is about five minutes old.
    Latest,
    /// In seconds since the Unix epoch.
    At(i64),
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        DateTime::from_str(text, Format::DateTimeWithOffset)
            .map(|time| Self::At(time.secs()))
            .map_err(|_| "must be a time such as 2026-11-30T10:00:00Z, or latest")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::At(seconds) => {
                let time = DateTime::from_secs(*seconds).fmt(Format::DateTime);
                f.write_str(&time.map_err(|_| fmt::Error)?)
            }
        }
    }
}

/// What a restore has still to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Phase {
    Copy,
    Verify,
    /// Delete the temporary table.
    CleanUp,
}

/// The progress of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// The user who started the restore.
    actor: String,
    /// When the restore was started, in milliseconds since the Unix epoch.
    started_at: u64,
    from: StageName,
    to: Time,
    overwrite: bool,
    /// The name of the temporary table.
    temporary: String,
    phase: Phase,
    /// The key of the last item that this phase has handled. `None` at its start.
    after: Option<std::collections::BTreeMap<String, String>>,
    /// How many items this phase has read.
    read: u64,
    /// How many of these items had expired.
    expired: u64,
    /// How many of the other items the stage's table lacks.
    missing: u64,
}

impl Progress {
    fn start(options: &RestoreOptions, source: &str) -> Self {
        let started_at = now();
        Self {
            actor: actor(),
            started_at,
            from: options.stage.clone(),
            to: options.to,
            overwrite: options.overwrite,
            temporary: format!("{source}-restore-{}", started_at / 1000),
            phase: Phase::Copy,
            after: None,
            read: 0,
            expired: 0,
            missing: 0,
        }
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.after = None;
        (self.read, self.expired, self.missing) = (0, 0, 0);
    }

    /// Whether the same command started this restore.
    fn is_of(&self, options: &RestoreOptions) -> bool {
        (&self.from, self.to, self.overwrite) == (&options.stage, options.to, options.overwrite)
    }
}

/// Runs `cargo xtask restore`.
///
/// # Errors
/// Fails if the table cannot be restored to this time, if the stage's table has items and `--overwrite` is not given, if
/// another restore of the table is not finished, or if a request to AWS fails. The next run continues where this one
/// stopped.
pub(crate) async fn restore(options: &RestoreOptions) -> Result<()> {
    let workspace = Workspace::read()?;
    let source = StageContext::open_any(&workspace, &options.stage).await?;
    let target = StageContext::open_any(&workspace, &options.into).await?;
    target.target.announce();
    check::accounts(&source.target, &target.target)?;
    let pace = Pace::new(options.rate);
    let dynamodb = Dynamodb::new(target.target.account.config(), &pace);
    let name = format!("restore-{}", options.table);
    let (mut record, found) = Record::<Progress>::read(&target.store, &name).await?;
    if let Some(found) = &found
        && !found.is_of(options)
    {
        bail!(
            "a restore of {} from {} to {} into {} is not finished: first run that command again{}",
            options.table,
            found.from,
            found.to,
            options.into,
            if found.overwrite {
                ", with --overwrite"
            } else {
                ""
            }
        );
    }
    let exports = target.stacks.exports().await?;
    let table = |stage: &StageName| {
        let export = format!("scratchpad-{stage}-{}TableName", options.table);
        let table = exports.get(&export).cloned();
        table.with_context(|| format!("{stage} has no table {}: deploy it first", options.table))
    };
    let (from, into) = (table(&options.stage)?, table(&options.into)?);
    let plan = Plan::check(&dynamodb, options, &from, &into, found.is_some()).await?;
    plan.show(options);
    if options.show {
        ui::success("nothing was changed");
        return Ok(());
    }
    if target.target.row.protected && !options.yes {
        if !stdin().is_terminal() {
            bail!(
                "cannot ask for confirmation, because standard input is not a terminal: add --yes"
            );
        }
        confirm(&options.into)?;
    }
    let lease = Lease::take(&target.store, &format!("the restore of {}", options.table)).await?;
    let is_continued = found.is_some();
    let progress = found.unwrap_or_else(|| Progress::start(options, &from));
    let mut copy = Copy {
        dynamodb: &dynamodb,
        pace: &pace,
        record: &mut record,
        progress,
        rules: plan.rules,
        from,
        into,
        is_local: target.target.account.is_local(),
    };
    let work = async {
        if is_continued {
            ui::say(format!(
                "continue the restore that {} started",
                copy.progress.actor
            ));
        }
        tokio::select! {
            result = copy.run() => result,
            () = shutdown_signal() => Err(anyhow::anyhow!("a signal stopped the restore")),
        }
        .context("the restore is not finished: run the same command again to continue")
    };
    lease.during(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_format_of_rfc_3339_or_the_latest() {
        for (text, time) in [
            ("latest", Time::Latest),
            ("2025-11-20T10:00:01Z", Time::At(1_763_632_801)),
            ("2025-11-20T11:00:01+01:00", Time::At(1_763_632_801)),
        ] {
            assert_eq!(text.parse(), Ok(time));
        }
        for text in ["", "now", "yesterday", "2025-11-20", "2025-11-20 10:00"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        assert_eq!(Time::At(1_763_632_801).to_string(), "2025-11-20T10:00:01Z");
    }

    #[test]
    fn every_table_of_a_stage_can_be_restored() {
        let workspace = Workspace::read().unwrap();
        let stack = workspace
            .root()
            .join("infrastructure/lib/dynamodb-stack.ts");
        let stack = std::fs::read_to_string(stack).unwrap();
        let declared = stack.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("  ")?.split_once(": {")?;
            let is_table = name.chars().all(char::is_alphabetic) && !rest.contains("from");
            is_table.then(|| name.to_owned())
        });
        let mut declared: Vec<_> = declared.collect();
        let tables = Table::value_variants().iter();
        let mut known: Vec<_> = tables.map(ToString::to_string).collect();
        (declared.sort(), known.sort());
        assert_eq!(declared, known);
    }
}
