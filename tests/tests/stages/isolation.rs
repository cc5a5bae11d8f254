//! Tests of several stages in one account, and of a stage that uses the data and users of another
//! stage.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::stage::Person;

use crate::account::{Account, configuration};
use crate::checkout::{Checkout, Running};
use crate::users::{linked, stage};

/// Returns the notes that the API lists for the user.
async fn notes(user: &Person<'_>) -> Vec<Value> {
    user.get("/notes")
        .await
        .json(200)
        .as_array()
        .unwrap()
        .clone()
}

/// Returns the environment variables of each function of a stage, keyed by the name of the
/// function's crate.
async fn environments(
    account: &Account,
    stage: &str,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut environments = BTreeMap::new();
    for name in account.code_hashes(stage).await.into_keys() {
        let get = account.lambda.get_function_configuration();
        let function = get
            .function_name(format!("scratchpad-{stage}-{name}"))
            .send()
            .await
            .unwrap();
        let variables = function.environment().unwrap().variables().unwrap();
        environments.insert(name, variables.clone().into_iter().collect());
    }
    environments
}

#[tokio::test]
async fn two_stages_share_no_resources_and_no_data() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    for stage in ["feature-1", "feature-2"] {
        checkout
            .run(&format!("deploy --stage {stage}"))
            .await
            .success();
    }
    let [one, two] = [
        account.resources("feature-1").await,
        account.resources("feature-2").await,
    ];
    assert!(
        one.len() > 50 && one.len() == two.len(),
        "{} and {}",
        one.len(),
        two.len()
    );
    assert_eq!(
        one.intersection(&two).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
    let [one, two] = [
        environments(&account, "feature-1").await,
        environments(&account, "feature-2").await,
    ];
    for (function, variables) in &one {
        for (name, value) in variables
            .iter()
            .filter(|(name, _)| name.ends_with("TABLE") || name.ends_with("BUCKET"))
        {
            assert_ne!(two[function].get(name), Some(value), "{function}: {name}");
        }
    }

    let [one, two] = [
        stage(&account, "feature-1").await,
        stage(&account, "feature-2").await,
    ];
    let [ann, bob] = [Person::sign_up(&one).await, Person::sign_up(&two).await];
    ann.create_note("Only here", None).await;
    assert_eq!(notes(&ann).await.len(), 1);
    assert!(bob.has_no_notes().await);
    // Each stage rejects the credentials of the other stage.
    let elsewhere = format!("{}/notes", two.api_url);
    assert_eq!(ann.get(&elsewhere).await.status, 403);
}

#[tokio::test]
async fn a_linked_stage_uses_the_data_of_dev_and_shares_nothing_else() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("deploy --stage dev").await.success();
    checkout
        .run("deploy --stage feature-3 --infrastructure dev")
        .await
        .success();
    let [dev, pr] = [
        account.resources("dev").await,
        account.resources("feature-3").await,
    ];
    assert_eq!(
        dev.intersection(&pr).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
    let kinds: BTreeSet<&str> = pr.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in ["AWS::DynamoDB::Table", "AWS::Cognito::UserPool"] {
        assert!(!kinds.contains(kind), "feature-3 has a {kind}");
    }
    let exports = account.exports().await;
    let [of_dev, of_pr] = [
        environments(&account, "dev").await,
        environments(&account, "feature-3").await,
    ];
    assert_eq!(
        of_pr["notes-create"]["NOTES_TABLE"],
        exports["scratchpad-dev-NotesTableName"]
    );
    for (function, variables) in &of_pr {
        for (name, value) in variables
            .iter()
            .filter(|(name, _)| name.ends_with("TABLE") || name.ends_with("BUCKET"))
        {
            assert_eq!(
                of_dev[function].get(name),
                Some(value),
                "{function}: {name}"
            );
        }
    }

    let [dev, pr] = [
        stage(&account, "dev").await,
        linked(&account, "feature-3", "dev").await,
    ];
    let user = Person::sign_up(&pr).await;
    user.create_note("From a branch", None).await;
    let from_dev = user.get(&format!("{}/notes", dev.api_url)).await;
    assert_eq!(from_dev.status, 200, "{}", from_dev.text());
    assert!(from_dev.text().contains("From a branch"));
    checkout
        .run("remove --stage feature-3 --yes")
        .await
        .success();
    let from_dev = user.get(&format!("{}/notes", dev.api_url)).await;
    assert!(from_dev.text().contains("From a branch"));
}

