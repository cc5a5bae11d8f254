//! `cargo xtask migrate`: changes the stored data of a stage, so that it fits the functions of a release.
//!
//! A migration reads a table page by page, and changes the items that need it with transactions whose conditions make
//! each change happen once. Therefore it is safe to kill it at any moment, to run it again, and to run it while users
//! write. After each page it writes its progress to a record in the account's bucket of releases; the next run continues
//! after that page. When a whole pass over the table finds no item that needs a change, the migration is done.
//!
//! To add a migration, add a variant to [`Migration`] and a module with its scan and its transaction.
//!
//! | module | content |
//! |---|---|
//! | [`count_notes`] | counts notes that were created before notes were counted |
// part: billing {
//! | [`credit_purchases`] | credits purchases that were paid before purchases gave storage |
// part: billing }
//! | [`migration`] | the list of the migrations |
//! | [`run`], [`tables`] | the passes over a table, and what all migrations share |
//! | [`record`] | the progress of a migration |

mod count_notes;
mod credit_purchases; // part: billing
mod migration;
mod record;
mod run;
mod tables;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use console::style;

pub(crate) use self::migration::Migration;
use self::{
    record::{Progress, Record},
    run::run,
    tables::Tables,
};
use super::{
    clock::age,
    context::StageContext,
    dynamodb::Dynamodb,
    lease::Lease,
    pace::Pace,
    table::{Infrastructure, StageName},
};
use crate::{process::shutdown_signal, ui, workspace::Workspace};

/// The options of `cargo xtask migrate`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct MigrateOptions {
    /// The maximum number of items to change per second. Throttling by DynamoDB reduces the rate
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Run the migration although it is recorded as done
    #[arg(long)]
    again: bool,
}

/// Runs `cargo xtask migrate`: runs `migration` on the data of a stage. Without `migration`, lists all migrations and
/// the progress of each.
///
/// # Errors
/// Fails if the stage uses the tables of another stage, if it lacks a table that the migration needs, if another
/// process changes the stage, or if a request to AWS fails. The next run continues where this one stopped.
pub(crate) async fn migrate(
    migration: Option<Migration>,
    stage: &StageName,
    options: MigrateOptions,
) -> Result<()> {
    let workspace = Workspace::read()?;
    let context = StageContext::open_any(&workspace, stage).await?;
    if context.target.row.infrastructure == Infrastructure::Dev {
        bail!(
            "{stage} uses the tables of dev: run the migrations with --stage dev, after dev has the release that needs them"
        );
    }
    let Some(migration) = migration else {
        return list(&context).await;
    };
    context.target.announce();
    let exports = context.stacks.exports().await?;
    let table = |name: &str| {
        let export = exports.get(&format!("scratchpad-{stage}-{name}TableName"));
        export.cloned().with_context(|| {
            format!("{stage} has no table {name}: first deploy a release that has it")
        })
    };
    let pace = Pace::new(options.rate);
    let tables = Tables {
        dynamodb: Dynamodb::new(context.target.account.config(), &pace),
        pace: &pace,
        scanned: table(migration.table())?,
        storage: table("Storage")?,
    };
    let lease = Lease::take(&context.store, &format!("the migration {migration}")).await?;
    let work = async {
        let (mut record, found) = Record::read(&context.store, migration.name()).await?;
        if let Some(done) = found.as_ref().and_then(|found| found.done_at)
            && !options.again
        {
            ui::success(format!(
                "{migration} was done {}; nothing was changed (--again runs it again)",
                age(done).trim()
            ));
            return Ok(());
        }
        let progress = found.filter(|found| found.done_at.is_none());
        tokio::select! {
            result = run(migration, &tables, &mut record, progress) => result,
            () = shutdown_signal() => Err(anyhow::anyhow!("a signal stopped the migration")),
        }
        .with_context(|| {
            format!("{migration} is not finished: run the same command again to continue")
        })
    };
    lease.during(work).await
}

/// Lists all migrations with their progress.
async fn list(context: &StageContext) -> Result<()> {
    let stage = &context.target.stage;
    let mut open = 0;
    for migration in Migration::value_variants() {
        let (_, progress) = Record::read(&context.store, migration.name()).await?;
        open += usize::from(progress.as_ref().and_then(|found| found.done_at).is_none());
        ui::print(format!(
            "{:<18}{:<44}{}",
            migration.name(),
            state(progress.as_ref()),
            migration.summary()
        ));
    }
    ui::say(format!(
        "{} to run on {stage}",
        ui::count(open, "migration")
    ));
    Ok(())
}

/// Describes the progress of a migration.
fn state(progress: Option<&Progress>) -> String {
    match progress {
        None => "not started".into(),
        Some(Progress {
            done_at: Some(at),
            pass: 0,
            ..
        }) => format!("not needed since {}", age(*at).trim()),
        Some(Progress {
            done_at: Some(at),
            changed,
            ..
        }) => format!("done {}, {changed} changed", age(*at).trim()),
        Some(Progress {
            pass,
            read,
            changed,
            ..
        }) => format!("in pass {pass}: {read} read, {changed} changed"),
    }
}

