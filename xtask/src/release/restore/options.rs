//! The options of `cargo xtask restore`.

use std::{fmt, str::FromStr};

use aws_smithy_types::date_time::{DateTime, Format};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::release::table::StageName;

/// The options of `cargo xtask restore`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RestoreOptions {
    /// The name of the stage that the table belongs to
    #[arg(long)]
    pub(super) stage: StageName,
    /// The table
    #[arg(long)]
    pub(super) table: Table,
    /// The time of the state to restore, in the format of RFC 3339, such as 2026-11-30T10:00:00Z; or `latest`
    #[arg(long, value_name = "TIME")]
    pub(super) to: Time,
    /// The name of the stage to copy the items into
    #[arg(long, value_name = "STAGE")]
    pub(super) into: StageName,
    /// Allow that restored items replace items of the stage with the same key
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Show what the command would do, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(super) show: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
    /// The maximum number of items to write per second. Throttling by DynamoDB reduces the rate
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: u32,
}

/// A table of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Table {
    /// Notes
    Notes,
    /// The records of files
    Attachments,
    /// The numbers of notes. Restore it together with the tables that change them
    Storage,
    // part: billing {
    /// Purchases, which also change the numbers of notes
    Purchases,
    /// The open orders and the declined orders
    Buyers,
    // part: billing }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

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
        declared.sort();
        known.sort();
        assert_eq!(declared, known);
    }
}
