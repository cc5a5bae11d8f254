//! What must be true before a restore.

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::{
    PointInTimeRecoveryDescription, PointInTimeRecoveryStatus, TableDescription, TimeToLiveStatus,
};
use aws_smithy_types::date_time::{DateTime, Format};

use super::{
    item::{Rules, active},
    options::{RestoreOptions, Time},
};
use crate::{
    release::{Infrastructure, Target, dynamodb::Dynamodb},
    ui,
};

/// Checks that both stages have their own tables, and that the tables are in the same account: DynamoDB restores a table only
/// in its account.
///
/// # Errors
/// Fails if one of them is not true.
pub(super) fn accounts(source: &Target, target: &Target) -> Result<()> {
    for stage in [source, target] {
        if stage.row.infrastructure == Infrastructure::Dev {
            bail!(
                "{} uses the tables of dev: restore into a stage with its own tables",
                stage.stage
            );
        }
    }
    let place = |target: &Target| {
        let account = &target.account;
        (
            account.id.clone(),
            account.config().endpoint_url().map(ToOwned::to_owned),
        )
    };
    if place(source) != place(target) {
        bail!(
            "cannot restore from {} in account {} into {} in account {}: DynamoDB restores a table only in its own account",
            source.stage,
            source.account.id,
            target.stage,
            target.account.id
        );
    }
    Ok(())
}

/// A restore that can be made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) rules: Rules,
    from: String,
    into: String,
    /// The approximate number of items of the stage's table.
    existing: i64,
    is_continued: bool,
}

impl Plan {
    /// Checks that the table `from` can be restored, and that its items fit into the table `into`. A restore that
    /// `is_continued` has filled the table already.
    ///
    /// # Errors
    /// Fails if it cannot, or if a request fails.
    pub(super) async fn check(
        dynamodb: &Dynamodb<'_>,
        options: &RestoreOptions,
        from: &str,
        into: &str,
        is_continued: bool,
    ) -> Result<Self> {
        let describe = async |table: &str| {
            let table_description = dynamodb.describe(table).await?;
            table_description.with_context(|| format!("the table {table} does not exist"))
        };
        let (source, target) = (describe(from).await?, describe(into).await?);
        let key = key(&target);
        if self::key(&source) != key {
            bail!(
                "the tables {from} and {into} have different keys: deploy the same release to both stages"
            );
        }
        if !is_continued {
            check_window(&recovery(dynamodb, from).await?, options, from)?;
            let has_items = dynamodb.page(into, None, 1).await?.count > 0;
            if has_items && !options.overwrite {
                bail!(
                    "the table {into} has items: pass --overwrite to replace those that are restored and to keep the others"
                );
            }
        }
        Ok(Self {
            rules: Rules {
                key,
                expiry: expiry(dynamodb, into).await?,
                omitted: match options.stage == options.into {
                    true => &[],
                    false => active(options.table),
                },
            },
            from: from.into(),
            into: into.into(),
            existing: target.item_count.unwrap_or_default(),
            is_continued,
        })
    }

    /// Prints what the restore does.
    pub(super) fn show(&self, options: &RestoreOptions) {
        let Self {
            from, into, rules, ..
        } = self;
        let mut steps = Vec::new();
        if !self.is_continued {
            steps.push(format!(
                "restore {from} to {} into a temporary table, which takes 10 minutes or more",
                options.to
            ));
        }
        steps.push(format!(
            "copy its items into {into}, which has about {} items",
            self.existing
        ));
        if options.overwrite {
            steps.push("replace items with the same key, and keep the others".into());
        }
        if let Some(expiry) = &rules.expiry {
            steps.push(format!("leave out items whose {expiry} has passed"));
        }
        if !rules.omitted.is_empty() {
            steps.push(format!(
                "leave out {}, so that no function acts on the copies",
                rules.omitted.join(", ")
            ));
        }
        // part: billing {
        if options.table == super::options::Table::Purchases && options.stage == options.into {
            steps.push("let billing-reconcile announce again what was not announced then; the records in the table Idempotency prevent that it takes effect twice".into());
        }
        // part: billing }
        steps.push("check that each item exists, and delete the temporary table".into());
        for step in steps {
            ui::print(format!("  {step}"));
        }
    }
}

