//! Stages that are done with: nothing of them stays, and nothing of others goes.

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, stdin},
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use console::style;

use super::{
    account::{self, Account, Target},
    apply::{deployed, short},
    ask,
    lease::Lease,
    lock_of,
    stack::Stacks,
    store::{Outcome, Store, empty, now},
    table::{StageName, Tables},
    template::{Templates, phases},
    tidy,
};
use crate::{
    ui::{self, Step},
    workspace::Workspace,
};

/// The stack with the bucket of the account's releases.
const RELEASES: &str = "scratchpad-releases";

/// `cargo xtask remove`.
///
/// # Errors
/// When the stage is protected, when others use what it has, or when something stays.
pub(crate) async fn remove(stage: &StageName, yes: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let target = Target::open(&workspace, stage, None).await?;
    account::announce(&target);
    if !yes && stdin().is_terminal() {
        ask(stage)?;
    }
    remove_target(&target).await
}

async fn remove_target(target: &Target) -> Result<()> {
    let stage = &target.stage;
    if target.row.protected {
        bail!(
            "{stage} is protected: its data outlives a mistaken removal. Take that back in serverless.yml, and deploy it, first"
        );
    }
    let store = Store::new(&target.account);
    let stacks = Stacks::of(target);
    if !store.exists().await? {
        bail!("account {} has no stage {stage}", target.account.id);
    }
    let lease = Lease::take(&store, &lock_of(stage), "a removal").await?;
    let removed = lease
        .during(async {
            let deployed = deployed(&stacks, target).await?;
            if deployed.is_empty() && store.releases(stage).await?.is_empty() {
                bail!("account {} has no stage {stage}", target.account.id);
            }
            let mut templates = Templates::new();
            for (name, stack) in &deployed {
                if stack.enable_termination_protection() == Some(true) {
                    bail!("{name} is protected against removal, whatever serverless.yml says: deploy {stage} first");
                }
                // A stack that was never made to the end may have none.
                templates.insert(name.clone(), stacks.template(name).await.unwrap_or_default());
            }
            let others = others(&stacks, &templates).await?;
            if !others.is_empty() {
                bail!("{stage} cannot be removed: {}. Remove or change these first", others.join("; "));
            }
            let mut functions: BTreeSet<String> = BTreeSet::new();
            for release in store.releases(stage).await? {
                functions.extend(release.functions.into_keys().map(|name| format!("scratchpad-{stage}-{name}")));
            }
            let mut apis = Vec::new();
            for name in phases(&templates)?.into_iter().rev().flatten() {
                let step = Step::begin(format!("remove {}", short(&name, target)));
                for (kind, resource) in stacks.resources(&name).await? {
                    match kind.as_str() {
                        "AWS::S3::Bucket" => empty(&target.account.s3(), &resource).await?,
                        "AWS::ApiGateway::RestApi" => apis.push(resource),
                        _ => {}
                    }
                }
                stacks.delete(&step, &name).await?;
                step.done("");
            }
            let step = Step::begin("remove logs and secrets");
            // A function's last words may come when its log is gone, and make it anew.
            let logs = functions.iter().map(|name| format!("/aws/lambda/{name}"));
            let logs = logs.chain(apis.iter().map(|api| format!("API-Gateway-Execution-Logs_{api}/{stage}")));
            remove_logs(&target.account, logs).await?;
            remove_parameters(&target.account, stage).await?;
            step.done("");
            tidy(&store, Some(stage)).await?;
            // What says that there is something to remove goes last.
            for release in store.releases(stage).await? {
                store.forget(&release).await?;
            }
            Ok(())
        })
        .await;
    // Whoever was killed at this very point is done with the stage, and not with the bucket.
    if store.is_unused().await? {
        let step = Step::begin(format!("remove the bucket {}", store.bucket()));
        empty(&target.account.s3(), store.bucket()).await?;
        stacks.delete(&step, RELEASES).await?;
        step.done("");
    }
    removed?;
    ui::say(format!("{} {stage} is gone", style("✓").green()));
    Ok(())
}

