//! The search for everything that belongs to a request, a user or an item such as a note.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    line::{GATEWAY, Line, Record},
    read::{Logs, SKEW},
    timeline::{Attempt, EVENTS, Invocation, group, rows, sort},
    traces::Traces,
};
use crate::{cloud::running_stage, release::StageContext, stage::STAGE, ui, workspace::Workspace};

/// The maximum number of IDs in one query, whose text may have 10,000 characters:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartQuery.html>
const IDS: usize = 200;

/// How many invocations are read at the same time.
const CONCURRENCY: usize = 8;

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// The ID that API Gateway gave to a request.
    Request(String),
    /// An item that log lines name.
    Item {
        /// What the item is, such as `note`.
        noun: &'static str,
        id: String,
        /// What to try if no line names the item.
        advice: &'static str,
    },
    /// The ID of an identity, or the hash of it that log lines contain.
    User(String),
}

impl Subject {
    fn noun(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Item { noun, .. } => noun,
            Self::User(_) => "user",
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Request(id) | Self::Item { id, .. } | Self::User(id) => id,
        }
    }
}

/// Shows everything that belongs to `subject`, and happened at `from` or later. `from` is in milliseconds since the Unix
/// epoch.
///
/// # Errors
/// Fails if nothing is found, or if a log or a trace cannot be read.
pub(super) async fn follow(
    context: &StageContext,
    workspace: &Workspace,
    subject: &Subject,
    from: u64,
) -> Result<()> {
    let search = Search {
        logs: Logs::open(context, workspace).await?,
        traces: traces_of(context, workspace)?,
        from,
    };
    let seed = match subject {
        Subject::User(user) => hash(context, workspace, user).await?,
        subject => subject.id().to_owned(),
    };
    let mut invocations = search.run(subject, seed).await?;
    sort(&mut invocations);
    if invocations.is_empty() {
        bail!("{}", not_found(subject, context.target.stage.as_ref()));
    }
    rows(&invocations).iter().for_each(ui::print);
    ui::success(format!(
        "{} of the {} {}",
        ui::count(invocations.len(), "invocation"),
        subject.noun(),
        subject.id()
    ));
    Ok(())
}

/// What to try if nothing was found.
fn not_found(subject: &Subject, stage: &str) -> String {
    let why = match subject {
        Subject::Request(_) => {
            "the ID of a request is in its response header x-amzn-RequestId and in the `requestId` of an error; if the request \
             is older than the search, add --since 24h"
        }
        Subject::Item { advice, .. } => advice,
        Subject::User(_) => "if the requests are older than the search, add --since 24h",
    };
    let (noun, id) = (subject.noun(), subject.id());
    format!(
        "no log line of {stage} names the {noun} {id}: {why}. The newest lines need some seconds to arrive"
    )
}

fn traces_of(context: &StageContext, workspace: &Workspace) -> Result<Traces> {
    let target = &context.target;
    Ok(if target.stage.as_ref() == STAGE {
        Traces::File(running_stage(workspace)?.path("traces.jsonl"))
    } else if target.account.is_local() {
        Traces::None
    } else {
        Traces::XRay(Box::new(target.account.clone()))
    })
}

/// Returns the hash of an identity ID that log lines contain, or `user` itself if it is such a hash.
async fn hash(context: &StageContext, workspace: &Workspace, user: &str) -> Result<String> {
    const HASH_LENGTH: usize = 16;
    if user.len() == HASH_LENGTH && user.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(user.to_owned());
    }
    // All functions have the same key.
    let function = workspace
        .functions()
        .next()
        .context("there is no function")?;
    let configuration = aws_sdk_lambda::Client::new(context.target.account.config())
        .get_function_configuration()
        .function_name(format!(
            "scratchpad-{}-{}",
            context.target.stage, function.name
        ))
        .send()
        .await;
    let configuration = configuration
        .map_err(aws_sdk_lambda::Error::from)
        .context("cannot read the key of the hashes of users")?;
    let variables = configuration
        .environment()
        .and_then(|environment| environment.variables());
    let key = variables.and_then(|variables| variables.get("USER_HASH_KEY"));
    let key = key.context("the functions have no USER_HASH_KEY: deploy the stage first")?;
    let key: metrics::UserHashKey = key.parse().map_err(anyhow::Error::msg)?;
    Ok(key.hash(user))
}

struct Search {
    logs: Logs,
    traces: Traces,
    /// In milliseconds since the Unix epoch.
    from: u64,
}

