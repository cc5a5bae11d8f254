//! `cargo xtask status`: shows on one screen whether a stage is well, and says it to scripts by the exit code.
//!
//! | module | content |
//! |---|---|
//! | [`report`] | what is known, the verdict, and how it is shown |
//! | [`cloudwatch`] | metrics and alarms |
//! | [`manifest`] | the groups of routes |

mod cloudwatch;
mod manifest;
mod purchases; // part: billing
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::QueueAttributeName;

pub(crate) use self::manifest::functions;
use self::{
    cloudwatch::{Metric, Points, points},
    manifest::Function,
    report::{Alarm, Alarms, Objective, Queue, Release, Report, Stream},
};
use crate::{
    release::{Infrastructure, StageContext, StageName, advice, now},
    ui,
    workspace::Workspace,
};

const DAY: u32 = 86_400;
const MINUTE: u32 = 60;

/// The number of days over which objectives are measured.
const OBJECTIVE_DAYS: u64 = 30;

/// How far back the last values of metrics are searched, in milliseconds: CloudWatch keeps values of one minute for 15 days,
/// and older values say nothing about the present.
const RECENT: u64 = 3 * 3_600_000;

/// Runs `cargo xtask status`. Returns the exit code: 0 if the stage is well; 1 if an alarm is raised, an error budget is
/// exhausted or a dead-letter queue has messages; 2 if this is not known.
pub(crate) async fn status(stage: &StageName, json: bool) -> ExitCode {
    let report = match open(stage).await {
        Ok((context, functions)) => report(&context, &functions).await,
        Err(error) => {
            if let Some(advice) = advice(&error) {
                ui::say(advice);
            }
            Report {
                stage: stage.to_string(),
                at: now(),
                unknown: vec![format!("{error:#}")],
                ..Report::default()
            }
        }
    };
    if json {
        let text = serde_json::to_string_pretty(&report);
        ui::print(text.unwrap_or_default());
    } else {
        ui::print(report.text());
    }
    ui::say(report.summary());
    ExitCode::from(report.verdict().exit_code())
}

async fn open(stage: &StageName) -> Result<(StageContext, Vec<Function>)> {
    let workspace = Workspace::read()?;
    let context = StageContext::open_any(&workspace, stage).await?;
    Ok((context, functions(&workspace)?))
}

/// Collects what is known about a stage. A part that cannot be read does not hide the others.
async fn report(context: &StageContext, functions: &[Function]) -> Report {
    let (release, objectives, alarms, queues, streams) = tokio::join!(
        release(context),
        objectives(context, functions),
        alarms(context),
        queues(context),
        streams(context, functions),
    );
    let mut report = Report {
        stage: context.target.stage.to_string(),
        at: now(),
        ..Report::default()
    };
    let unknown = &mut report.unknown;
    report.release = known(release, "the release", unknown).flatten();
    report.objectives = known(objectives, "the objectives", unknown);
    report.alarms = known(alarms, "the alarms", unknown);
    report.queues = known(queues, "the dead-letter queues", unknown);
    report.streams = known(streams, "the lag of streams", unknown);
    report.purchases = purchases::read(context, unknown).await; // part: billing
    report
}

fn known<T>(result: Result<T>, what: &str, unknown: &mut Vec<String>) -> Option<T> {
    result
        .map_err(|error| unknown.push(format!("cannot read {what}: {error:#}")))
        .ok()
}

async fn release(context: &StageContext) -> Result<Option<Release>> {
    let release = context.current_release().await?;
    Ok(release.map(|release| Release {
        number: release.number,
        deployed_at: release.started_at,
        actor: release.actor,
        commit: release.commit,
    }))
}