/// Creates data in the stage `name`: a secret, a user, a note and an object in the attachments
/// bucket.
async fn fill(account: &Account, name: &str) {
    let secret = json!({
        "Name": format!("/scratchpad/{name}/key"), "Type": "SecureString", "Value": "goes", "Overwrite": true,
    });
    account.call("ssm", "AmazonSSM.PutParameter", &secret).await;
    let stage = stage(account, name).await;
    let ann = Person::sign_up(&stage).await;
    ann.create_note("Goes", None).await;
    let put = account
        .s3
        .put_object()
        .bucket(&stage.attachments_bucket)
        .key("private/file");
    put.body(b"Goes".to_vec().into()).send().await.unwrap();
}

#[tokio::test]
async fn removing_a_stage_restores_the_account_and_keeps_other_stages_working() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage feature-1 --yes").await.text();
    for stage in ["dev", "feature-2"] {
        checkout
            .run(&format!("deploy --stage {stage}"))
            .await
            .success();
    }
    let two = stage(&account, "feature-2").await;
    let bob = Person::sign_up(&two).await;
    bob.create_note("Stays", None).await;
    let before = account.inventory().await;
    let kinds: BTreeSet<&str> = before
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    for kind in [
        "stack",
        "function",
        "dynamodb",
        "bucket",
        "object",
        "logs",
        "iam",
        "sns",
        "sqs",
        "API",
        "events",
        "monitoring",
        "cognito-idp",
        "cognito-identity",
    ] {
        assert!(kinds.contains(kind), "the inventory has no {kind}");
    }

    checkout.run("deploy --stage feature-1").await.success();
    fill(&account, "feature-1").await;
    assert!(account.inventory().await.len() > before.len() + 50);

    checkout
        .run("remove --stage feature-1 --yes")
        .await
        .success();
    let after = account.inventory().await;
    let left: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(
        left.is_empty() && lost.is_empty(),
        "left: {left:#?}\nlost: {lost:#?}"
    );
    assert_eq!(notes(&bob).await.len(), 1);
    let dev = stage(&account, "dev").await;
    assert_eq!(Person::sign_up(&dev).await.get("/notes").await.text(), "[]");
    assert!(
        checkout
            .run("remove --stage feature-1 --yes")
            .await
            .failure()
            .contains("has no stage feature-1")
    );
}

#[tokio::test]
async fn an_account_is_bootstrapped_before_its_first_stage_and_empty_after_the_last() {
    const ACCOUNT: &str = "444444444444";
    let checkout = Checkout::changed("empty-account", |checkout| {
        checkout.edit(
            "serverless.yml",
            "id: \"333333333333\"",
            &format!("id: \"{ACCOUNT}\""),
        );
    });
    let checkout = checkout.await;
    // The local cloud emulates another account for other credentials.
    let configuration = configuration().replace(
        "aws_access_key_id = 333333333333",
        &format!("aws_access_key_id = {ACCOUNT}"),
    );
    let file = checkout.path("target/empty-account");
    std::fs::write(&file, &configuration).unwrap();
    let account = Account::of_configuration(&configuration, "scratchpad-previews");
    let run = async |arguments: &str| {
        let mut command = checkout.command(arguments);
        command.env("AWS_CONFIG_FILE", &file);
        Running::spawn(command, arguments).wait().await
    };
    let before = account.inventory().await;
    for command in ["deploy --stage pr-1", "rollback --stage pr-1 --yes"] {
        let output = run(command).await.failure();
        let expected = "Run cargo xtask bootstrap --stage pr-1 first";
        assert!(output.contains(expected), "{output}");
    }
    assert_eq!(account.inventory().await, before);

    run("bootstrap --stage pr-1").await.success();
    let bootstrapped = account.inventory().await;
    let output = run("bootstrap --stage pr-1").await.success();
    assert!(output.contains("(0 of "), "{output}");
    run("deploy --stage pr-1").await.success();
    let output = run("bootstrap --stage pr-1 --remove").await.failure();
    assert!(output.contains("still has stages: pr-1"), "{output}");
    run("remove --stage pr-1 --yes").await.success();
    let after = account.inventory().await;
    let changed: Vec<_> = after.symmetric_difference(&bootstrapped).collect();
    assert!(changed.is_empty(), "{changed:#?}");

    run("bootstrap --stage pr-1 --remove").await.success();
    let after = account.inventory().await;
    let changed: Vec<_> = after.symmetric_difference(&before).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    run("bootstrap --stage pr-1 --remove").await.success();
}