impl Search {
    /// Finds the invocations that belong to `subject`, whose ID in log lines is `seed`.
    async fn run(&self, subject: &Subject, seed: String) -> Result<Vec<Invocation>> {
        let mut found = Found::default();
        self.add(&mut found, &[seed.clone()].into()).await?;
        let mut requests = BTreeSet::new();
        if let Subject::Request(_) = subject {
            // A function that crashed has written no line with the ID of the request. The access log has its invocation.
            let invoked = self.invoked_for(&seed).await?;
            self.add(&mut found, &invoked).await?;
            let is_first = |invocation: &Invocation| {
                invoked.contains(&invocation.id) || invocation.values("request_id").contains(&seed)
            };
            let mut first = found.invocations();
            first.retain(&is_first);
            let about = first.iter().flat_map(Invocation::subjects).collect();
            self.add(&mut found, &about).await?;
            found.keep(|invocation| {
                is_first(invocation)
                    || handles_events(&invocation.function) && is_caused(invocation, &first)
            });
            requests.insert(seed);
        }
        let invocations = found.invocations();
        requests.extend(
            invocations
                .iter()
                .flat_map(|invocation| invocation.values("request_id"))
                .filter(|id| !id.is_empty()),
        );
        // The access log names a request, but not what it was about.
        let access = self.find(&requests).await?;
        let access = access.iter().filter(|record| record.source == GATEWAY);
        let access: Vec<_> = access.map(Line::parse).collect();
        let traces = found.lines.values().flatten().filter_map(Line::trace);
        let traces = traces.map(ToOwned::to_owned).collect();
        let traces = self.traces.read(&traces).await?;
        Ok(group(found.lines(), &access, &traces))
    }

    /// Returns Lambda's IDs of the invocations for a request, as the access log says.
    async fn invoked_for(&self, request: &str) -> Result<BTreeSet<String>> {
        let records = self.find(&[request.to_owned()].into()).await?;
        let access = records.iter().filter(|record| record.source == GATEWAY);
        Ok(access
            .filter_map(|record| Some(Line::parse(record).invocation()?.to_owned()))
            .collect())
    }

    async fn find(&self, ids: &BTreeSet<String>) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let ids: Vec<&String> = ids.iter().collect();
        for ids in ids.chunks(IDS) {
            records.extend(self.logs.find(ids, self.from).await?);
        }
        Ok(records)
    }

    /// Finds the log lines that contain one of `ids`, and adds all lines of the invocations that wrote them.
    async fn add(&self, found: &mut Found, ids: &BTreeSet<String>) -> Result<()> {
        let mut records = self.find(ids).await?;
        records.retain(|record| record.source != GATEWAY);
        // First the last line of each invocation. Other lines are read only if they belong to none of these invocations.
        let (last, others): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| Line::parse(record).is_last());
        self.read(found, last).await?;
        let others = others.into_iter();
        let others = others.filter(|record| !found.records.contains(record));
        self.read(found, others.collect()).await
    }

    /// Adds the invocations that wrote `records`.
    async fn read(&self, found: &mut Found, records: Vec<Record>) -> Result<()> {
        let whole = records.into_iter().map(|record| async move {
            let line = Line::parse(&record);
            let duration = line.is_last().then(|| line.duration()).flatten();
            let duration = duration.map(|duration| duration as u64);
            let whole = self.logs.invocation(&record, duration).await?;
            // If Lambda's line about the start is missing, the line stands for its invocation.
            let id = line.invocation().unwrap_or(&record.stream).to_owned();
            Ok::<_, anyhow::Error>(whole.unwrap_or_else(|| (id, vec![record])))
        });
        let whole: Vec<_> = stream::iter(whole)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        for (id, lines) in whole {
            found.insert(id, lines);
        }
        Ok(())
    }
}

fn handles_events(function: &str) -> bool {
    let mut events = EVENTS.iter().copied().flatten();
    events.any(|event| *event == function)
}

/// Whether an invocation is an effect of one of `first`, directly or not.
fn is_caused(invocation: &Invocation, first: &[Invocation]) -> bool {
    first.iter().any(|cause| {
        invocation.start() + SKEW * 1000 >= cause.start()
            && !invocation.subjects().is_disjoint(&cause.subjects())
    })
}

/// The lines that were found.
#[derive(Debug, Default)]
struct Found {
    /// By the function and its invocation.
    lines: BTreeMap<(String, Attempt), Vec<Line>>,
    records: BTreeSet<Record>,
}

impl Found {
    fn insert(&mut self, id: String, records: Vec<Record>) {
        let Some(first) = records.first() else {
            return;
        };
        let key = (first.source.clone(), (id, first.at));
        self.lines
            .insert(key, records.iter().map(Line::parse).collect());
        self.records.extend(records);
    }