/// Records that a stage needs no migration, because its tables were just created. `exports` are the exports of the
/// account before the stage was deployed.
///
/// # Errors
/// Fails if a record cannot be read or written.
pub(crate) async fn record_new_stage(
    context: &StageContext,
    exports: &BTreeMap<String, String>,
) -> Result<()> {
    let target = &context.target;
    let had_tables = exports.contains_key(&format!("scratchpad-{}-NotesTableName", target.stage));
    if had_tables || target.row.infrastructure == Infrastructure::Dev {
        return Ok(());
    }
    for migration in Migration::value_variants() {
        let (mut record, found) = Record::read(&context.store, migration.name()).await?;
        if found.is_none() {
            record.write(&Progress::not_needed()).await?;
        }
    }
    Ok(())
}

/// Prints which migrations the data of a stage needs. `exports` are the exports of the account.
///
/// # Errors
/// Fails in the same cases as [`pending`].
pub(crate) async fn print_pending(
    context: &StageContext,
    exports: &BTreeMap<String, String>,
) -> Result<()> {
    let stage = &context.target.stage;
    for migration in pending(context, exports).await? {
        ui::say(format!(
            "{} {stage} needs the migration {migration} ({}): run cargo xtask migrate {migration} --stage {stage}",
            style("!").yellow(),
            migration.summary()
        ));
    }
    Ok(())
}

/// Returns the migrations that are not done although their table has items.
///
/// # Errors
/// Fails if a record or the number of items of a table cannot be read.
async fn pending(
    context: &StageContext,
    exports: &BTreeMap<String, String>,
) -> Result<Vec<Migration>> {
    let target = &context.target;
    let mut pending = Vec::new();
    if target.row.infrastructure == Infrastructure::Dev {
        return Ok(pending);
    }
    let pace = Pace::new(1);
    let dynamodb = Dynamodb::new(target.account.config(), &pace);
    for migration in Migration::value_variants() {
        let export = format!("scratchpad-{}-{}TableName", target.stage, migration.table());
        let Some(table) = exports.get(&export) else {
            continue;
        };
        let (_, progress) = Record::read(&context.store, migration.name()).await?;
        let is_done = progress.is_some_and(|progress| progress.done_at.is_some());
        if !is_done && dynamodb.count(table).await? > 0 {
            pending.push(*migration);
        }
    }
    Ok(pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{
        fake_aws::{Answer, FakeAws},
        s3_double::{Fault, S3Double},
    };

    /// The tables that migrations read.
    const TABLES: &[&str] = &[
        "Notes",
        "Purchases", // part: billing
    ];

    fn exports(tables: &[&str]) -> BTreeMap<String, String> {
        let exports = tables.iter().map(|table| {
            let name = format!("scratchpad-dev-{table}TableName");
            (name, format!("scratchpad-dev-{table}"))
        });
        exports.collect()
    }

    async fn stage(s3: &S3Double) -> StageContext {
        let mut context = FakeAws::scripted([]).stage().await;
        context.store = s3.store("dev");
        context
    }

    #[tokio::test]
    async fn a_new_stage_needs_no_migration() {
        let s3 = S3Double::new();
        let context = stage(&s3).await;
        record_new_stage(&context, &exports(&[])).await.unwrap();
        let keys = [
            "dev/migrations/count-notes.json",
            "dev/migrations/credit-purchases.json", // part: billing
        ];
        assert_eq!(s3.keys(), keys);
        let (_, progress) = Record::read(&context.store, "count-notes").await.unwrap();
        assert!(state(progress.as_ref()).starts_with("not needed"));
        // No request asks for the number of items.
        let tables = exports(TABLES);
        assert_eq!(pending(&context, &tables).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_stage_whose_tables_existed_before_keeps_its_migrations() {
        let s3 = S3Double::new();
        let context = stage(&s3).await;
        let tables = exports(TABLES);
        record_new_stage(&context, &tables).await.unwrap();
        assert!(s3.keys().is_empty());
    }

    #[tokio::test]
    async fn a_migration_is_pending_until_it_is_done_if_its_table_has_items() {
        let s3 = S3Double::new();
        let aws = FakeAws::new(|request| {
            let items = if request.body.contains("Notes") { 3 } else { 0 };
            let body = format!(r#"{{"Table": {{"ItemCount": {items}}}}}"#);
            Answer::new(200, body)
        });
        let mut context = aws.stage().await;
        context.store = s3.store("dev");
        let tables = exports(TABLES);
        let found = pending(&context, &tables).await.unwrap();
        assert_eq!(found, [Migration::CountNotes]);
        let (mut record, _) = Record::read(&context.store, "count-notes").await.unwrap();
        let mut progress = Progress::start();
        record.write(&progress).await.unwrap();
        let found = pending(&context, &tables).await.unwrap();
        assert_eq!(found, [Migration::CountNotes]);
        progress.done_at = Some(1);
        record.write(&progress).await.unwrap();
        assert_eq!(pending(&context, &tables).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_record_that_another_process_has_changed_is_not_overwritten() {
        let s3 = S3Double::new();
        let store = s3.store("dev");
        let read = async || Record::read(&store, "count-notes").await.unwrap().0;
        let (mut first, mut second) = (read().await, read().await);
        let mut progress = Progress::start();
        s3.fail("PUT", [Fault::LostResponse]);
        first.write(&progress).await.unwrap();
        progress.read = 1000;
        let error = second.write(&progress).await.unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        first.write(&progress).await.unwrap();
        let (_, stored) = Record::read(&store, "count-notes").await.unwrap();
        assert_eq!(stored, Some(progress));
    }
}