fn key(table: &TableDescription) -> Vec<String> {
    let key = table.key_schema().iter();
    key.map(|part| part.attribute_name().to_owned()).collect()
}

async fn recovery(dynamodb: &Dynamodb<'_>, table: &str) -> Result<PointInTimeRecoveryDescription> {
    let described = dynamodb
        .client()
        .describe_continuous_backups()
        .table_name(table)
        .send()
        .await;
    let described = described
        .map_err(aws_sdk_dynamodb::Error::from)
        .with_context(|| format!("cannot read the backups of the table {table}"))?;
    let backups = described.continuous_backups_description;
    let recovery = backups.and_then(|backups| backups.point_in_time_recovery_description);
    recovery.with_context(|| format!("the backups of the table {table} are not described"))
}

/// Checks that the time to restore is one that DynamoDB can restore.
fn check_window(
    recovery: &PointInTimeRecoveryDescription,
    options: &RestoreOptions,
    table: &str,
) -> Result<()> {
    if recovery.point_in_time_recovery_status() != Some(&PointInTimeRecoveryStatus::Enabled) {
        bail!(
            "point-in-time recovery of {table} is off, so its earlier states are lost: only stages with `protected: true` have it"
        );
    }
    let Time::At(time) = options.to else {
        return Ok(());
    };
    let bounds = [
        recovery.earliest_restorable_date_time(),
        recovery.latest_restorable_date_time(),
    ];
    let [Some(earliest), Some(latest)] = bounds else {
        bail!("DynamoDB does not say from when {table} can be restored: try again in some minutes");
    };
    if time < earliest.secs() || time > latest.secs() {
        let shown = |time: &DateTime| time.fmt(Format::DateTime).unwrap_or_default();
        bail!(
            "{table} can be restored to a time from {} to {}, or to latest; not to {}",
            shown(earliest),
            shown(latest),
            options.to
        );
    }
    Ok(())
}

/// Returns the attribute by which the items of a table expire.
async fn expiry(dynamodb: &Dynamodb<'_>, table: &str) -> Result<Option<String>> {
    let described = dynamodb
        .client()
        .describe_time_to_live()
        .table_name(table)
        .send()
        .await;
    let described = described
        .map_err(aws_sdk_dynamodb::Error::from)
        .with_context(|| format!("cannot read the time to live of the table {table}"))?;
    let settings = described.time_to_live_description;
    let settings = settings.filter(|settings| {
        matches!(
            settings.time_to_live_status(),
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        )
    });
    Ok(settings.and_then(|settings| settings.attribute_name))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: RestoreOptions,
    }

    fn options(to: &str) -> RestoreOptions {
        let arguments = [
            "x", "--stage", "dev", "--table", "Notes", "--into", "dev", "--to", to,
        ];
        Cli::try_parse_from(arguments)
            .unwrap_or_else(|error| panic!("{error}"))
            .options
    }

    #[test]
    fn only_times_within_the_recoverable_window_are_accepted() {
        let recovery = |status| {
            PointInTimeRecoveryDescription::builder()
                .point_in_time_recovery_status(status)
                .earliest_restorable_date_time(DateTime::from_secs(1_763_632_800))
                .latest_restorable_date_time(DateTime::from_secs(1_763_636_400))
                .build()
        };
        let check = |status, to: &str| {
            let result = check_window(&recovery(status), &options(to), "scratchpad-dev-Notes");
            result.map_err(|error| error.to_string())
        };
        let enabled = PointInTimeRecoveryStatus::Enabled;
        for to in ["latest", "2025-11-20T10:00:00Z", "2025-11-20T11:00:00Z"] {
            assert_eq!(check(enabled.clone(), to), Ok(()));
        }
        for to in ["2025-11-20T09:59:59Z", "2025-11-20T11:00:01Z"] {
            let error = check(enabled.clone(), to).unwrap_err();
            assert!(
                error.contains("from 2025-11-20T10:00:00Z to 2025-11-20T11:00:00Z"),
                "{error}"
            );
        }
        let error = check(PointInTimeRecoveryStatus::Disabled, "latest").unwrap_err();
        assert!(error.contains("is off"), "{error}");
    }
}