/// Reads the requests of the last 30 days, per day, and compares them with the objectives of the stage.
async fn objectives(context: &StageContext, functions: &[Function]) -> Result<Vec<Objective>> {
    let target = &context.target;
    let stage = target.stage.as_ref();
    let mut found = Vec::new();
    let now = now();
    let range = (
        now.saturating_sub(OBJECTIVE_DAYS * u64::from(DAY) * 1000),
        now,
    );
    for (group, objective) in &target.row.objectives {
        let of_group = [("Stage", stage), ("RouteGroup", group.as_str())];
        let fast = format!("PR(:{})", objective.within);
        let mut metrics = vec![
            Metric::own(metrics::Metric::Requests, &of_group, "Sum"),
            Metric::own(metrics::Metric::Faults, &of_group, "Sum"),
            Metric::own(metrics::Metric::Latency, &of_group, &fast),
        ];
        // A crashed invocation writes no line with metrics, and Lambda counts it as an error.
        let own = functions
            .iter()
            .filter(|function| function.group.as_ref() == Some(group));
        metrics.extend(own.map(|function| {
            let name = format!("scratchpad-{stage}-{}", function.name);
            Metric::new("AWS/Lambda", "Errors", &[("FunctionName", &name)], "Sum")
        }));
        let points = points(&target.account, &metrics, range, DAY).await?;
        let [requests, faults, fast, crashes @ ..] = points.as_slice() else {
            continue;
        };
        let crashes: f64 = crashes.iter().map(sum).sum();
        let slow: f64 = fast
            .iter()
            .map(|(day, fast)| value_at(requests, *day) * (100.0 - fast) / 100.0)
            .sum();
        let measured = |kind, percent, within, requests, bad| Objective {
            group: group.clone(),
            kind,
            objective: percent,
            within,
            requests,
            bad,
        };
        let requests = sum(requests);
        found.push(measured(
            "availability",
            objective.availability,
            None,
            requests + crashes,
            sum(faults) + crashes,
        ));
        let within = Some(objective.within);
        found.push(measured(
            "latency",
            objective.latency,
            within,
            requests,
            slow,
        ));
    }
    Ok(found)
}

fn sum(points: &Points) -> f64 {
    points.iter().map(|(_, value)| value).sum()
}

fn value_at(points: &Points, at: u64) -> f64 {
    let point = points.iter().find(|(time, _)| *time == at);
    point.map_or(0.0, |(_, value)| *value)
}

async fn alarms(context: &StageContext) -> Result<Alarms> {
    let target = &context.target;
    let prefix = format!("scratchpad-{}-", target.stage);
    let all = cloudwatch::alarms(&target.account, &prefix).await?;
    // A stage that nothing watches is not well.
    if all.is_empty() && !target.row.objectives.is_empty() {
        bail!("the stage has objectives, but CloudWatch has none of its alarms: deploy it");
    }
    let mut alarms = Alarms::default();
    for alarm in all.iter().filter(|alarm| alarm.notifies()) {
        alarms.count += 1;
        if !alarm.is_raised() {
            continue;
        }
        // The suppressor is named by its ARN or by its name.
        let suppressor = alarm
            .suppressor
            .as_deref()
            .and_then(|name| name.rsplit(':').next());
        let is_suppressed = alarm.is_suppressed();
        let shown = Alarm {
            name: alarm.name.clone(),
            meaning: alarm.meaning().into(),
            since: alarm.since(),
            runbook: alarm.runbook().map(ToOwned::to_owned),
            suppressed_by: suppressor.filter(|_| is_suppressed).map(ToOwned::to_owned),
        };
        let list = if is_suppressed {
            &mut alarms.suppressed
        } else {
            &mut alarms.raised
        };
        list.push(shown);
    }
    Ok(alarms)
}

async fn queues(context: &StageContext) -> Result<Vec<Queue>> {
    const COUNTS: [QueueAttributeName; 3] = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let target = &context.target;
    let sqs = aws_sdk_sqs::Client::new(target.account.config());
    let prefix = format!("scratchpad-{}-", target.stage);
    let listed = sqs.list_queues().queue_name_prefix(&prefix).send().await;
    let listed = listed
        .map_err(aws_sdk_sqs::Error::from)
        .context("cannot list the queues")?;
    let mut queues = Vec::new();
    for url in listed.queue_urls() {
        let name = url.rsplit('/').next().unwrap_or_default();
        let function = name
            .strip_prefix(&prefix)
            .and_then(|name| name.strip_suffix("-dead-letters"));
        let Some(function) = function else { continue };
        let attributes = sqs
            .get_queue_attributes()
            .queue_url(url)
            .set_attribute_names(Some(COUNTS.to_vec()))
            .send()
            .await;
        let attributes = attributes
            .map_err(aws_sdk_sqs::Error::from)
            .with_context(|| format!("cannot read the queue of {function}"))?;
        let counts = attributes
            .attributes()
            .into_iter()
            .flat_map(|attributes| attributes.values());
        let age = Metric::new(
            "AWS/SQS",
            "ApproximateAgeOfOldestMessage",
            &[("QueueName", name)],
            "Maximum",
        );
        let messages = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
        let oldest_age = match messages {
            0 => None,
            _ => last(context, age).await?.map(|(_, age)| age as u64),
        };
        queues.push(Queue {
            function: function.into(),
            messages,
            oldest_age,
        });
    }
    Ok(queues)
}

