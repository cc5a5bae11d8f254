//! `cargo xtask releases` lists the releases of a stage. `cargo xtask stages` lists the stages of all accounts.

use std::{env, str::FromStr};

use anyhow::{Result, bail};
use console::{StyledObject, style};

use super::{
    account::Account,
    clock::{age, now},
    context::StageContext,
    record::{Outcome, Release, current},
    remove::remove_stage,
    store::Store,
    table::{StageName, Tables},
};
use crate::{ui, workspace::Workspace};

/// `cargo xtask releases`: lists the releases of a stage, the newest first.
///
/// # Errors
/// Fails if the stage has no release.
pub(crate) async fn releases(stage: &StageName) -> Result<()> {
    let workspace = Workspace::read()?;
    let context = StageContext::open(&workspace, stage, None).await?;
    let releases = context.releases().await?;
    if releases.is_empty() {
        bail!("the stage {stage} has no release; deploy the stage first");
    }
    let running = current(&releases).map(|release| release.number);
    for release in &releases {
        print_release(release, running);
    }
    ui::say(match running {
        Some(number) => format!("{stage} runs release {number} ({} stored)", releases.len()),
        None => format!(
            "{stage} runs no complete release ({} stored)",
            releases.len()
        ),
    });
    Ok(())
}

fn print_release(release: &Release, running: Option<u32>) {
    let Release { number, actor, .. } = release;
    let commit = release
        .commit
        .as_deref()
        .map_or("no commit", |commit| commit.get(..10).unwrap_or(commit));
    let dirty = if release.dirty {
        " with uncommitted changes"
    } else {
        ""
    };
    let branch = release
        .branch
        .as_deref()
        .map(|branch| format!(" ({branch})"))
        .unwrap_or_default();
    let origin = release
        .copied_from
        .as_ref()
        .map(|(stage, number)| format!(", {stage}'s release {number}"))
        .unwrap_or_default();
    ui::print(format!(
        "{number:>4}  {:<10}  {}  {actor}  {commit}{dirty}{branch}{origin}",
        state(release, running),
        age(release.started_at)
    ));
    for change in &release.changes {
        ui::print(format!("      {change}"));
    }
    for (name, function) in &release.functions {
        let artifact = style(&function.artifact).dim();
        ui::print(format!("      {name:<28}{artifact}"));
    }
}

fn state(release: &Release, running: Option<u32>) -> StyledObject<&'static str> {
    match release.outcome {
        Outcome::Done if Some(release.number) == running => style("running").green(),
        Outcome::Done => style("replaced").dim(),
        Outcome::Failed => style("failed").red(),
        Outcome::InProgress => style("unfinished").yellow(),
    }
}

/// A length of time, parsed from a number of days, hours, minutes or seconds: `7d`, `12h`, `5m`, `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    milliseconds: u64,
}

impl Age {
    /// The length of time in milliseconds.
    pub(crate) fn milliseconds(self) -> u64 {
        self.milliseconds
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [
            ('d', 86_400_000),
            ('h', 3_600_000),
            ('m', 60_000),
            ('s', 1000),
        ];
        let age = units.iter().find_map(|(unit, milliseconds)| {
            let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
            number.checked_mul(*milliseconds)
        });
        age.map(|milliseconds| Self { milliseconds })
            .ok_or_else(|| "must be a number with the unit d, h, m or s, for example 7d".into())
    }
}

/// `cargo xtask stages`: lists the stages of all accounts in serverless.yml. With `older_than`, lists only the stages
/// whose latest release is at least this old. With `remove`, deletes those of the listed stages that have no row in
/// serverless.yml.
///
/// # Errors
/// Fails if there are valid credentials for none of the accounts, or if a stage cannot be removed.
pub(crate) async fn stages(older_than: Option<Age>, remove: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let tables = Tables::read(workspace.root(), |name| env::var(name).ok())?;
    let accounts = tables.accounts();
    let mut found = Vec::new();
    let mut reached = 0;
    ui::print(format!(
        "{:<28} {:<14} {:>7}  {:<12} {:<20} by",
        "stage", "account", "release", "deployed", "branch"
    ));
    for row in &accounts {
        let account = Account::of_row(&tables, row).await?;
        if let Err(error) = account.check(row).await {
            ui::say(format!("{} {error:#}", style("!").yellow()));
            continue;
        }
        reached += 1;
        for (stage, releases) in account_stages(&account, older_than).await? {
            print_stage(&account, &stage, &releases);
            found.push(stage);
        }
    }
    if reached == 0 {
        bail!(
            "cannot read any of the {} accounts; the messages above say why",
            accounts.len()
        );
    }
    let noun = if older_than.is_some() {
        "old stage"
    } else {
        "stage"
    };
    let summary = format!(
        "found {} in {reached} of {} accounts",
        ui::count(found.len(), noun),
        accounts.len()
    );
    if !remove {
        ui::say(summary);
        return Ok(());
    }
    found.retain(|stage| !tables.has_row(stage));
    for stage in &found {
        let context = StageContext::open(&workspace, stage, None).await?;
        context.target.announce();
        remove_stage(&context).await?;
    }
    ui::say(format!(
        "{} {summary} and removed {}",
        style("✓").green(),
        found.len()
    ));
    Ok(())
}

/// Returns the stages of an account, each with its releases, the newest first. With `older_than`, returns only the
/// stages whose latest release is at least this old.
async fn account_stages(
    account: &Account,
    older_than: Option<Age>,
) -> Result<Vec<(StageName, Vec<Release>)>> {
    let mut stages = Vec::new();
    for stage in Store::stages(account).await? {
        let releases = Store::new(account, &stage).releases().await?;
        let is_listed = releases.first().is_some_and(|newest| {
            older_than.is_none_or(|age| now().saturating_sub(newest.started_at) >= age.milliseconds)
        });
        if is_listed {
            stages.push((stage, releases));
        }
    }
    Ok(stages)
}

fn print_stage(account: &Account, stage: &StageName, releases: &[Release]) {
    let Some(newest) = releases.first() else {
        return;
    };
    let running = current(releases);
    ui::print(format!(
        "{:<28} {:<14} {:>7}  {:<12} {:<20} {}",
        stage.as_ref(),
        account.id,
        running.map_or("none".into(), |release| release.number.to_string()),
        age(newest.started_at).trim(),
        newest.branch.as_deref().unwrap_or("none"),
        newest.actor
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_with_a_unit_is_parsed_as_an_age() {
        for (text, milliseconds) in [
            ("7d", 604_800_000),
            ("12h", 43_200_000),
            ("5m", 300_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Age>().unwrap().milliseconds, milliseconds);
        }
        for text in ["", "7", "d", "-1d", "1w", "99999999999999999d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
