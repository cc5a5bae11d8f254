//! Tests of renamed and removed CloudFormation exports that other stacks import.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;

use crate::account::Account;
use crate::checkout::{Checkout, Running};

/// Returns a copy of the checkout that renames the CloudFormation export `NotesTableName` to `NotesTable`, both in the
/// exporting stack and in the stack that imports it.
async fn renamed() -> &'static Checkout {
    static RENAMED: OnceCell<Checkout> = OnceCell::const_new();
    let change = |checkout: &Checkout| {
        let [old, new] = [
            "`${name}TableName`",
            "name === \"Notes\" ? \"NotesTable\" : `${name}TableName`",
        ];
        checkout.edit("infrastructure/lib/tables-stack.ts", old, new);
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
async fn renaming_an_imported_export_keeps_every_import_resolved() {
    let account = Account::dev();
    Checkout::clean()
        .await
        .run("deploy --stage feature-1")
        .await
        .success();
    // Synthesize the templates in advance, so that the loop below observes only the stack updates.
    renamed()
        .await
        .run("plan --stage feature-1")
        .await
        .success();
    let [exporter, importer] = [
        "scratchpad-dynamodb-feature-1",
        "scratchpad-notes-api-feature-1",
    ];
    let mut known = BTreeMap::new();
    for stack in [exporter, importer] {
        known.insert(stack, account.events(stack).await.len());
    }

    let mut deploy = Running::start(renamed().await, "deploy --stage feature-1");
    let mut observations = 0;
    loop {
        let has_exited = deploy.has_exited();
        let before = account.imports(importer).await;
        let exports = account.exports().await;
        // If the imports are equal before and after, they did not change while the exports were read.
        if account.imports(importer).await == before {
            for import in &before {
                assert!(
                    exports.contains_key(import),
                    "{import} is imported but not exported"
                );
            }
            observations += 1;
        }
        if has_exited {
            break;
        }
    }
    deploy.wait().await.success();
    assert!(observations > 2, "{observations}");
    let exports = account.exports().await;
    assert!(exports.contains_key("scratchpad-feature-1-NotesTable"));
    assert!(!exports.contains_key("scratchpad-feature-1-NotesTableName"));

    // The deploy updates the exporter with both names, then the importer, then the exporter with only the new name.
    let mut steps = Vec::new();
    for stack in [exporter, importer] {
        let events = account.events(stack).await;
        let new = &events[..events.len() - known[stack]];
        let of_stack = new
            .iter()
            .filter(|event| event.logical_resource_id() == Some(stack));
        let started = of_stack
            .filter(|event| event.resource_status().unwrap().as_str() == "UPDATE_IN_PROGRESS");
        steps.extend(started.map(|event| (event.timestamp().unwrap().as_nanos(), stack)));
    }
    steps.sort();
    let steps: Vec<&str> = steps.into_iter().map(|(_, stack)| stack).collect();
    assert_eq!(steps, [exporter, importer, exporter]);
}

#[tokio::test]
async fn an_export_that_another_stage_imports_is_not_removed() {
    let account = Account::dev();
    let clean = Checkout::clean().await;
    clean.run("deploy --stage dev").await.success();
    clean
        .run("deploy --stage feature-3 --infrastructure dev")
        .await
        .success();
    let (history, releases) = (account.history().await, account.releases("dev").await);
    let output = renamed().await.run("deploy --stage dev").await.failure();
    for name in [
        "scratchpad-dev-NotesTableName",
        "scratchpad-notes-api-feature-3",
    ] {
        assert!(output.contains(name), "{output}");
    }
    assert_eq!(account.history().await, history);
    assert_eq!(account.releases("dev").await, releases);
    // The stage dev cannot be removed while another stage uses its infrastructure.
    let output = clean.run("remove --stage dev --yes").await.failure();
    assert!(
        output.contains("scratchpad-notes-api-feature-3 imports from scratchpad-dynamodb-dev"),
        "{output}"
    );
    assert_eq!(account.history().await, history);
    clean.run("remove --stage feature-3 --yes").await.success();
}
