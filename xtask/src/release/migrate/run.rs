//! The passes of a migration over a table.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::credit_purchases; // part: billing
use super::{
    count_notes,
    migration::Migration,
    record::{Progress, Record},
    tables::{Changed, Tables, UNCHANGED_MINUTES, string},
};
use crate::release::dynamodb::{Item, Scan};
use crate::{
    release::clock::now,
    ui::{self, Step},
};

/// The maximum number of items that one request reads. The record is written after each page.
const PAGE: i32 = 1000;

/// How many users are migrated at the same time. The transactions of one user run one after another, because they would
/// conflict.
const CONCURRENCY: usize = 16;

/// How many items may be read in the time in which one may be changed. Reads are cheaper: a strongly consistent read
/// consumes one unit per 4 KB, a transactional write two units per 1 KB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>
const READS_PER_CHANGE: f64 = 10.0;

/// The maximum number of passes. Each pass changes the items that functions of an earlier release wrote during the pass
/// before.
const PASSES: u32 = 10;

/// Runs a migration from `progress`, or from the start if it is `None`, until a pass finds nothing to do.
///
/// # Errors
/// Fails if a request to AWS fails, if another process changes the record, if functions keep writing items that need the
/// migration, or if items may not be changed yet.
pub(super) async fn run(
    migration: Migration,
    tables: &Tables<'_>,
    record: &mut Record,
    progress: Option<Progress>,
) -> Result<()> {
    let is_continued = progress.is_some();
    let mut progress = progress.unwrap_or_else(Progress::start);
    if is_continued {
        ui::say(format!(
            "continue in pass {} after {} items",
            progress.pass, progress.read
        ));
    } else {
        // Replaces the record of an earlier run that was done.
        record.write(&progress).await?;
    }
    let total = tables.dynamodb.count(&tables.scanned).await?;
    let mut passes = 0;
    loop {
        let step = Step::begin(format!("{migration}: pass {}", progress.pass));
        let changed = pass(migration, tables, record, &mut progress, total, &step).await?;
        step.done(&format!(
            "({} read, {} needed the migration)",
            progress.read, progress.found
        ));
        if progress.found == 0 {
            break;
        }
        if progress.found == changed.early {
            bail!(
                "{} changed in the last {} minutes, and may still be processed by functions: run the same command again in {} minutes",
                ui::count(usize::try_from(changed.early)?, "item"),
                UNCHANGED_MINUTES,
                UNCHANGED_MINUTES
            );
        }
        passes += 1;
        if passes >= PASSES {
            bail!(
                "each of {PASSES} passes found items to migrate: old functions still write them; deploy the release that needs the migration first"
            );
        }
        progress.next_pass();
        record.write(&progress).await?;
    }
    progress.done_at = Some(now());
    record.write(&progress).await?;
    ui::success(format!(
        "{migration} is done: {} changed, and the last pass over {} found nothing to do",
        ui::count(usize::try_from(progress.changed)?, "item"),
        tables.scanned
    ));
    Ok(())
}

/// Reads the rest of the table, and changes the items that need the migration. Returns what this process did in the pass.
async fn pass(
    migration: Migration,
    tables: &Tables<'_>,
    record: &mut Record,
    progress: &mut Progress,
    total: u64,
    step: &Step,
) -> Result<Changed> {
    let mut changed = Changed::default();
    loop {
        let scan = Scan {
            table: &tables.scanned,
            after: progress.start_key(),
            limit: PAGE,
            ..scan(migration)
        };
        let page = tables.dynamodb.scan(&scan).await?;
        let read = page.scanned_count.unsigned_abs();
        tables.pace.take(f64::from(read) / READS_PER_CHANGE).await;
        let found = page.items.unwrap_or_default();
        progress.read += u64::from(read);
        progress.found += found.len() as u64;
        let page_changed = change(migration, tables, found).await?;
        progress.changed += page_changed.done;
        changed = changed.plus(page_changed);
        let is_last = page.last_evaluated_key.is_none();
        progress.set_last_key(page.last_evaluated_key)?;
        record.write(progress).await?;
        step.at(format!(
            "{} of about {total} read, {} changed, at most {:.0} per second",
            progress.read,
            progress.changed,
            tables.pace.rate()
        ));
        if is_last {
            return Ok(changed);
        }
    }
}

/// Changes the items of a page.
async fn change(migration: Migration, tables: &Tables<'_>, found: Vec<Item>) -> Result<Changed> {
    let mut by_user: BTreeMap<String, Vec<Item>> = BTreeMap::new();
    for item in found {
        let user = string(&item, "userId")?.to_owned();
        by_user.entry(user).or_default().push(item);
    }
    let changes = by_user.into_iter().map(|(user, items)| async move {
        match migration {
            Migration::CountNotes => count_notes::count(tables, &user, items).await,
            // part: billing {
            Migration::CreditPurchases => credit_purchases::credit(tables, &user, items).await,
            // part: billing }
        }
    });
    let changed = stream::iter(changes).buffer_unordered(CONCURRENCY);
    changed
        .try_fold(Changed::default(), |sum, changed| async move {
            Ok(sum.plus(changed))
        })
        .await
}

/// The attributes and the condition of the items that need a migration.
fn scan(migration: Migration) -> Scan<'static> {
    match migration {
        Migration::CountNotes => count_notes::SCAN,
        Migration::CreditPurchases => credit_purchases::SCAN, // part: billing
    }
}
