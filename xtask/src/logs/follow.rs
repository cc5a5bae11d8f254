//! The search for everything that belongs to a request, a purchase or a user.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    line::{GATEWAY, Line},
    read::{Logs, Record, SKEW},
    timeline::{Invocation, group, is_effect, rows, sort},
    traces::Traces,
};
use crate::{
    release::StageContext,
    stage::{LocalStage, STAGE},
    ui,
    workspace::Workspace,
};

/// How many invocations are read at the same time.
const CONCURRENCY: usize = 8;

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// The ID that API Gateway gave to a request.
    Request(String),
    Purchase(String),
    /// The ID of an identity, or the hash of it that log lines contain.
    User(String),
}

impl Subject {
    fn noun(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Purchase(_) => "purchase",
            Self::User(_) => "user",
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Request(id) | Self::Purchase(id) | Self::User(id) => id,
        }
    }
}

/// Returns when a purchase was ordered, in milliseconds since the Unix epoch, minus what clocks may differ. Its ID is a
/// UUID of version 7, which begins with the time.
pub(super) fn time_of_purchase(id: &str) -> Option<u64> {
    let (seconds, nanos) = uuid::Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    Some((seconds * 1000 + u64::from(nanos) / 1_000_000).saturating_sub(SKEW))
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
        bail!("{}", not_found(subject, &context.target.stage.to_string()));
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
        Subject::Purchase(_) => {
            "cargo xtask shop find lists purchases; if it is in the list, its log lines are deleted already"
        }
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
        Traces::File(LocalStage::running(workspace)?.path("traces.jsonl"))
    } else if target.account.is_local() {
        Traces::None
    } else {
        Traces::XRay(target.account.clone())
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
            let mut first = found.invocations();
            first.retain(|invocation| invocation.values("request_id").contains(&seed));
            let about = first.iter().flat_map(Invocation::subjects).collect();
            self.add(&mut found, &about).await?;
            found.keep(|invocation| {
                invocation.values("request_id").contains(&seed)
                    || is_effect(&invocation.function) && is_caused(invocation, &first)
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

    async fn find(&self, ids: &BTreeSet<String>) -> Result<Vec<Record>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.logs.find(ids, self.from).await
    }

    /// Adds the invocations whose lines contain one of `ids`, with all of their lines.
    async fn add(&self, found: &mut Found, ids: &BTreeSet<String>) -> Result<()> {
        let mut records = self.find(ids).await?;
        records.retain(|record| record.source != GATEWAY);
        // One line of each invocation. A line that names no invocation is read only if it belongs to none of these.
        let (named, others): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| Line::parse(record).invocation().is_some());
        let mut one_each: BTreeMap<(String, String), Record> = BTreeMap::new();
        for record in named {
            let id = Line::parse(&record).invocation().map(ToOwned::to_owned);
            one_each.insert((record.source.clone(), id.unwrap_or_default()), record);
        }
        self.read(found, one_each.into_values()).await?;
        let known: BTreeSet<Record> = found.records.clone();
        let others = others.into_iter().filter(|record| !known.contains(record));
        self.read(found, others).await
    }

    /// Adds the invocations that wrote `records`.
    async fn read(&self, found: &mut Found, records: impl Iterator<Item = Record>) -> Result<()> {
        let whole = records.map(|record| async move {
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
    /// By the function and Lambda's ID of the invocation.
    lines: BTreeMap<(String, String), Vec<Line>>,
    records: BTreeSet<Record>,
}

impl Found {
    fn insert(&mut self, id: String, records: Vec<Record>) {
        let Some(source) = records.first().map(|record| record.source.clone()) else {
            return;
        };
        let lines = records.iter().map(Line::parse).collect();
        self.lines.insert((source, id), lines);
        self.records.extend(records);
    }

    /// Removes the other invocations.
    fn keep(&mut self, is_kept: impl Fn(&Invocation) -> bool) {
        let kept = self.invocations().into_iter().filter(is_kept);
        let kept: BTreeSet<_> = kept
            .map(|invocation| (invocation.function, invocation.id))
            .collect();
        self.lines.retain(|key, _| kept.contains(key));
    }

    /// The lines, each with the ID of its invocation.
    fn lines(&self) -> impl Iterator<Item = (String, Line)> {
        let lines = self.lines.iter();
        lines.flat_map(|((_, id), lines)| lines.iter().map(|line| (id.clone(), line.clone())))
    }

    fn invocations(&self) -> Vec<Invocation> {
        group(self.lines(), &[], &BTreeMap::new())
    }
}
