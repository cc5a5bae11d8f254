//! Accounts, secrets, and what is protected.

use std::fs;

use serde_json::json;

use crate::account::{Account, configuration};
use crate::checkout::{Checkout, Running, Told};

#[tokio::test]
async fn with_the_credentials_of_another_account_nothing_is_touched_and_both_are_named() {
    let (checkout, dev, prod) = (Checkout::clean().await, Account::dev(), Account::prod());
    let other = checkout.path("target/other-account");
    fs::write(&other, configuration().replace(&dev.id, &prod.id)).unwrap();
    let before = (dev.inventory().await, prod.inventory().await);
    for arguments in [
        "deploy --stage pr-1",
        "deploy --stage dev",
        "plan --stage dev",
        "promote --from dev --to prod --yes",
        "rollback --stage dev --yes",
        "remove --stage dev --yes",
    ] {
        let mut command = checkout.command(arguments);
        command.env("AWS_CONFIG_FILE", &other);
        let said = Running::of(command, arguments).end().await.refused();
        assert!(said.contains(&dev.id) && said.contains(&prod.id), "{said}");
        assert!(said.contains("Nothing was changed"), "{said}");
    }
    assert_eq!((dev.inventory().await, prod.inventory().await), before);
}

/// Sets a secret of a stage.
async fn set(checkout: &Checkout, name: &str, stage: &str, value: &str) -> Told {
    let arguments = format!("secrets set {name} --stage {stage}");
    let file = checkout.path("target/secret");
    fs::write(&file, value).unwrap();
    let mut command = checkout.command(&arguments);
    command.stdin(fs::File::open(file).unwrap());
    Running::of(command, &arguments).end().await
}

/// A secret of a stage, as functions read it: its value, its type.
async fn secret(account: &Account, name: &str) -> (String, String) {
    let input = json!({"Name": name, "WithDecryption": true});
    let found = account.ask("ssm", "AmazonSSM.GetParameter", &input).await;
    let [value, kind] =
        ["Value", "Type"].map(|field| found["Parameter"][field].as_str().unwrap().to_owned());
    (value, kind)
}

#[tokio::test]
async fn secrets_come_by_standard_input_are_copied_where_there_are_none_and_are_never_shown() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    let [key, other, phone] = ["sk_test_5ecret", "sk_test_0ther", "+15555550101"];
    let mut said = set(checkout, "stripe-secret-key", "pr-5", &format!("{key}\n"))
        .await
        .did();
    said += &set(checkout, "admin-phone-number", "pr-5", phone)
        .await
        .did();
    said += &set(checkout, "stripe-secret-key", "pr-6", other)
        .await
        .did();
    said += &set(checkout, "stripe-webhook-secret", "pr-5", other)
        .await
        .refused();
    let listed = checkout.run("secrets list --stage pr-5").await.did();
    let line = |name: &str| {
        listed
            .lines()
            .find(|line| line.contains(&format!("/scratchpad/pr-5/{name}")))
            .unwrap()
    };
    assert!(line("stripe-secret-key").contains("version 1"), "{listed}");
    assert!(
        line("stripe-webhook-secret").contains("missing"),
        "{listed}"
    );
    said += &checkout
        .run("secrets copy --from pr-5 --stage pr-6")
        .await
        .did();
    let secure = |value: &str| (value.to_owned(), "SecureString".to_owned());
    assert_eq!(
        secret(&account, "/scratchpad/pr-6/admin-phone-number").await,
        secure(phone)
    );
    assert_eq!(
        secret(&account, "/scratchpad/pr-6/stripe-secret-key").await,
        secure(other)
    );
    said += &listed;
    for value in [key, other, phone] {
        assert!(!said.contains(value), "{said}");
    }
    for (stage, name) in [
        ("pr-5", "stripe-secret-key"),
        ("pr-5", "admin-phone-number"),
        ("pr-6", "stripe-secret-key"),
        ("pr-6", "admin-phone-number"),
    ] {
        let delete = json!({"Name": format!("/scratchpad/{stage}/{name}")});
        account
            .ask("ssm", "AmazonSSM.DeleteParameter", &delete)
            .await;
    }
}

#[tokio::test]
async fn stages_are_listed_and_those_without_a_row_alone_are_removed_when_they_are_old() {
    let (checkout, dev, prod) = (Checkout::clean().await, Account::dev(), Account::prod());
    checkout.run("deploy --stage dev").await.did();
    checkout
        .run("promote --from dev --to prod --yes")
        .await
        .did();
    for stage in ["pr-1", "pr-2"] {
        checkout.run(&format!("deploy --stage {stage}")).await.did();
    }
    let listed = |said: &str| {
        let first = said
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        let stages = ["dev", "pr-1", "pr-2", "prod"];
        first
            .filter(|first| stages.contains(&first.as_str()))
            .collect::<Vec<_>>()
    };
    let said = checkout.run("stages").await.did();
    assert_eq!(listed(&said), ["dev", "pr-1", "pr-2", "prod"], "{said}");
    let of_pr = said.lines().find(|line| line.starts_with("pr-1 ")).unwrap();
    assert!(
        of_pr.contains(&dev.id) && of_pr.contains("tester") && of_pr.contains("tests"),
        "{said}"
    );
    assert!(
        said.lines()
            .any(|line| line.starts_with("prod ") && line.contains(&prod.id)),
        "{said}"
    );
    assert_eq!(
        listed(&checkout.run("stages --older-than 7d").await.did()),
        Vec::<String>::new()
    );

    let with_row = (dev.fingerprints("dev").await, prod.history().await);
    checkout.run("stages --older-than 0s --remove").await.did();
    assert_eq!(listed(&checkout.run("stages").await.did()), ["dev", "prod"]);
    assert_eq!(
        (dev.fingerprints("dev").await, prod.history().await),
        with_row
    );
    assert!(dev.stacks_of("pr-1").await.is_empty() && dev.stacks_of("pr-2").await.is_empty());
}

#[tokio::test]
async fn a_protected_stage_is_not_removed() {
    let (checkout, prod) = (Checkout::clean().await, Account::prod());
    checkout.run("deploy --stage dev").await.did();
    checkout
        .run("promote --from dev --to prod --yes")
        .await
        .did();
    let before = prod.inventory().await;
    let said = checkout.run("remove --stage prod --yes").await.refused();
    assert!(said.contains("prod is protected"), "{said}");
    assert_eq!(prod.inventory().await, before);
}
