//! `cargo xtask logs`: shows the log lines of a stage's functions, or what happened to one request, note or user.
//!
//! | module | content |
//! |---|---|
//! | [`follow`] | the search: from an ID to the IDs that its lines name |
//! | [`timeline`] | the order of cause and effect, and the rows |
//! | [`read`], [`line`] | the logs, and their lines |
//! | [`traces`] | the traces |

mod follow;
mod line;
mod purchase; // part: billing
mod read;
mod timeline;
mod traces;

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_cloudwatchlogs::Client;
use tokio::time::sleep;

use self::{
    follow::{Subject, follow},
    line::{Line as LogLine, Record},
};
use crate::{
    process::shutdown_signal,
    release::{Age, StageContext, StageName, now},
    ui,
    workspace::Workspace,
};

/// The time between two reads of the logs if `--follow` is given: of a local stage, and of a stage on AWS, which limits
/// the rate of these requests.
const LOCAL_INTERVAL: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(3);

/// The options of `cargo xtask logs`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The name of the function's crate [default: all functions]
    #[arg(conflicts_with = "subject")]
    function: Option<String>,
    /// The name of the stage
    #[arg(long, default_value = "local")]
    stage: StageName,
    /// Show what happened to this request: its log lines, its trace, and the events that it caused, causes before effects.
    /// The ID is in the response header x-amzn-RequestId
    #[arg(long, value_name = "ID", group = "subject")]
    request: Option<String>,
    // part: billing {
    /// Show every step of this purchase since its order, causes before effects
    #[arg(long, value_name = "ID", group = "subject")]
    purchase: Option<String>,
    // part: billing }
    /// Show the requests and events about this note
    #[arg(long, value_name = "ID", group = "subject")]
    note: Option<String>,
    /// Show the requests of this user: an identity ID, or the field `user` of a log line
    #[arg(long, value_name = "IDENTITY", group = "subject")]
    user: Option<String>,
    /// Show lines that are at most this old, for example 12h [default: 1h]
    #[arg(long, value_name = "AGE")]
    since: Option<Age>,
    /// Keep showing new lines until Ctrl-C
    #[arg(long, short, conflicts_with = "subject")]
    follow: bool,
}

impl Options {
    /// What to search for. `None` to show all lines.
    fn subject(&self) -> Option<Subject> {
        let note = |id: &String| Subject::Item {
            noun: "note",
            id: id.clone(),
            advice: "if the requests are older than the search, add --since 24h",
        };
        let subjects = [
            self.request.clone().map(Subject::Request),
            self.purchase.as_deref().map(purchase::subject), // part: billing
            self.note.as_ref().map(note),
            self.user.clone().map(Subject::User),
        ];
        subjects.into_iter().flatten().next()
    }

    /// The time of the oldest line to show, in milliseconds since the Unix epoch.
    fn from(&self) -> u64 {
        const DEFAULT: u64 = 3_600_000;
        if let Some(age) = &self.since {
            return now().saturating_sub(age.milliseconds());
        }
        // part: billing {
        if let Some(at) = self.purchase.as_deref().and_then(purchase::ordered_at) {
            return at;
        }
        // part: billing }
        now().saturating_sub(DEFAULT)
    }
}

/// Runs `cargo xtask logs`.
///
/// # Errors
/// Fails if the stage cannot be reached, if the function does not exist, if nothing is found for an ID, or if a log or a
/// trace cannot be read.
pub(crate) async fn logs(options: &Options) -> Result<()> {
    let workspace = Workspace::read()?;
    if let Some(function) = &options.function {
        workspace.function(function)?;
    }
    let context = StageContext::open_any(&workspace, &options.stage).await?;
    context.target.announce();
    match options.subject() {
        Some(subject) => follow(&context, &workspace, &subject, options.from()).await,
        None => all(&context, &workspace, options).await,
    }
}

