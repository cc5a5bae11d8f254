//! The PENDING purchases of a stage, and the runs of the function that settles them.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::{
    cloudwatch::Metric,
    known, last,
    report::{Report, duration},
};
use crate::release::{Infrastructure, StageContext, now};

const RECONCILE: &str = "billing-reconcile";

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Purchases {
    /// The age of the oldest PENDING purchase in seconds. `None` if there is none.
    pub(super) oldest_pending_age: Option<u64>,
    /// The last run of billing-reconcile. `None` without a run in the last three hours.
    pub(super) last_reconcile: Option<u64>,
}

/// Reads what is known about purchases. If it cannot be read, adds the reason to `unknown`.
pub(super) async fn read(context: &StageContext, unknown: &mut Vec<String>) -> Option<Purchases> {
    known(purchases(context).await, "PENDING purchases", unknown).flatten()
}

async fn purchases(context: &StageContext) -> Result<Option<Purchases>> {
    let target = &context.target;
    if target.row.infrastructure == Infrastructure::Dev {
        return Ok(None);
    }
    let stage = target.stage.as_ref();
    let name = format!("scratchpad-{stage}-{RECONCILE}");
    let runs = Metric::own(metrics::Metric::Requests, &[("FunctionName", &name)], "Sum");
    let age = Metric::own(
        metrics::Metric::OldestPendingAge,
        &[("Stage", stage)],
        "Maximum",
    );
    let (runs, age) = tokio::try_join!(last(context, runs), last(context, age))?;
    // A run that found a purchase saw it that long ago.
    let pending = age.filter(|(_, age)| *age > 0.0);
    let oldest = pending.map(|(at, age)| age as u64 + now().saturating_sub(at) / 1000);
    Ok(Some(Purchases {
        oldest_pending_age: oldest,
        last_reconcile: runs.map(|(at, _)| at),
    }))
}

impl Report {
    pub(super) fn write_purchases(&self, text: &mut String) -> std::fmt::Result {
        let Some(purchases) = &self.purchases else {
            return Ok(());
        };
        let oldest = purchases
            .oldest_pending_age
            .map_or_else(|| "none".into(), |age| format!("{} old", duration(age)));
        writeln!(text, "oldest PENDING purchase: {oldest}")?;
        let last = purchases.last_reconcile.map_or_else(
            || "not in the last 3 hours".into(),
            |at| format!("{} ago", duration(self.seconds_since(at))),
        );
        writeln!(text, "last run of billing-reconcile: {last}")?;
        Ok(())
    }
}
