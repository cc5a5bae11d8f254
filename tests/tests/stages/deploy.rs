//! A stage made what the sources say, and nothing done twice.

use std::collections::BTreeMap;

use crate::account::Account;
use crate::checkout::Checkout;

/// The moments at which each stack was begun and was whole.
async fn moments(account: &Account, stage: &str) -> BTreeMap<String, (f64, f64)> {
    let mut moments = BTreeMap::new();
    for name in account.stacks_of(stage).await.into_keys() {
        let events = account.events(&name).await;
        let of_stack = events
            .iter()
            .filter(|event| event.logical_resource_id() == Some(&name));
        let times: Vec<f64> = of_stack
            .map(|event| event.timestamp().unwrap().as_secs_f64())
            .collect();
        moments.insert(name, (*times.last().unwrap(), *times.first().unwrap()));
    }
    moments
}

#[tokio::test]
async fn a_stage_is_deployed_with_every_import_resolved_and_no_stack_before_what_it_needs() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage pr-1 --yes").await;
    checkout.run("deploy --stage pr-1").await.did();
    let stacks = account.stacks_of("pr-1").await;
    let moments = moments(&account, "pr-1").await;
    assert!(moments.len() >= 7, "{moments:?}");
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
                .unwrap_or_else(|| panic!("{name} imports {import}, which nobody exports"));
            assert!(
                moments[exporter].1 <= moments[name].0,
                "{name} began before {exporter} was whole"
            );
            imports += 1;
        }
    }
    assert!(imports > 5, "{imports}");
}

#[tokio::test]
async fn deployed_again_at_once_a_stage_is_left_alone() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("deploy --stage pr-1").await.did();
    let (history, releases) = (account.history().await, account.releases("pr-1").await);
    let said = checkout.run("deploy --stage pr-1").await.did();
    assert_eq!(account.history().await, history);
    assert_eq!(account.releases("pr-1").await, releases);
    let stacks = account.stacks_of("pr-1").await.len();
    let skipped = said
        .lines()
        .filter(|line| line.starts_with('=') && line.ends_with(": nothing changes"));
    assert!(skipped.count() >= stacks, "{said}");
    assert!(
        said.contains(&format!(
            "pr-1 runs release {} of these sources",
            releases.len()
        )),
        "{said}"
    );
}
