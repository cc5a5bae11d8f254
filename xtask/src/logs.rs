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
    let client = Client::new(stage.aws()?.config());
    let width = functions.iter().map(String::len).max().unwrap_or(0);
    let recent = SystemTime::now().checked_sub(RECENT).unwrap_or(UNIX_EPOCH);
    let mut from = i64::try_from(recent.duration_since(UNIX_EPOCH)?.as_millis())?;
    let mut shown = Vec::new();
    loop {
        let mut lines = Vec::new();
        for function in &functions {
            for line in events(&client, function, from).await? {
                lines.push((line.at, function, line));
            }
        }
        lines.sort_by_key(|(at, ..)| *at);
        lines.retain(|(.., line)| !shown.contains(&line.id));
        for (_, function, line) in &lines {
            println!(
                "{} {}",
                style(format!("{function:width$}")).cyan(),
                line.message.trim_end()
            );
        }
        if !follow {
            return Ok(());
        }
        // Lines of the last millisecond may still come: ask for it again, and show them once.
        if let Some((last, ..)) = lines.last() {
            let last = *last;
            if last > from {
                shown.clear();
                from = last;
            }
            shown.extend(
                lines
                    .into_iter()
                    .filter(|(at, ..)| *at == last)
                    .map(|(.., line)| line.id),
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
}

struct Line {
    at: i64,
    id: String,
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
                id: event.event_id.unwrap_or_default(),
                message: event.message.unwrap_or_default(),
            });
        }
    }
    Ok(lines)
}
