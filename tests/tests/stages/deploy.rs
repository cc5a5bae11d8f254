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
    checkout.run("deploy --stage pr-1").await.did();
    let exports = account.exports().await;
    let moments = moments(&account, "pr-1").await;
    assert!(moments.len() >= 7, "{moments:?}");
    let mut imports = 0;
    for (name, (begun, _)) in &moments {
        let status = account.stacks().await[name].stack_status.clone().unwrap();
        assert!(
            status.as_str().ends_with("E_COMPLETE"),
            "{name} is {status:?}"
        );
        for import in account.imports(name).await {
            assert!(exports.contains_key(&import), "{name} imports {import}");
            let export = account.cloudformation.list_exports().send().await.unwrap();
            let mut exporter = export
                .exports()
                .iter()
                .filter(|export| export.name() == Some(&import));
            let id = exporter
                .next()
                .unwrap()
                .exporting_stack_id()
                .unwrap()
                .to_owned();
            let exporter = id.split('/').nth(1).unwrap();
            if let Some((_, whole)) = moments.get(exporter) {
                assert!(whole <= begun, "{name} began before {exporter} was whole");
                imports += 1;
            }
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