/// Shows the lines of a function, or of all functions.
async fn all(context: &StageContext, workspace: &Workspace, options: &Options) -> Result<()> {
    let functions: Vec<_> = match &options.function {
        Some(name) => vec![name.clone()],
        None => workspace
            .functions()
            .map(|function| function.name.clone())
            .collect(),
    };
    let width = functions.iter().map(String::len).max().unwrap_or(0);
    let account = &context.target.account;
    let interval = if account.is_local() {
        LOCAL_INTERVAL
    } else {
        INTERVAL
    };
    let mut reader = Reader {
        client: Client::new(account.config()),
        stage: options.stage.to_string(),
        functions,
        latest: options.from().try_into()?,
        returned: Vec::new(),
    };
    let mut shown = 0;
    let show = async {
        loop {
            for line in reader.new_lines().await? {
                ui::print(row(&line, width));
                shown += 1;
            }
            if !options.follow {
                return Ok(());
            }
            sleep(interval).await;
        }
    };
    let result: Result<()> = tokio::select! {
        result = show => result,
        () = shutdown_signal() => Ok(()),
    };
    result?;
    ui::success(format!(
        "{} of {}",
        ui::count(shown, "line"),
        ui::count(reader.functions.len(), "function")
    ));
    Ok(())
}

fn row(line: &Line, width: usize) -> String {
    let parsed = LogLine::parse(&Record {
        at: line.timestamp.unsigned_abs(),
        source: line.function.clone(),
        stream: String::new(),
        message: line.message.trim_end().into(),
    });
    let duration = parsed.duration();
    line::row(
        parsed.at,
        duration,
        &line.function,
        width,
        &parsed.what(),
        parsed.tone(),
    )
}

/// A line of a function's log.
#[derive(Clone, PartialEq)]
pub(crate) struct Line {
    /// The time at which the function logged the line, in milliseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    pub(crate) function: String,
    pub(crate) message: String,
}

/// Reads the logs of functions, and returns each line only once.
struct Reader {
    client: Client,
    stage: String,
    functions: Vec<String>,
    /// The timestamp of the latest returned line, in milliseconds since the Unix epoch. Before the first line, the time of
    /// the oldest line to show.
    latest: i64,
    /// The lines with the timestamp `latest` that [`Reader::new_lines`] has returned already.
    returned: Vec<Line>,
}

impl Reader {
    /// Returns the log lines that no earlier call has returned, with the oldest line first.
    async fn new_lines(&mut self) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for function in &self.functions {
            // More lines with the latest timestamp may arrive later, so lines with this timestamp are read again.
            lines.extend(events(&self.client, &self.stage, function, None, self.latest).await?);
        }
        lines.sort_by_key(|line| line.timestamp);
        lines.retain(|line| !self.returned.contains(line));
        if let Some(latest) = lines.last().map(|line| line.timestamp) {
            if latest > self.latest {
                self.returned.clear();
                self.latest = latest;
            }
            let with_latest = lines.iter().filter(|line| line.timestamp == latest);
            self.returned.extend(with_latest.cloned());
        }
        Ok(lines)
    }
}

/// Returns the log lines of `function` in a stage whose timestamps are `from` or later, and that match `filter`, or all
/// if it is `None`. `from` is in milliseconds since the Unix epoch.
///
/// # Errors
/// Fails if a request fails, except if the function has no log yet.
pub(crate) async fn events(
    client: &Client,
    stage: &str,
    function: &str,
    filter: Option<String>,
    from: i64,
) -> Result<Vec<Line>> {
    let mut pages = client
        .filter_log_events()
        .log_group_name(format!("/aws/lambda/scratchpad-{stage}-{function}"))
        .set_filter_pattern(filter)
        .start_time(from)
        .into_paginator()
        .send();
    let mut lines = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            // The log group is created when the function logs its first line.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                break;
            }
            page => page
                .map_err(aws_sdk_cloudwatchlogs::Error::from)
                .with_context(|| format!("cannot read the log of the function {function}"))?,
        };
        for event in page.events.unwrap_or_default() {
            lines.push(Line {
                timestamp: event.timestamp.unwrap_or_default(),
                function: function.to_owned(),
                message: event.message.unwrap_or_default(),
            });
        }
    }
    Ok(lines)
}
