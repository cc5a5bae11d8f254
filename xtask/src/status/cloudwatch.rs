//! Reads metrics and alarms from CloudWatch.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::release::{Account, Rest};

/// The prefix of the operations of CloudWatch in the AWS JSON protocol.
const SERVICE: &str = "GraniteServiceVersion20100801";

/// The maximum number of metrics of a request, and of alarms in a response:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>
const MAX_METRICS: usize = 500;
const MAX_ALARMS: u32 = 100;

/// A metric with its exact dimensions, and the statistic that combines its values.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    pub(super) namespace: &'static str,
    pub(super) name: String,
    pub(super) dimensions: Vec<(&'static str, String)>,
    pub(super) statistic: String,
}

impl Metric {
    /// A metric that the functions write to their logs.
    pub(super) fn own(
        metric: metrics::Metric,
        dimensions: &[(&'static str, &str)],
        statistic: &str,
    ) -> Self {
        Self::new(metrics::NAMESPACE, metric.name(), dimensions, statistic)
    }

    pub(super) fn new(
        namespace: &'static str,
        name: &str,
        dimensions: &[(&'static str, &str)],
        statistic: &str,
    ) -> Self {
        let dimensions = dimensions
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            namespace,
            name: name.into(),
            dimensions: dimensions.collect(),
            statistic: statistic.into(),
        }
    }
}

/// The times and values of a metric, the newest first. A time is the start of a period, in milliseconds since the Unix
/// epoch. A period without values is missing.
pub(super) type Points = Vec<(u64, f64)>;

/// Reads metrics from `from` to `to`, in milliseconds since the Unix epoch, in periods of `period` seconds. Returns the
/// points of each metric.
///
/// # Errors
/// Fails if a request fails.
pub(super) async fn points(
    account: &Account,
    metrics: &[Metric],
    (from, to): (u64, u64),
    period: u32,
) -> Result<Vec<Points>> {
    let mut points = vec![Points::new(); metrics.len()];
    for (chunk, metrics) in metrics.chunks(MAX_METRICS).enumerate() {
        let queries = metrics.iter().enumerate().map(|(at, metric)| {
            let dimensions = metric.dimensions.iter();
            let dimensions: Vec<_> = dimensions
                .map(|(name, value)| json!({"Name": name, "Value": value}))
                .collect();
            json!({"Id": format!("m{}", chunk * MAX_METRICS + at), "MetricStat": {
                "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
                "Period": period, "Stat": metric.statistic,
            }})
        });
        let input = json!({
            "MetricDataQueries": queries.collect::<Vec<_>>(), "StartTime": from / 1000, "EndTime": to / 1000,
            "ScanBy": "TimestampDescending",
        });
        let pages: Vec<MetricData> = all_pages(account, "GetMetricData", input).await?;
        for result in pages.into_iter().flat_map(|page| page.metric_data_results) {
            let at: Option<usize> = result.id.strip_prefix('m').and_then(|at| at.parse().ok());
            if let Some(points) = at.and_then(|at| points.get_mut(at)) {
                let times = result.timestamps.iter().filter_map(time);
                points.extend(times.zip(result.values));
            }
        }
    }
    Ok(points)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricData {
    #[serde(default)]
    metric_data_results: Vec<MetricDataResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDataResult {
    id: String,
    #[serde(default)]
    timestamps: Vec<Value>,
    #[serde(default)]
    values: Vec<f64>,
}

/// An alarm.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Alarm {
    #[serde(rename = "AlarmName")]
    pub(super) name: String,
    #[serde(default, rename = "AlarmDescription")]
    pub(super) description: String,
    #[serde(rename = "StateValue")]
    state: String,
    #[serde(default, rename = "StateUpdatedTimestamp")]
    since: Value,
    #[serde(default = "yes")]
    actions_enabled: bool,
    #[serde(default, rename = "AlarmActions")]
    actions: Vec<String>,
    /// Why the actions of a composite alarm are suppressed.
    actions_suppressed_by: Option<String>,
    #[serde(rename = "ActionsSuppressor")]
    pub(super) suppressor: Option<String>,
}

fn yes() -> bool {
    true
}

impl Alarm {
    pub(super) fn is_raised(&self) -> bool {
        self.state == "ALARM"
    }

    /// Whether the alarm notifies somebody. Others are parts of composite alarms.
    pub(super) fn notifies(&self) -> bool {
        self.actions_enabled && !self.actions.is_empty()
    }

    /// Whether the alarm does not notify, because another alarm reports the cause.
    pub(super) fn is_suppressed(&self) -> bool {
        self.actions_suppressed_by
            .as_deref()
            .is_some_and(|by| !by.is_empty())
    }

    /// When the alarm got its state, in milliseconds since the Unix epoch.
    pub(super) fn since(&self) -> Option<u64> {
        time(&self.since)
    }

    /// The section of the runbook that says what to do.
    pub(super) fn runbook(&self) -> Option<&str> {
        let mut words = self.description.split_whitespace();
        let section = words.find(|word| word.contains("runbook.md#"))?;
        Some(section.trim_end_matches(['.', ')']))
    }

    /// What the alarm means, without the reference to the runbook.
    pub(super) fn meaning(&self) -> &str {
        let end = self.description.find(" See docs/runbook.md");
        let meaning = end.and_then(|end| self.description.get(..end));
        meaning.unwrap_or(&self.description)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarms {
    #[serde(default)]
    metric_alarms: Vec<Alarm>,
    #[serde(default)]
    composite_alarms: Vec<Alarm>,
}

/// Returns the alarms whose names begin with `prefix`.
///
/// # Errors
/// Fails if a request fails.
pub(super) async fn alarms(account: &Account, prefix: &str) -> Result<Vec<Alarm>> {
    let input = json!({
        "AlarmNamePrefix": prefix, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": MAX_ALARMS,
    });
    let pages: Vec<Alarms> = all_pages(account, "DescribeAlarms", input).await?;
    let mut alarms: BTreeMap<String, Alarm> = BTreeMap::new();
    for page in pages {
        for alarm in page.metric_alarms.into_iter().chain(page.composite_alarms) {
            alarms.insert(alarm.name.clone(), alarm);
        }
    }
    Ok(alarms.into_values().collect())
}

async fn all_pages<T: DeserializeOwned>(
    account: &Account,
    operation: &str,
    mut input: Value,
) -> Result<Vec<T>> {
    let target = format!("{SERVICE}.{operation}");
    let mut pages = Vec::new();
    loop {
        let mut page = Rest::cloudwatch(account).call(&target, &input).await?;
        let next = page.get_mut("NextToken").map_or(Value::Null, Value::take);
        let parsed = serde_json::from_value(page);
        pages.push(parsed.with_context(|| format!("cannot parse the output of {operation}"))?);
        if next.as_str().is_none_or(str::is_empty) {
            return Ok(pages);
        }
        if let Some(fields) = input.as_object_mut() {
            fields.insert("NextToken".into(), next);
        }
    }
}

/// Parses a time: seconds since the Unix epoch, or a text in the format of RFC 3339. Returns milliseconds since the Unix
/// epoch.
fn time(value: &Value) -> Option<u64> {
    use aws_smithy_types::date_time::{DateTime, Format};

    if let Some(seconds) = value.as_f64() {
        return Some((seconds * 1000.0) as u64);
    }
    let time = DateTime::from_str(value.as_str()?, Format::DateTimeWithOffset).ok()?;
    time.to_millis().ok()?.try_into().ok()
}
