//! Tests of access: credentials of the wrong account, secrets, the list of stages, and protected stages.

use std::fs;

use serde_json::json; // part: billing

use crate::account::{Account, configuration};
use crate::checkout::Output; // part: billing
use crate::checkout::{Checkout, Running};

#[tokio::test]
async fn credentials_of_another_account_are_rejected_before_any_change() {
    let (checkout, dev, prod) = (Checkout::clean().await, Account::dev(), Account::prod());
    let other = checkout.path("target/other-account");
    fs::write(&other, configuration().replace(&dev.id, &prod.id)).unwrap();
    let before = (dev.inventory().await, prod.inventory().await);
    for arguments in [
        "deploy --stage feature-1",
        "deploy --stage dev",
        "plan --stage dev",
        "promote --from dev --to prod --yes",
        "rollback --stage dev --yes",
        "remove --stage dev --yes",
    ] {
        let mut command = checkout.command(arguments);
        command.env("AWS_CONFIG_FILE", &other);
        let output = Running::spawn(command, arguments).wait().await.failure();
        assert!(
            output.contains(&dev.id) && output.contains(&prod.id),
            "{output}"
        );
        assert!(output.contains("Nothing was changed"), "{output}");
    }
    assert_eq!((dev.inventory().await, prod.inventory().await), before);
}

// part: billing {
/// Runs `cargo xtask secrets set`, with `value` on standard input.
async fn set_secret(checkout: &Checkout, name: &str, stage: &str, value: &str) -> Output {
    let arguments = format!("secrets set {name} --stage {stage}");
    let file = checkout.path("target/secret");
    fs::write(&file, value).unwrap();
    let mut command = checkout.command(&arguments);
    command.stdin(fs::File::open(file).unwrap());
    Running::spawn(command, &arguments).wait().await
}

/// Returns the value and the type of an SSM parameter.
async fn secret(account: &Account, name: &str) -> (String, String) {
    let input = json!({"Name": name, "WithDecryption": true});
    let found = account.call("ssm", "AmazonSSM.GetParameter", &input).await;
    let [value, kind] =
        ["Value", "Type"].map(|field| found["Parameter"][field].as_str().unwrap().to_owned());
    (value, kind)
}

#[tokio::test]
async fn secrets_are_set_from_stdin_and_copied_without_overwriting_and_never_printed() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    let [key, other_key, signing] = ["sk_test_5ecret", "sk_test_0ther", "whsec_5ecret"];
    let mut output = set_secret(
        checkout,
        "stripe-secret-key",
        "feature-5",
        &format!("{key}\n"),
    )
    .await
    .success();
    output += &set_secret(checkout, "stripe-webhook-secret", "feature-5", signing)
        .await
        .success();
    output += &set_secret(checkout, "stripe-secret-key", "feature-6", other_key)
        .await
        .success();
    output += &set_secret(checkout, "stripe-webhook-secret", "feature-6", other_key)
        .await
        .failure();
    let listed = checkout
        .run("secrets list --stage feature-6")
        .await
        .success();
    let line = |name: &str| {
        listed
            .lines()
            .find(|line| line.contains(&format!("/scratchpad/feature-6/{name}")))
            .unwrap()
    };
    assert!(line("stripe-secret-key").contains("version 1"), "{listed}");
    assert!(
        line("stripe-webhook-secret").contains("missing"),
        "{listed}"
    );
    output += &checkout
        .run("secrets copy --from feature-5 --stage feature-6")
        .await
        .success();
    let secure = |value: &str| (value.to_owned(), "SecureString".to_owned());
    assert_eq!(
        secret(&account, "/scratchpad/feature-6/stripe-webhook-secret").await,
        secure(signing)
    );
    assert_eq!(
        secret(&account, "/scratchpad/feature-6/stripe-secret-key").await,
        secure(other_key)
    );
    output += &listed;
    for value in [key, other_key, signing] {
        assert!(!output.contains(value), "{output}");
    }
    for (stage, name) in [
        ("feature-5", "stripe-secret-key"),
        ("feature-5", "stripe-webhook-secret"),
        ("feature-6", "stripe-secret-key"),
        ("feature-6", "stripe-webhook-secret"),
    ] {
        let delete = json!({"Name": format!("/scratchpad/{stage}/{name}")});
        account
            .call("ssm", "AmazonSSM.DeleteParameter", &delete)
            .await;
    }
}
// part: billing }

#[tokio::test]
async fn all_stages_are_listed_and_only_old_ephemeral_stages_are_removed() {
    let checkout = Checkout::clean().await;
    let (dev, previews, prod) = (Account::dev(), Account::previews(), Account::prod());
    checkout.run("deploy --stage dev").await.success();
    checkout
        .run("promote --from dev --to prod --yes")
        .await
        .success();
    for stage in ["feature-1", "pr-1"] {
        checkout
            .run(&format!("deploy --stage {stage}"))
            .await
            .success();
    }
    let listed = |output: &str| {
        let first = output
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        let stages = ["dev", "feature-1", "pr-1", "prod"];
        first
            .filter(|first| stages.contains(&first.as_str()))
            .collect::<Vec<_>>()
    };
    let output = checkout.run("stages").await.success();
    assert_eq!(
        listed(&output),
        ["dev", "feature-1", "pr-1", "prod"],
        "{output}"
    );
    // The releases of dev and prod are of the branch of the original checkout.
    for (stage, account, branch) in [
        ("feature-1", &dev, "tests"),
        ("pr-1", &previews, "tests"),
        ("prod", &prod, ""),
    ] {
        let line = output
            .lines()
            .find(|line| line.starts_with(&format!("{stage} ")))
            .unwrap();
        for part in [&account.id, "tester", branch] {
            assert!(line.contains(part), "{stage}: {output}");
        }
    }
    assert_eq!(
        listed(&checkout.run("stages --older-than 7d").await.success()),
        Vec::<String>::new()
    );

    let permanent = (dev.fingerprints("dev").await, prod.history().await);
    checkout
        .run("stages --older-than 0s --remove")
        .await
        .success();
    assert_eq!(
        listed(&checkout.run("stages").await.success()),
        ["dev", "prod"]
    );
    assert_eq!(
        (dev.fingerprints("dev").await, prod.history().await),
        permanent
    );
    assert!(dev.stacks_of("feature-1").await.is_empty());
    assert!(previews.stacks_of("pr-1").await.is_empty());
}

#[tokio::test]
async fn a_protected_stage_is_not_removed() {
    let (checkout, prod) = (Checkout::clean().await, Account::prod());
    checkout.run("deploy --stage dev").await.success();
    checkout
        .run("promote --from dev --to prod --yes")
        .await
        .success();
    let before = prod.inventory().await;
    let output = checkout.run("remove --stage prod --yes").await.failure();
    assert!(output.contains("prod is protected"), "{output}");
    assert_eq!(prod.inventory().await, before);
}
