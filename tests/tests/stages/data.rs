//! Changes that would cost data: nobody makes them by mistake.

use serde_json::json;

use crate::account::Account;
use crate::checkout::Checkout;
use crate::people::{sign_up, stage};

const PROMOTE: &str = "promote --from dev --to prod";

/// Notes that somebody on a stage has.
async fn write(account: &Account, name: &str, notes: usize) {
    let place = stage(account, name).await;
    let person = sign_up(account, &place).await;
    for _ in 0..notes {
        let answer = person
            .post("/notes", &json!({"content": "Stays", "attachment": null}))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

/// How many items a table has.
async fn items(account: &Account, table: &str) -> u64 {
    let scan = json!({"TableName": table, "Select": "COUNT"});
    account
        .ask("dynamodb", "DynamoDB_20120810.Scan", &scan)
        .await["Count"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn a_change_that_would_cost_a_table_is_refused_with_what_is_in_it_unless_it_is_named() {
    let (dev, prod) = (Account::dev(), Account::prod());
    let clean = Checkout::clean().await;
    clean.run("remove --stage pr-1 --yes").await;
    for stage in ["dev", "pr-1"] {
        clean.run(&format!("deploy --stage {stage}")).await.did();
    }
    clean.run(&format!("{PROMOTE} --yes")).await.did();
    write(&dev, "pr-1", 3).await;
    write(&prod, "prod", 2).await;
    // Another key of the table on all stages but dev, which has something else that is new.
    let rekeyed = Checkout::changed("rekeyed", |checkout| {
        let file = "infrastructure/lib/dynamodb-stack.ts";
        let key = "...own,\n        ...(name === \"Notes\" && stage.name !== \"dev\" ? { sortKey: string(\"id\") } : {}),";
        checkout.edit(file, "...own,", key);
        checkout.edit(
            "serverless.yml",
            "alarms: alarms@example.com",
            "alarms: others@example.com",
        );
    });
    let rekeyed = rekeyed.await;

    let lost = |stage: &str, items| {
        format!(
            "scratchpad-{stage}-Notes (AWS::DynamoDB::Table: AttributeDefinitions, KeySchema): its {items} items would be lost"
        )
    };
    let (history, releases) = (dev.history().await, dev.releases("pr-1").await.len());
    let said = rekeyed.run("deploy --stage pr-1").await.refused();
    assert!(said.contains("--allow-replacement"), "{said}");
    assert!(said.contains(&lost("pr-1", 3)), "{said}");
    assert_eq!(dev.history().await, history);
    assert_eq!(items(&dev, "scratchpad-pr-1-Notes").await, 3);
    assert_eq!(releases, 1);

    rekeyed.run("deploy --stage dev").await.did();
    let history = prod.history().await;
    let count = items(&prod, "scratchpad-prod-Notes").await;
    for how in [
        "--yes",
        "--show",
        "--yes --allow-replacement scratchpad-prod-Purchases",
    ] {
        let said = rekeyed.run(&format!("{PROMOTE} {how}")).await.refused();
        assert!(
            said.contains(&lost("prod", count.try_into().unwrap())),
            "{said}"
        );
        assert_eq!(prod.history().await, history);
    }
    assert_eq!(items(&prod, "scratchpad-prod-Notes").await, count);

    let named = format!("{PROMOTE} --show --allow-replacement scratchpad-prod-Notes");
    let said = rekeyed.run(&named).await.did();
    assert!(said.contains("replace scratchpad-prod-Notes"), "{said}");
    // What CloudFormation then makes of it is its own matter: it does not replace what has a name.
    let named = "deploy --stage pr-1 --allow-replacement scratchpad-pr-1-Notes";
    let said = rekeyed.run(named).await.said();
    assert!(!said.contains("would be lost"), "{said}");
    assert!(said.contains("dynamodb"), "{said}");
    clean.run("remove --stage pr-1 --yes").await.did();
}
