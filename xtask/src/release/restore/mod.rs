//! `cargo xtask restore`: copies the state that a table had at an earlier time into a stage.
//!
//! DynamoDB's point-in-time recovery restores only into a new table, and the tables of a stage belong to its stacks. So this
//! command restores into a temporary table, copies its items, checks that they arrived, and deletes the temporary table. Its
//! progress is recorded after each page, so the next run of a killed command continues.
//!
//! What is copied:
//!
//! - Items of the temporary table replace items with the same key. Items that only the stage's table has are kept.
//! - Items that have expired by TTL are not copied: DynamoDB would delete them again. The others keep their expiry.
// part: billing {
//! - Purchases, into the stage that they come from: as they were. The stream announces no new item, and billing-reconcile
//!   announces a purchase again if it has an outbox. The subscribers ignore what they have processed already.
//! - Purchases, into another stage: without `outbox`, `unsettledShard` and `dueAt`, so that the copy is inert. No function of
//!   that stage announces, charges or settles a purchase of the other one.
// part: billing }
//!
//! | module | content |
//! |---|---|
//! | [`options`], [`state`] | the options, and the progress |
//! | [`check`] | what must be true before a restore |
//! | [`copy`] | the temporary table, the copy and its verification |
//! | [`item`] | what changes in an item |

mod check;
mod copy;
mod item;
mod options;
mod state;

use std::io::{IsTerminal as _, stdin};

use anyhow::{Context, Result, bail};

pub(crate) use self::options::RestoreOptions;
use self::{check::Plan, copy::Copy, state::Progress};
use super::{
    confirm::confirm, context::StageContext, dynamodb::Dynamodb, lease::Lease, pace::Pace,
    progress::Record, table::StageName,
};
use crate::{process::shutdown_signal, ui, workspace::Workspace};

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
