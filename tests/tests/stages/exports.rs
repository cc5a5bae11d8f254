//! What stacks import from each other, renamed and dropped.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use crate::account::Account;
use crate::checkout::{Checkout, Running};

/// The sources with the export of the notes' table under another name, where it is made and where it is imported.
async fn renamed() -> &'static Checkout {
    static RENAMED: OnceCell<Checkout> = OnceCell::const_new();
    let change = |checkout: &Checkout| {
        let [old, new] = [
            "`${name}TableName`",
            "name === \"Notes\" ? \"NotesTable\" : `${name}TableName`",
        ];
        checkout.edit("infrastructure/lib/dynamodb-stack.ts", old, new);
        checkout.edit(
            "services/notes-api/serverless.yml",
            "-NotesTableName\"",
            "-NotesTable\"",
        );
    };
    RENAMED
        .get_or_init(|| Checkout::changed("renamed", change))
        .await
}

#[tokio::test]
async fn an_export_is_renamed_while_it_is_imported_and_every_import_resolves_all_the_time() {
    let account = Account::dev();
    Checkout::clean()
        .await
        .run("deploy --stage pr-1")
        .await
        .did();
    // Its templates are made: what is looked at below is what is done to the stacks.
    renamed().await.run("plan --stage pr-1").await.did();
    let [exporter, importer] = ["scratchpad-dynamodb-pr-1", "scratchpad-notes-api-pr-1"];
    let mut known = BTreeMap::new();
    for stack in [exporter, importer] {
        known.insert(stack, account.events(stack).await.len());
    }

    let mut deploy = Running::start(renamed().await, "deploy --stage pr-1");
    let mut looks = 0;
    loop {
        let over = deploy.is_over();
        let before = account.imports(importer).await;
        let exports = account.exports().await;
        // What it imported before and after is what it imported in between.
        if account.imports(importer).await == before {
            for import in &before {
                assert!(
                    exports.contains_key(import),
                    "{import} is imported, and not exported"
                );
            }
            looks += 1;
        }
        if over {
            break;
        }
    }
    deploy.end().await.did();
    assert!(looks > 2, "{looks}");
    let exports = account.exports().await;
    assert!(exports.contains_key("scratchpad-pr-1-NotesTable"));
    assert!(!exports.contains_key("scratchpad-pr-1-NotesTableName"));

    // The exporter with both names, the importer, and the exporter with the new one alone.
    let mut steps = Vec::new();
    for stack in [exporter, importer] {
        let events = account.events(stack).await;
        let new = &events[..events.len() - known[stack]];
        let of_stack = new
            .iter()
            .filter(|event| event.logical_resource_id() == Some(stack));
        let begun = of_stack
            .filter(|event| event.resource_status().unwrap().as_str() == "UPDATE_IN_PROGRESS");
        steps.extend(begun.map(|event| (event.timestamp().unwrap().as_nanos(), stack)));
    }
    steps.sort();
    let steps: Vec<&str> = steps.into_iter().map(|(_, stack)| stack).collect();
    assert_eq!(steps, [exporter, importer, exporter]);
}

#[tokio::test]
async fn an_export_that_another_stage_imports_is_not_dropped_and_who_imports_it_is_named() {
    let account = Account::dev();
    let clean = Checkout::clean().await;
    clean.run("deploy --stage dev").await.did();
    clean
        .run("deploy --stage pr-3 --infrastructure dev")
        .await
        .did();
    let (history, releases) = (account.history().await, account.releases("dev").await);
    let said = renamed().await.run("deploy --stage dev").await.refused();
    for name in ["scratchpad-dev-NotesTableName", "scratchpad-notes-api-pr-3"] {
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(account.history().await, history);
    assert_eq!(account.releases("dev").await, releases);
    // Nor does what it links to go before it.
    let said = clean.run("remove --stage dev --yes").await.refused();
    assert!(
        said.contains("scratchpad-notes-api-pr-3 imports from scratchpad-dynamodb-dev"),
        "{said}"
    );
    assert_eq!(account.history().await, history);
    clean.run("remove --stage pr-3 --yes").await.did();
}
