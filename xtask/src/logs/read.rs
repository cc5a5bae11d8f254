//! Reads the logs of a stage: those of its functions, and the access log of its API.
//!
//! Lines that name an ID are found with one query of CloudWatch Logs Insights over the logs of all functions. Insights
//! scans the logs in parallel, so a round takes seconds whatever their number and size. FilterLogEvents would need
//! requests for each of the logs, one after another for each of its pages, and its rate is limited to a few requests per
//! second:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudwatchlogs::{
    Client,
    types::{QueryStatus, ResultField},
};
use aws_smithy_types::date_time::{DateTime, Format};
use tokio::time::sleep;

use super::line::{GATEWAY, Record};
use crate::{
    release::{StageContext, now},
    workspace::Workspace,
};

/// The time from the start of a query to the first read of its results. Each further pause is twice as long, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of lines that a query returns:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html>
const LIMIT: i32 = 10_000;

/// How far clocks may differ, in milliseconds. Searches begin this long before, and end this long after.
pub(super) const SKEW: u64 = 5_000;

/// The longest duration of an invocation in milliseconds: the longest timeout of a function.
const LONGEST_INVOCATION: u64 = 240_000;

/// The logs of a stage.
#[derive(Debug)]
pub(super) struct Logs {
    client: Client,
    stage: String,
    /// The names of the log groups that exist, and the function of each, or [`GATEWAY`].
    groups: BTreeMap<String, String>,
}

impl Logs {
    /// Finds the logs of a stage.
    ///
    /// # Errors
    /// Fails if the log groups cannot be listed, or if there are none.
    pub(super) async fn open(context: &StageContext, workspace: &Workspace) -> Result<Self> {
        let client = Client::new(context.target.account.config());
        let stage = context.target.stage.to_string();
        let functions = workspace.functions().map(|function| &function.name);
        let mut wanted: BTreeMap<String, String> = functions
            .map(|name| (group(&stage, name), name.clone()))
            .collect();
        wanted.insert(group(&stage, GATEWAY), GATEWAY.into());
        let mut groups = BTreeMap::new();
        for prefix in [group(&stage, ""), group(&stage, GATEWAY)] {
            let mut pages = client
                .describe_log_groups()
                .log_group_name_prefix(prefix)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page
                    .map_err(aws_sdk_cloudwatchlogs::Error::from)
                    .context("cannot list the logs")?;
                for found in page.log_groups.unwrap_or_default() {
                    let name = found.log_group_name.unwrap_or_default();
                    if let Some(source) = wanted.get(&name) {
                        groups.insert(name, source.clone());
                    }
                }
            }
        }
        if groups.is_empty() {
            bail!("{stage} has no logs: deploy it first");
        }
        Ok(Self {
            client,
            stage,
            groups,
        })
    }

    /// Returns the lines since `from` that contain one of `ids`, the oldest first. `from` is in milliseconds since the
    /// Unix epoch.
    ///
    /// # Errors
    /// Fails if an ID has other characters than letters, digits, `-` and `_`, or if the query fails.
    pub(super) async fn find(&self, ids: &[&String], from: u64) -> Result<Vec<Record>> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for id in ids {
            if id.is_empty() || !id.chars().all(is_allowed) {
                bail!("{id:?} is not an ID: an ID has letters, digits and hyphens");
            }
        }
        let pattern = ids
            .iter()
            .map(|id| id.as_str())
            .collect::<Vec<_>>()
            .join("|");
        let query = format!(
            "fields @timestamp, @message, @log, @logStream | filter @message like /{pattern}/ | sort @timestamp asc | limit {LIMIT}"
        );
        let started = self
            .client
            .start_query()
            .set_log_group_names(Some(self.groups.keys().cloned().collect()))
            .query_string(query)
            .start_time((from / 1000).try_into()?)
            .end_time(((now() + SKEW) / 1000 + 1).try_into()?)
            .limit(LIMIT)
            .send()
            .await;
        let started = started
            .map_err(aws_sdk_cloudwatchlogs::Error::from)
            .context("cannot search the logs")?;
        let rows = self.results(started.query_id()).await?;
        let mut records: Vec<_> = rows.iter().filter_map(|row| self.record(row)).collect();
        records.sort();
        records.dedup();
        Ok(records)
    }

    /// Waits until a query has ended, and returns its rows.
    async fn results(&self, query: Option<&str>) -> Result<Vec<Vec<ResultField>>> {
        let query = query.context("CloudWatch started no query")?;
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            let results = self.client.get_query_results().query_id(query).send().await;
            let results = results
                .map_err(aws_sdk_cloudwatchlogs::Error::from)
                .context("cannot search the logs")?;
            match results.status() {
                Some(QueryStatus::Complete) => return Ok(results.results.unwrap_or_default()),
                Some(QueryStatus::Running | QueryStatus::Scheduled) => {}
                status => bail!(
                    "the search of the logs ended as {}",
                    status.map_or("unknown", QueryStatus::as_str)
                ),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn record(&self, row: &[ResultField]) -> Option<Record> {
        let field = |name: &str| {
            let field = row.iter().find(|field| field.field() == Some(name));
            field.and_then(ResultField::value)
        };
        // The name of the group has the ID of the account before it.
        let log = field("@log")?;
        let group = log.find('/').map_or(log, |at| log.get(at..).unwrap_or(log));
        Some(Record {
            at: insights_time(field("@timestamp")?)?,
            source: self.groups.get(group)?.clone(),
            stream: field("@logStream").unwrap_or_default().into(),
            message: field("@message")?.trim_end().into(),
        })
    }

    /// Returns Lambda's ID of the invocation that wrote the line `of`, and all lines of the invocation, also those that
    /// contain no ID. An instance handles one invocation at a time, so these are the lines between those with which Lambda
    /// reports the start and the end. `duration` is the duration of the invocation in milliseconds if `of` is its last line.
    /// `None` if the start is not in the log.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub(super) async fn invocation(
        &self,
        of: &Record,
        duration: Option<u64>,
    ) -> Result<Option<(String, Vec<Record>)>> {
        let (before, after) = match duration {
            Some(duration) => (duration + SKEW, SKEW),
            None => (LONGEST_INVOCATION, LONGEST_INVOCATION),
        };
        let mut pages = self
            .client
            .get_log_events()
            .log_group_name(group(&self.stage, &of.source))
            .log_stream_name(&of.stream)
            .start_from_head(true)
            .start_time(of.at.saturating_sub(before).try_into()?)
            .end_time((of.at + after).try_into()?)
            .into_paginator()
            .send();
        let mut lines = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(aws_sdk_cloudwatchlogs::Error::from)
                .with_context(|| format!("cannot read the log of the function {}", of.source))?;
            lines.extend(
                page.events
                    .unwrap_or_default()
                    .into_iter()
                    .map(|event| Record {
                        at: event.timestamp.unwrap_or_default().unsigned_abs(),
                        source: of.source.clone(),
                        stream: of.stream.clone(),
                        message: event.message.unwrap_or_default().trim_end().into(),
                    }),
            );
        }
        Ok(invocation_of(&lines, of))
    }
}

