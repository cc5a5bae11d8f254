//! Tests of the order in which a deploy creates stacks, and of a second deploy of the same sources.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::checkout::Checkout;

/// Returns, for each stack of a stage, when its creation started and when it was complete, in seconds since the Unix
/// epoch.
async fn deploy_times(account: &Account, stage: &str) -> BTreeMap<String, (f64, f64)> {
    let mut times_of_stacks = BTreeMap::new();
    for name in account.stacks_of(stage).await.into_keys() {
        let events = account.events(&name).await;
        let of_stack = events
            .iter()
            .filter(|event| event.logical_resource_id() == Some(&name));
        let times: Vec<f64> = of_stack
            .map(|event| event.timestamp().unwrap().as_secs_f64())
            .collect();
        times_of_stacks.insert(name, (*times.last().unwrap(), *times.first().unwrap()));
    }
    times_of_stacks
}

#[tokio::test]
async fn every_stack_is_deployed_after_the_stacks_that_it_imports_from() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage feature-1 --yes").await;
    checkout.run("deploy --stage feature-1").await.success();
    let stacks = account.stacks_of("feature-1").await;
    let times = deploy_times(&account, "feature-1").await;
    assert!(times.len() >= 4, "{times:?}");
    let exports = stacks.iter().flat_map(|(name, stack)| {
        let exports = stack
            .outputs()
            .iter()
            .filter_map(|output| output.export_name());
        exports.map(|export| (export.to_owned(), name.as_str()))
    });
    let exporters: BTreeMap<String, &str> = exports.collect();
    let mut imports = 0;
    for (name, stack) in &stacks {
        assert_eq!(
            stack.stack_status().unwrap().as_str(),
            "CREATE_COMPLETE",
            "{name}"
        );
        for import in account.imports(name).await {
            let exporter = exporters.get(&import);
            let exporter = *exporter
                .unwrap_or_else(|| panic!("{name} imports {import}, which no stack exports"));
            assert!(
                times[exporter].1 <= times[name].0,
                "{name} started before {exporter} was complete"
            );
            imports += 1;
        }
    }
    assert!(imports > 5, "{imports}");
}

#[tokio::test]
async fn a_second_deploy_of_the_same_sources_changes_nothing() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("deploy --stage feature-1").await.success();
    let (history, releases) = (account.history().await, account.releases("feature-1").await);
    let output = checkout.run("deploy --stage feature-1").await.success();
    assert_eq!(account.history().await, history);
    assert_eq!(account.releases("feature-1").await, releases);
    let stacks = account.stacks_of("feature-1").await.len();
    let skipped = output
        .lines()
        .filter(|line| line.starts_with('=') && line.ends_with(": nothing changes"));
    assert!(skipped.count() >= stacks, "{output}");
    assert!(
        output.contains(&format!(
            "feature-1 runs release {} of these sources",
            releases.len()
        )),
        "{output}"
    );
}
