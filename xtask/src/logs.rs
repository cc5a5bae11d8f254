//! `logs`: what the functions of the stage `local` logged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudwatchlogs::Client;
use console::style;
use tokio::time::sleep;

use crate::{
    cloud::Cloud,
    stage::{LocalStage, STAGE},
    workspace::Workspace,
};

/// How long ago a line may be to be shown at first.
const RECENT: Duration = Duration::from_secs(3600);

/// `cargo xtask logs`.
///
/// # Errors
/// When the stage does not run, or there is no such function.
pub(crate) async fn logs(function: Option<&str>, follow: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let stage = LocalStage::open(&workspace, "local")?;
    if Cloud::running(&stage).is_none() {
        bail!("nothing is running; start it by cargo xtask dev");
    }
    let functions: Vec<_> = match function {
        Some(name) => vec![workspace.function(name)?.name.clone()],
        None => workspace
            .functions()
            .map(|function| function.name.clone())
            .collect(),
    };
    let client = Client::new(&stage.aws()?.config());
    let width = functions.iter().map(String::len).max().unwrap_or(0);
    let recent = SystemTime::now().checked_sub(RECENT).unwrap_or(UNIX_EPOCH);
    let mut from = i64::try_from(recent.duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut shown: Vec<Line> = Vec::new();
    loop {
        let mut lines = Vec::new();
        for function in &functions {
            lines.extend(events(&client, function, from).await?);
        }
        lines.sort_by_key(|line| line.at);
        lines.retain(|line| !shown.contains(line));
        for Line {
            function, message, ..
        } in &lines
        {
            let function = style(format!("{function:width$}")).cyan();
            println!("{function} {}", message.trim_end());
        }
        if !follow {
            return Ok(());
        }
        // Lines of the last millisecond may still come: ask for it again, and show each once.
        if let Some(last) = lines.last().map(|line| line.at) {
            if last > from {
                shown.clear();
                from = last;
            }
            shown.extend(lines.into_iter().filter(|line| line.at == last));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

#[derive(PartialEq)]
struct Line {
    at: i64,
    function: String,
    message: String,
}

async fn events(client: &Client, function: &str, from: i64) -> Result<Vec<Line>> {
    let group = format!("/aws/lambda/scratchpad-{STAGE}-{function}");
    let mut pages = client
        .filter_log_events()
        .log_group_name(group)
        .start_time(from)
        .into_paginator()
        .send();
    let mut lines = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            // Its first line makes the group.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                break;
            }
            page => page.context("the log cannot be read")?,
        };
        for event in page.events.unwrap_or_default() {
            lines.push(Line {
                at: event.timestamp.unwrap_or_default(),
                function: function.to_owned(),
                message: event.message.unwrap_or_default(),
            });
        }
    }
    Ok(lines)
}
