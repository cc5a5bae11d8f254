//! Tests that xtask refuses changes that would delete data, unless an option allows the change.

use serde_json::json;

use crate::account::Account;
use crate::checkout::Checkout;
use crate::users::{sign_up, stage};

const PROMOTE: &str = "promote --from dev --to prod";

/// Signs up a user on the stage `name`, and creates `notes` notes as this user.
async fn create_notes(account: &Account, name: &str, notes: usize) {
    let stage = stage(account, name).await;
    let user = sign_up(account, &stage).await;
    for _ in 0..notes {
        let response = user
            .post("/notes", &json!({"content": "Stays", "attachment": null}))
            .await;
        assert_eq!(response.status, 201, "{}", response.text());
    }
}

/// Returns the number of items in a DynamoDB table.
async fn item_count(account: &Account, table: &str) -> u64 {
    let scan = json!({"TableName": table, "Select": "COUNT"});
    account
        .call("dynamodb", "DynamoDB_20120810.Scan", &scan)
        .await["Count"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn a_table_replacement_is_refused_with_the_item_count_unless_an_option_allows_it() {
    let (dev, prod) = (Account::dev(), Account::prod());
    let clean = Checkout::clean().await;
    clean.run("remove --stage feature-1 --yes").await;
    for stage in ["dev", "feature-1"] {
        clean
            .run(&format!("deploy --stage {stage}"))
            .await
            .success();
    }
    clean.run(&format!("{PROMOTE} --yes")).await.success();
    create_notes(&dev, "feature-1", 3).await;
    create_notes(&prod, "prod", 2).await;
    // Change the key of the table Notes in all stages except dev. In dev, only the email address for alarms changes.
    let rekeyed = Checkout::changed("rekeyed", |checkout| {
        let file = "infrastructure/lib/tables-stack.ts";
        let name = "tableName: this.nameOf(name),";
        let key =
            "...(name === \"Notes\" && stage.name !== \"dev\" ? { sortKey: string(\"id\") } : {}),";
        checkout.edit(file, name, &format!("{key}\n        {name}"));
        checkout.edit("serverless.yml", "    alarms: ", "    alarms: other-");
    });
    let rekeyed = rekeyed.await;

    let warning = |stage: &str, items| {
        format!(
            "scratchpad-{stage}-Notes (AWS::DynamoDB::Table: AttributeDefinitions, KeySchema): its {items} items would be lost"
        )
    };
    let (history, releases) = (dev.history().await, dev.releases("feature-1").await.len());
    let output = rekeyed.run("deploy --stage feature-1").await.failure();
    assert!(output.contains("--allow-replacement"), "{output}");
    assert!(output.contains(&warning("feature-1", 3)), "{output}");
    assert_eq!(dev.history().await, history);
    assert_eq!(item_count(&dev, "scratchpad-feature-1-Notes").await, 3);
    assert_eq!(releases, 1);

    rekeyed.run("deploy --stage dev").await.success();
    let history = prod.history().await;
    let count = item_count(&prod, "scratchpad-prod-Notes").await;
    for options in [
        "--yes",
        "--show",
        "--yes --allow-replacement scratchpad-prod-Storage",
    ] {
        let output = rekeyed.run(&format!("{PROMOTE} {options}")).await.failure();
        assert!(
            output.contains(&warning("prod", count.try_into().unwrap())),
            "{output}"
        );
        assert_eq!(prod.history().await, history);
    }
    assert_eq!(item_count(&prod, "scratchpad-prod-Notes").await, count);

    let allowed = format!("{PROMOTE} --show --allow-replacement scratchpad-prod-Notes");
    let output = rekeyed.run(&allowed).await.success();
    assert!(output.contains("replace scratchpad-prod-Notes"), "{output}");
    // Whether the deploy succeeds depends on CloudFormation, which does not replace a resource with a fixed name.
    let allowed = "deploy --stage feature-1 --allow-replacement scratchpad-feature-1-Notes";
    let output = rekeyed.run(allowed).await.text();
    assert!(!output.contains("would be lost"), "{output}");
    assert!(output.contains("dynamodb"), "{output}");
    clean.run("remove --stage feature-1 --yes").await.success();
}