/// Which stacks of others import what these export, in words.
async fn others(stacks: &Stacks, templates: &Templates) -> Result<Vec<String>> {
    let mut others: BTreeSet<(String, String)> = BTreeSet::new();
    for (name, template) in templates {
        for export in template.exports() {
            let importers = stacks.importers(export).await?;
            let foreign = importers
                .into_iter()
                .filter(|importer| !templates.contains_key(importer));
            others.extend(foreign.map(|importer| (importer, name.clone())));
        }
    }
    Ok(others
        .into_iter()
        .map(|(importer, name)| format!("{importer} imports from {name}"))
        .collect())
}

async fn remove_logs(account: &Account, names: impl Iterator<Item = String>) -> Result<()> {
    let logs = aws_sdk_cloudwatchlogs::Client::new(account.config());
    for name in names {
        match logs.delete_log_group().log_group_name(&name).send().await {
            Ok(_) => {}
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) => {}
            Err(error) => {
                return Err(aws_sdk_cloudwatchlogs::Error::from(error))
                    .with_context(|| format!("{name} cannot be removed"));
            }
        }
    }
    Ok(())
}

async fn remove_parameters(account: &Account, stage: &StageName) -> Result<()> {
    let ssm = aws_sdk_ssm::Client::new(account.config());
    loop {
        let page = ssm
            .get_parameters_by_path()
            .path(format!("/scratchpad/{stage}/"))
            .recursive(true)
            .send()
            .await;
        let page = page
            .map_err(aws_sdk_ssm::Error::from)
            .context("the secrets cannot be listed")?;
        let names: Vec<String> = page
            .parameters()
            .iter()
            .filter_map(|parameter| parameter.name.clone())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let delete = ssm.delete_parameters().set_names(Some(names)).send().await;
        delete
            .map_err(aws_sdk_ssm::Error::from)
            .context("the secrets cannot be removed")?;
    }
}

/// A time that has passed, in days, hours or minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    milliseconds: u64,
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
            .ok_or_else(|| "an age is a number with d, h, m or s: 7d".into())
    }
}

/// `cargo xtask stages`: those of every account in the stage table.
///
/// # Errors
/// When an account does not say, or a stage cannot be removed.
pub(crate) async fn stages(older_than: Option<Age>, removes: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let tables = Tables::read(workspace.root(), |name| std::env::var(name).ok())?;
    let mut forgotten = Vec::new();
    let mut reached = 0;
    ui::print(format!(
        "{:<28} {:<14} {:>7}  {:<12} {:<20} by",
        "stage", "account", "release", "deployed", "branch"
    ));
    for row in tables.accounts() {
        let account = Account::of(&tables, row).await?;
        if let Err(error) = account.check(row).await {
            ui::say(format!("{} {error:#}", style("!").yellow()));
            continue;
        }
        reached += 1;
        let store = Store::new(&account);
        let stages = if store.exists().await? {
            store.stages().await?
        } else {
            Vec::new()
        };
        for stage in stages {
            let releases = store.releases(&stage).await?;
            let running = releases
                .iter()
                .find(|release| release.outcome == Outcome::Done);
            let Some(newest) = releases.first() else {
                continue;
            };
            let old =
                older_than.is_none_or(|age| now().saturating_sub(newest.at) >= age.milliseconds);
            if !old {
                continue;
            }
            ui::print(format!(
                "{:<28} {:<14} {:>7}  {:<12} {:<20} {}",
                stage.as_ref(),
                account.id,
                running.map_or("none".into(), |release| release.number.to_string()),
                super::age(newest.at).trim(),
                newest.branch.as_deref().unwrap_or("none"),
                newest.who
            ));
            // A stage with a row of its own is not forgotten, however long nothing was deployed to it.
            if !tables.lists(&stage) {
                forgotten.push(stage);
            }
        }
    }
    if reached == 0 {
        bail!("no account could be looked at");
    }
    if removes {
        for stage in forgotten {
            remove_target(&Target::open(&workspace, &stage, None).await?).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
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