    /// Removes the other invocations.
    fn keep(&mut self, is_kept: impl Fn(&Invocation) -> bool) {
        self.lines.retain(|(_, attempt), lines| {
            let lines = lines.iter().map(|line| (attempt.clone(), line.clone()));
            let invocations = group(lines, &[], &BTreeMap::new());
            invocations.iter().all(&is_kept)
        });
    }

    /// The lines, each with its invocation.
    fn lines(&self) -> impl Iterator<Item = (Attempt, Line)> {
        let lines = self.lines.iter();
        lines.flat_map(|((_, attempt), lines)| {
            lines.iter().map(|line| (attempt.clone(), line.clone()))
        })
    }

    fn invocations(&self) -> Vec<Invocation> {
        group(self.lines(), &[], &BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws, Request};

    mod purchases; // part: billing

    const FILE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
    const NOW: u64 = 1_763_632_800_000;

    /// The lines of a log: the name of the group without `scratchpad-dev`, the time in milliseconds after [`NOW`], and the
    /// message.
    type Lines = Vec<(&'static str, u64, String)>;

    fn invocation(function: &'static str, id: &str, at: u64, fields: Value) -> Lines {
        let mut line = json!({"message": "event handled", "aws_request_id": id, "duration_ms": 5});
        let fields = fields.as_object().unwrap().clone();
        line.as_object_mut().unwrap().extend(fields);
        vec![
            (function, at, format!("START RequestId: {id} Version: 1")),
            (
                function,
                at + 1,
                json!({"message": "a warning", "level": "WARN"}).to_string(),
            ),
            (function, at + 5, line.to_string()),
            (function, at + 6, format!("END RequestId: {id}")),
            (
                function,
                at + 6,
                format!("REPORT RequestId: {id}\tDuration: 5 ms"),
            ),
        ]
    }

    fn access(request: &str, route: &str, at: u64) -> Lines {
        let line = json!({"request_id": request, "time": (NOW + at).to_string(), "method": "POST", "route": route, "status": "200"});
        vec![(GATEWAY, at, line.to_string())]
    }

    fn group_of(source: &str) -> String {
        match source {
            GATEWAY => "/aws/apigateway/scratchpad-dev".into(),
            function => format!("/aws/lambda/scratchpad-dev-{function}"),
        }
    }

    /// A stage with these logs. Each query of Insights is running when its results are first read.
    fn aws(lines: Lines) -> FakeAws {
        let queries = Arc::<Mutex<Vec<(String, bool)>>>::default();
        FakeAws::new(move |request: &Request| {
            let input: Value = serde_json::from_str(&request.body).unwrap();
            let mut queries = queries.lock().unwrap();
            let output = match request.target.split('.').next_back().unwrap() {
                "DescribeLogGroups" => {
                    let prefix = input["logGroupNamePrefix"].as_str().unwrap();
                    let sources = lines.iter().map(|line| line.0);
                    let groups: BTreeSet<_> = sources.chain([GATEWAY, "unknown"]).collect();
                    let groups = groups.into_iter().map(group_of);
                    let groups = groups.filter(|group| group.starts_with(prefix));
                    json!({"logGroups": groups.map(|group| json!({"logGroupName": group})).collect::<Vec<_>>()})
                }
                "StartQuery" => {
                    let groups = input["logGroupNames"].as_array().unwrap();
                    assert!(!groups.contains(&json!(group_of("unknown"))));
                    let query = input["queryString"].as_str().unwrap();
                    let pattern = query.split('/').nth(1).unwrap();
                    queries.push((pattern.to_owned(), true));
                    json!({"queryId": (queries.len() - 1).to_string()})
                }
                "GetQueryResults" => {
                    let query: usize = input["queryId"].as_str().unwrap().parse().unwrap();
                    let (pattern, is_running) = &mut queries[query];
                    if std::mem::take(is_running) {
                        return Answer::new(
                            200,
                            json!({"status": "Running", "results": []}).to_string(),
                        );
                    }
                    let found = lines
                        .iter()
                        .filter(|line| pattern.split('|').any(|id| line.2.contains(id)));
                    let rows = found.map(|(source, at, message)| {
                        let field =
                            |name: &str, value: String| json!({"field": name, "value": value});
                        json!([
                            field(
                                "@timestamp",
                                format!("2025-11-20 10:00:{:02}.{:03}", at / 1000, at % 1000)
                            ),
                            field("@message", message.clone()),
                            field("@log", format!("111111111111:{}", group_of(source))),
                            field("@logStream", "stream".into()),
                            field("@ptr", "1".into()),
                        ])
                    });
                    json!({"status": "Complete", "results": rows.collect::<Vec<_>>()})
                }
                "GetLogEvents" => {
                    let group = input["logGroupName"].as_str().unwrap();
                    let events = lines.iter().filter(|line| group_of(line.0) == group);
                    let events = events
                        .map(|(_, at, message)| json!({"timestamp": NOW + at, "message": message}));
                    json!({"events": events.collect::<Vec<_>>(), "nextForwardToken": "end"})
                }
                other => panic!("{other}"),
            };
            Answer::new(200, output.to_string())
        })
    }

    async fn found(lines: Lines, subject: Subject) -> Vec<Invocation> {
        let context = aws(lines).stage().await;
        let search = Search {
            logs: Logs::open(&context, &context.workspace).await.unwrap(),
            traces: Traces::None,
            from: NOW,
        };
        let seed = subject.id().to_owned();
        let mut invocations = search.run(&subject, seed).await.unwrap();
        sort(&mut invocations);
        invocations
    }

    /// An upload, its event, and a request about the file that does not belong to it.
    fn upload() -> Lines {
        let about =
            |request: &str| json!({"message": "request", "request_id": request, "file_id": FILE});
        [
            access("r1", "/notes/attachments", 0),
            invocation("notes-upload", "a1", 10, about("r1")),
            invocation("notes-get", "a2", 15, about("r2")),
            access("r2", "/notes", 14),
            invocation(
                "notes-attachment-uploaded",
                "a3",
                20,
                json!({"file_id": ["other", FILE]}),
            ),
            invocation(
                "notes-attachment-uploaded",
                "a4",
                31,
                json!({"file_id": "other"}),
            ),
        ]
        .concat()
    }

    fn file() -> Subject {
        Subject::Item {
            noun: "file",
            id: FILE.into(),
            advice: "",
        }
    }

    fn ids(invocations: &[Invocation]) -> Vec<&str> {
        invocations
            .iter()
            .map(|invocation| invocation.id.as_str())
            .collect()
    }

    #[tokio::test]
    async fn a_request_leads_to_its_effects_and_not_to_other_requests_about_the_same_file() {
        let found = found(upload(), Subject::Request("r1".into())).await;
        assert_eq!(ids(&found), ["a1", "a3"]);
        assert_eq!(found[0].access.len(), 1);
        // The lines of an invocation that contain no ID belong to it.
        let rows = rows(&found);
        assert_eq!(
            rows.iter().filter(|row| row.contains("a warning")).count(),
            2,
            "{rows:#?}"
        );
    }

    #[tokio::test]
    async fn an_item_leads_to_every_request_and_event_about_it() {
        let found = found(upload(), file()).await;
        assert_eq!(ids(&found), ["a1", "a2", "a3"]);
        assert!(found[1].access[0].text("request_id") == "r2");
    }

    #[tokio::test]
    async fn a_line_without_an_id_of_its_invocation_leads_to_the_whole_invocation() {
        let mut lines = invocation("notes-upload", "a1", 10, json!({}));
        lines[1].2 = json!({"message": "no file", "file_id": FILE, "level": "ERROR"}).to_string();
        let found = found(lines, file()).await;
        assert_eq!(ids(&found), ["a1"]);
        assert_eq!(found[0].lines.len(), 5);
    }

    #[tokio::test]
    async fn a_request_that_only_the_gateway_saw_is_found_and_an_unknown_one_is_not() {
        let refused = found(access("r3", "/notes", 5), Subject::Request("r3".into())).await;
        assert_eq!((refused.len(), refused[0].function.as_str()), (1, GATEWAY));
        assert!(
            found(upload(), Subject::Request("r9".into()))
                .await
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_request_whose_function_crashed_leads_to_the_report_of_lambda() {
        let mut lines = access("r1", "/notes", 0);
        lines[0].2 =
            json!({"request_id": "r1", "aws_request_id": "a1", "route": "/notes", "status": "502"})
                .to_string();
        let crash = invocation("notes-create", "a1", 10, json!({}));
        lines.extend(
            crash
                .into_iter()
                .filter(|line| !line.2.contains("event handled")),
        );
        let found = found(lines, Subject::Request("r1".into())).await;
        let rows = rows(&found);
        assert!(rows[0].contains("/notes 502"), "{rows:#?}");
        assert!(rows[2].contains("wrote no last line"), "{rows:#?}");
    }

    #[tokio::test]
    async fn an_id_cannot_change_the_query() {
        let context = aws(Lines::new()).stage().await;
        let logs = Logs::open(&context, &context.workspace).await.unwrap();
        for id in ["", "a/ or 1=1", "a|b", "a.*"] {
            assert!(logs.find(&[&id.to_owned()], NOW).await.is_err(), "{id}");
        }
    }
}