/// Returns the ID and the lines of the invocation that wrote the line `of`.
fn invocation_of(lines: &[Record], of: &Record) -> Option<(String, Vec<Record>)> {
    let at = lines
        .iter()
        .position(|line| (line.at, &line.message) == (of.at, &of.message))?;
    let (start, id) = lines
        .iter()
        .enumerate()
        .take(at + 1)
        .rev()
        .find_map(|(at, line)| Some((at, id_after("START", line)?)))?;
    let following = lines.iter().skip(start + 1);
    let count = following.take_while(|line| id_after("START", line).is_none());
    let own = lines.iter().skip(start).take(1 + count.count());
    Some((id.to_owned(), own.cloned().collect()))
}

/// Returns the ID in the line `KIND RequestId: ID` of Lambda.
fn id_after<'a>(kind: &str, line: &'a Record) -> Option<&'a str> {
    let rest = line
        .message
        .strip_prefix(kind)?
        .strip_prefix(" RequestId: ")?;
    rest.split_whitespace().next()
}

/// The name of the log group of a function, or of the access log.
fn group(stage: &str, source: &str) -> String {
    match source {
        GATEWAY => format!("/aws/apigateway/scratchpad-{stage}"),
        function => format!("/aws/lambda/scratchpad-{stage}-{function}"),
    }
}

/// Parses a time of Insights, which is in UTC, such as `2026-11-30 10:00:00.123`. Returns milliseconds since the Unix
/// epoch.
fn insights_time(text: &str) -> Option<u64> {
    let rfc3339 = format!("{}Z", text.replacen(' ', "T", 1));
    let time = DateTime::from_str(&rfc3339, Format::DateTime).ok()?;
    time.to_millis().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str) -> Record {
        Record {
            at: 1,
            source: "notes-get".into(),
            stream: "s".into(),
            message: message.into(),
        }
    }

    #[test]
    fn an_invocation_has_the_lines_from_its_start_to_the_next_one() {
        let lines = [
            "INIT_START",
            "START RequestId: a Version: 1",
            "{\"message\":\"of a\"}",
            "END RequestId: a",
            "REPORT RequestId: a\tDuration: 1 ms",
            "START RequestId: b Version: 1",
            "{\"message\":\"of b\"}",
            "killed",
        ]
        .map(record);
        let count = |line: &str| {
            let found = invocation_of(&lines, &record(line))?;
            Some((found.0, found.1.len()))
        };
        assert_eq!(count("{\"message\":\"of a\"}"), Some(("a".into(), 4)));
        // The invocation was killed, or has not ended yet.
        assert_eq!(count("killed"), Some(("b".into(), 3)));
        assert_eq!(count("INIT_START"), None);
        assert_eq!(count("missing"), None);
    }

    #[test]
    fn a_time_of_insights_is_in_utc() {
        assert_eq!(
            insights_time("2025-11-20 10:00:01.999"),
            Some(1_763_632_801_999)
        );
        assert_eq!(insights_time("yesterday"), None);
    }
}