async fn streams(context: &StageContext, functions: &[Function]) -> Result<Vec<Stream>> {
    // On a stage that uses dev's tables, the function does not read dev's stream.
    if context.target.row.infrastructure == Infrastructure::Dev {
        return Ok(Vec::new());
    }
    let mut streams = Vec::new();
    for function in functions.iter().filter(|function| function.reads_stream) {
        let name = format!("scratchpad-{}-{}", context.target.stage, function.name);
        let lag = Metric::new(
            "AWS/Lambda",
            "IteratorAge",
            &[("FunctionName", &name)],
            "Maximum",
        );
        let lag = last(context, lag).await?;
        streams.push(Stream {
            function: function.name.clone(),
            lag: lag.map(|(_, milliseconds)| (milliseconds / 1000.0) as u64),
        });
    }
    Ok(streams)
}

/// Returns the minute and the value of the last value of a metric in the last hours.
async fn last(context: &StageContext, metric: Metric) -> Result<Option<(u64, f64)>> {
    let now = now();
    let range = (now.saturating_sub(RECENT), now);
    let points = points(&context.target.account, &[metric], range, MINUTE).await?;
    let newest = points.into_iter().flatten();
    Ok(newest.max_by_key(|(at, _)| *at))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws, Request};

    mod purchases; // part: billing

    /// The stage dev. `metric` returns the points of a metric: its name, its dimensions and its statistic.
    async fn reported(
        metric: impl Fn(&str, &str, &str) -> Value + Send + 'static,
        alarms: Value,
        messages: u32,
    ) -> (Report, FakeAws) {
        let aws = FakeAws::new(move |request: &Request| {
            let input: Value = serde_json::from_str(&request.body).unwrap_or_default();
            let output = match request.target.split('.').next_back() {
                Some("GetMetricData") => {
                    let queries = input["MetricDataQueries"].as_array().unwrap().iter();
                    let results = queries.map(|query| {
                        let stat = &query["MetricStat"];
                        let name = stat["Metric"]["MetricName"].as_str().unwrap();
                        let dimensions = stat["Metric"]["Dimensions"].to_string();
                        let points = metric(name, &dimensions, stat["Stat"].as_str().unwrap());
                        json!({"Id": query["Id"], "Timestamps": points["at"], "Values": points["values"]})
                    });
                    json!({"MetricDataResults": results.collect::<Vec<_>>()})
                }
                Some("DescribeAlarms") => alarms.clone(),
                Some("ListQueues") => json!({"QueueUrls": [
                    "http://127.0.0.1:1/1/scratchpad-dev-notes-attachment-uploaded-dead-letters", "http://127.0.0.1:1/1/scratchpad-dev-other",
                ]}),
                Some("GetQueueAttributes") => json!({"Attributes": {
                    "ApproximateNumberOfMessages": messages.to_string(), "ApproximateNumberOfMessagesNotVisible": "1",
                }}),
                _ => return Answer::new(404, "<Error><Code>NoSuchBucket</Code></Error>"),
            };
            Answer::new(200, output.to_string())
        });
        let context = aws.stage().await;
        let functions = functions(&context.workspace).unwrap();
        (report(&context, &functions).await, aws)
    }

    fn nothing() -> Value {
        json!({"at": [], "values": []})
    }

    #[tokio::test]
    async fn budgets_are_those_of_the_requests_faults_crashes_and_slow_requests_of_30_days() {
        let metric = |name: &str, dimensions: &str, statistic: &str| {
            let day = |values: [f64; 2]| json!({"at": [86_400, 0], "values": values});
            if name == "Errors" && dimensions.contains("notes-get") {
                return day([1.0, 0.0]);
            }
            if !dimensions.contains("\"notes\"") {
                return nothing();
            }
            match (name, statistic) {
                ("Requests", "Sum") => day([999.0, 9_000.0]),
                ("Faults", "Sum") => day([4.0, 0.0]),
                // Fast requests in percent, of requests per day.
                ("Latency", "PR(:1000)") => day([100.0, 99.5]),
                other => panic!("{other:?}"),
            }
        };
        let (report, aws) = reported(metric, json!({}), 0).await;
        let objectives = report.objectives.unwrap();
        let notes: Vec<_> = objectives
            .iter()
            .filter(|objective| objective.group == "notes")
            .collect();
        assert_eq!(
            (notes[0].kind, notes[0].requests, notes[0].bad),
            ("availability", 10_000.0, 5.0)
        );
        assert_eq!(
            (notes[1].kind, notes[1].requests, notes[1].bad),
            ("latency", 9_999.0, 45.0)
        );
        let groups: std::collections::BTreeSet<_> = objectives
            .iter()
            .map(|objective| objective.group.as_str())
            .collect();
        let functions = functions(&Workspace::read().unwrap()).unwrap();
        let of_routes = functions.iter().filter_map(|own| own.group.as_deref());
        assert_eq!(groups, of_routes.collect());
        let others = objectives
            .iter()
            .filter(|objective| objective.group != "notes");
        assert!(
            others
                .into_iter()
                .all(|objective| objective.requests == 0.0)
        );
        let requests = aws.requests();
        let request = requests
            .iter()
            .find(|request| request.target.ends_with("GetMetricData"))
            .unwrap();
        assert!(
            request.authorization.contains("/us-east-1/monitoring/"),
            "{}",
            request.authorization
        );
    }

    #[tokio::test]
    async fn alarms_without_actions_are_not_listed_and_suppressed_ones_are_not_raised() {
        let alarm = |name: &str, more: &Value| {
            let mut alarm = json!({
                "AlarmName": format!("scratchpad-dev-{name}"), "StateValue": "ALARM", "AlarmActions": ["topic"],
                "AlarmDescription": "It failed. See docs/runbook.md#dead-letters", "StateUpdatedTimestamp": 1.5,
            });
            let more = more.as_object().unwrap().clone();
            alarm.as_object_mut().unwrap().extend(more);
            alarm
        };
        let alarms = json!({
            "MetricAlarms": [
                alarm("notes-attachment-uploaded-waiting-dead-letters", &json!({})),
                alarm("sms", &json!({"StateValue": "OK"})),
                alarm("notes-availability-1h", &json!({"AlarmActions": []})),
            ],
            "CompositeAlarms": [alarm("notes-availability", &json!({
                "ActionsSuppressedBy": "WaitPeriod", "ActionsSuppressor": "arn:aws:cloudwatch:us-east-1:1:alarm:scratchpad-dev-causes",
            }))],
        });
        let (report, _) = reported(|_, _, _| nothing(), alarms, 0).await;
        let alarms = report.alarms.unwrap();
        assert_eq!(alarms.count, 3);
        let [raised] = alarms.raised.as_slice() else {
            panic!("{alarms:?}");
        };
        assert_eq!(
            raised.name,
            "scratchpad-dev-notes-attachment-uploaded-waiting-dead-letters"
        );
        assert_eq!(
            (raised.meaning.as_str(), raised.since),
            ("It failed.", Some(1_500))
        );
        assert_eq!(
            raised.runbook.as_deref(),
            Some("docs/runbook.md#dead-letters")
        );
        assert_eq!(
            alarms.suppressed[0].suppressed_by.as_deref(),
            Some("scratchpad-dev-causes")
        );
    }

    #[tokio::test]
    async fn a_stage_with_objectives_and_without_alarms_is_not_well() {
        let (report, _) = reported(|_, _, _| nothing(), json!({}), 0).await;
        assert!(report.alarms.is_none());
        let [why] = report.unknown.as_slice() else {
            panic!("{:?}", report.unknown);
        };
        assert!(why.contains("none of its alarms"), "{why}");
    }

    #[tokio::test]
    async fn queues_have_the_last_values() {
        let minute = now() / 60_000 * 60;
        let metric = move |name: &str, _: &str, _: &str| match name {
            "ApproximateAgeOfOldestMessage" => json!({"at": [minute], "values": [7_200]}),
            _ => nothing(),
        };
        let (report, _) = reported(metric, json!({}), 2).await;
        let queue = Queue {
            function: "notes-attachment-uploaded".into(),
            messages: 3,
            oldest_age: Some(7_200),
        };
        assert_eq!(report.queues, Some(vec![queue]));
    }

    #[tokio::test]
    async fn a_failed_request_leaves_only_its_part_unknown() {
        let aws = FakeAws::new(
            |request: &Request| match request.target.split('.').next_back() {
                Some("ListQueues") => Answer::new(200, "{}"),
                Some("GetMetricData") => Answer::new(200, r#"{"MetricDataResults": []}"#),
                Some("DescribeAlarms") => {
                    Answer::new(400, r#"{"__type": "AccessDenied", "message": "no"}"#)
                }
                _ => Answer::new(404, "<Error><Code>NoSuchBucket</Code></Error>"),
            },
        );
        let context = aws.stage().await;
        let functions = functions(&context.workspace).unwrap();
        let report = report(&context, &functions).await;
        assert_eq!(report.verdict(), report::Verdict::Unknown);
        assert!(report.queues.is_some() && report.objectives.is_some() && report.alarms.is_none());
        let [why] = report.unknown.as_slice() else {
            panic!("{:?}", report.unknown);
        };
        assert!(
            why.contains("the alarms") && why.contains("AccessDenied"),
            "{why}"
        );
    }
}
