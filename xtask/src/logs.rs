//! The command `cargo xtask logs`: shows the log lines of the functions of the stage `local`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudwatchlogs::Client;
use console::style;
use tokio::time::sleep;

use crate::{
    cloud::Cloud,
    process::shutdown_signal,
    stage::{LocalStage, STAGE},
    ui,
    workspace::Workspace,
};

/// The maximum age of a log line when `cargo xtask logs` starts. Older lines are not shown.
const RECENT: Duration = Duration::from_secs(3600);

/// The time between two reads of the logs if `--follow` is given.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs `cargo xtask logs`: shows the log lines of `function`, or of all functions if `function` is `None`. With
/// `follow`, also shows new lines until Ctrl-C.
///
/// # Errors
/// Fails if the stage `local` does not run, if `function` does not exist, or if a log cannot be read.
pub(crate) async fn logs(function: Option<&str>, follow: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let stage = LocalStage::open(&workspace, "local")?;
    if Cloud::running(&stage).is_none() {
        bail!("cannot read logs: the stage local does not run; start it with cargo xtask dev");
    }
    let functions: Vec<_> = match function {
        Some(name) => vec![workspace.function(name)?.name.clone()],
        None => workspace
            .functions()
            .map(|function| function.name.clone())
            .collect(),
    };
    let width = functions.iter().map(String::len).max().unwrap_or(0);
    let mut reader = Reader::new(&stage, functions)?;
    let mut shown = 0;
    let show = async {
        loop {
            for line in reader.new_lines().await? {
                let function = style(format!("{:width$}", line.function)).cyan();
                ui::print(format!("{function} {}", line.message.trim_end()));
                shown += 1;
            }
            if !follow {
                return Ok(());
            }
            sleep(INTERVAL).await;
        }
    };
    let result: Result<()> = tokio::select! {
        result = show => result,
        () = shutdown_signal() => Ok(()),
    };
    result?;
    let period = if follow { "" } else { " from the last hour" };
    ui::success(format!(
        "{} of {}{period}",
        ui::count(shown, "line"),
        ui::count(reader.functions.len(), "function")
    ));
    Ok(())
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
    functions: Vec<String>,
    /// The timestamp of the latest returned line, in milliseconds since the Unix epoch. Before the first line, the
    /// start time of the command minus [`RECENT`].
    latest: i64,
    /// The lines with the timestamp `latest` that [`Reader::new_lines`] has returned already.
    returned: Vec<Line>,
}

impl Reader {
    fn new(stage: &LocalStage, functions: Vec<String>) -> Result<Self> {
        let start = SystemTime::now().checked_sub(RECENT).unwrap_or(UNIX_EPOCH);
        Ok(Self {
            client: Client::new(&stage.aws()?.config()),
            functions,
            latest: i64::try_from(start.duration_since(UNIX_EPOCH)?.as_millis())?,
            returned: Vec::new(),
        })
    }

    /// Returns the log lines that no earlier call has returned, with the oldest line first.
    async fn new_lines(&mut self) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for function in &self.functions {
            // More lines with the latest timestamp may arrive later, so lines with this timestamp are read again.
            lines.extend(events(&self.client, STAGE, function, None, self.latest).await?);
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
