//! The temporary table, the copy of its items, and the verification.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::{BillingMode, TableStatus};
use aws_smithy_types::DateTime;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;

use super::{
    item::Rules,
    options::Time,
    state::{Phase, Progress},
};
use crate::{
    release::{
        dynamodb::{Dynamodb, Item, item_of, strings_of},
        pace::Pace,
        progress::Record,
    },
    ui::{self, Step},
};

/// The maximum number of items that one request reads. The progress is recorded after each page.
const PAGE: i32 = 500;

/// The maximum numbers of items that one request writes, and of keys that one reads:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>,
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const WRITES: usize = 25;
const READS: usize = 100;

/// How many requests are sent at the same time.
const CONCURRENCY: usize = 8;

/// The pause between two checks of the temporary table, until it is restored.
const POLL: Duration = Duration::from_secs(15);
const LOCAL_POLL: Duration = Duration::from_millis(50);

/// A restore that runs.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    pub(super) dynamodb: &'a Dynamodb<'a>,
    pub(super) pace: &'a Pace,
    pub(super) record: &'a mut Record<Progress>,
    pub(super) progress: Progress,
    pub(super) rules: Rules,
    /// The table whose earlier state is restored.
    pub(super) from: String,
    /// The table that gets the items.
    pub(super) into: String,
    pub(super) is_local: bool,
}

impl Copy<'_> {
    /// Does what is left of the restore.
    ///
    /// # Errors
    /// Fails if a request to AWS fails, or if items are missing after the copy.
    pub(super) async fn run(&mut self) -> Result<()> {
        // Before the temporary table exists, so that its name is known.
        self.record.write(&self.progress).await?;
        if self.progress.phase == Phase::Copy {
            self.restore_table().await?;
            let step = Step::begin(format!("copy the items into {}", self.into));
            self.each_page(&step).await?;
            step.done(&format!(
                "({} read, {} expired)",
                self.progress.read, self.progress.expired
            ));
            self.begin(Phase::Verify).await?;
        }
        if self.progress.phase == Phase::Verify {
            let step = Step::begin("check that each item exists");
            self.each_page(&step).await?;
            let missing = self.progress.missing;
            if missing > 0 {
                self.begin(Phase::Copy).await?;
                bail!(
                    "{missing} of the restored items are missing in {}: somebody has deleted them since; the next run copies all items again",
                    self.into
                );
            }
            step.done(&format!(
                "({} items)",
                self.progress.read - self.progress.expired
            ));
            let copied = self.progress.read - self.progress.expired;
            self.begin(Phase::CleanUp).await?;
            ui::success(format!(
                "{} has {} of the state of {} at {}",
                self.into,
                ui::count(usize::try_from(copied)?, "item"),
                self.from,
                self.progress.to
            ));
        }
        self.delete_table().await?;
        self.record.delete().await
    }

    async fn begin(&mut self, phase: Phase) -> Result<()> {
        self.progress.begin(phase);
        self.record.write(&self.progress).await
    }

    /// Restores the table into the temporary table, unless it exists, and waits until this is done.
    async fn restore_table(&self) -> Result<()> {
        let temporary = &self.progress.temporary;
        let step = Step::begin(format!("restore {} into {temporary}", self.from));
        if self.dynamodb.describe(temporary).await?.is_none() {
            let restore = self
                .dynamodb
                .client()
                .restore_table_to_point_in_time()
                .source_table_name(&self.from)
                .target_table_name(temporary)
                .billing_mode_override(BillingMode::PayPerRequest)
                // The temporary table needs no index. Without one, it is restored sooner.
                .set_global_secondary_index_override(Some(Vec::new()));
            let restore = match self.progress.to {
                Time::Latest => restore.use_latest_restorable_time(true),
                Time::At(seconds) => restore.restore_date_time(DateTime::from_secs(seconds)),
            };
            restore
                .send()
                .await
                .map_err(aws_sdk_dynamodb::Error::from)
                .with_context(|| format!("cannot restore the table {}", self.from))?;
        }
        loop {
            let table = self.dynamodb.describe(temporary).await?;
            match table.as_ref().and_then(|table| table.table_status()) {
                Some(TableStatus::Active) => break,
                Some(status) => step.at(status.as_str()),
                None => bail!("the temporary table {temporary} does not exist"),
            }
            sleep(if self.is_local { LOCAL_POLL } else { POLL }).await;
        }
        step.done("");
        Ok(())
    }

    /// Reads the rest of the temporary table page by page, and does for each what the phase needs.
    async fn each_page(&mut self, step: &Step) -> Result<()> {
        loop {
            let after = self.progress.after.as_ref().map(item_of);
            let page = self
                .dynamodb
                .page(&self.progress.temporary, after, PAGE)
                .await?;
            let items = page.items.unwrap_or_default();
            self.progress.read += items.len() as u64;
            let now = self.progress.started_at / 1000;
            let read = items.len();
            let kept: Vec<Item> = items
                .into_iter()
                .filter(|item| !self.rules.has_expired(item, now))
                .collect();
            self.progress.expired += (read - kept.len()) as u64;
            self.progress.missing += self.process(kept).await?;
            let is_last = page.last_evaluated_key.is_none();
            self.progress.after = page.last_evaluated_key.map(strings_of).transpose()?;
            self.record.write(&self.progress).await?;
            step.at(format!(
                "{} read, at most {:.0} per second",
                self.progress.read,
                self.pace.rate()
            ));
            if is_last {
                return Ok(());
            }
        }
    }

    /// Copies items in the phase Copy. Returns how many of them the stage's table lacks in the phase Verify.
    async fn process(&self, items: Vec<Item>) -> Result<u64> {
        let copies = self.progress.phase == Phase::Copy;
        let size = if copies { WRITES } else { READS };
        let batches: Vec<Vec<Item>> = items.chunks(size).map(<[Item]>::to_vec).collect();
        let requests = batches.into_iter().map(|items| async move {
            let count = items.len();
            self.pace.take(count as f64).await;
            if copies {
                let items = items
                    .into_iter()
                    .map(|item| self.rules.copied(item))
                    .collect();
                self.dynamodb.put(&self.into, items).await?;
                return Ok(0);
            }
            let keys = items
                .into_iter()
                .map(|item| self.rules.key_of(item))
                .collect();
            let existing = self.dynamodb.count_existing(&self.into, keys).await?;
            Ok::<_, anyhow::Error>((count - existing) as u64)
        });
        let missing = stream::iter(requests).buffer_unordered(CONCURRENCY);
        missing
            .try_fold(0, |sum, missing| async move { Ok(sum + missing) })
            .await
    }

    async fn delete_table(&self) -> Result<()> {
        let temporary = &self.progress.temporary;
        if self.dynamodb.describe(temporary).await?.is_none() {
            return Ok(());
        }
        let deleted = self
            .dynamodb
            .client()
            .delete_table()
            .table_name(temporary)
            .send()
            .await;
        deleted
            .map_err(aws_sdk_dynamodb::Error::from)
            .with_context(|| format!("cannot delete the temporary table {temporary}"))?;
        Ok(())
    }
}
