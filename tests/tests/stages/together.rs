//! Stages side by side in an account, and one that links to another's data and people.

use std::collections::{BTreeMap, BTreeSet};

use e2e::stage::Person;
use serde_json::Value;

use crate::account::Account;
use crate::checkout::Checkout;
use crate::people::{linked, stage};

/// The contents of somebody's notes.
async fn notes(person: &Person<'_>) -> Vec<Value> {
    person
        .get("/notes")
        .await
        .json(200)
        .as_array()
        .unwrap()
        .clone()
}

/// The environment of each function of a stage.
async fn settings(account: &Account, stage: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for name in account.code(stage).await.into_keys() {
        let get = account.lambda.get_function_configuration();
        let function = get
            .function_name(format!("scratchpad-{stage}-{name}"))
            .send()
            .await
            .unwrap();
        let variables = function.environment().unwrap().variables().unwrap();
        settings.insert(name, variables.clone().into_iter().collect());
    }
    settings
}

#[tokio::test]
async fn two_stages_share_nothing_and_what_is_written_in_one_is_not_in_the_other() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    for stage in ["pr-1", "pr-2"] {
        checkout.run(&format!("deploy --stage {stage}")).await.did();
    }
    let [one, two] = [
        account.resources("pr-1").await,
        account.resources("pr-2").await,
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
        settings(&account, "pr-1").await,
        settings(&account, "pr-2").await,
    ];
    for (function, settings) in &one {
        for (name, value) in settings
            .iter()
            .filter(|(name, _)| name.ends_with("TABLE") || name.ends_with("BUCKET"))
        {
            assert_ne!(two[function].get(name), Some(value), "{function}: {name}");
        }
    }

    let [one, two] = [stage(&account, "pr-1").await, stage(&account, "pr-2").await];
    let [ann, bob] = [Person::sign_up(&one).await, Person::sign_up(&two).await];
    ann.note("Only here", None).await;
    assert_eq!(notes(&ann).await.len(), 1);
    assert!(bob.has_no_notes().await);
    // Not even with the credentials that the other stage gave.
    let elsewhere = format!("{}/notes", two.api_url);
    assert_eq!(ann.get(&elsewhere).await.status, 403);
}

#[tokio::test]
async fn a_linked_stage_works_with_the_data_of_dev_and_shares_nothing_else() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("deploy --stage dev").await.did();
    checkout
        .run("deploy --stage pr-3 --infrastructure dev")
        .await
        .did();
    let [dev, pr] = [
        account.resources("dev").await,
        account.resources("pr-3").await,
    ];
    assert_eq!(
        dev.intersection(&pr).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
    let kinds: BTreeSet<&str> = pr.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in ["AWS::DynamoDB::Table", "AWS::Cognito::UserPool"] {
        assert!(!kinds.contains(kind), "pr-3 has a {kind}");
    }
    let exports = account.exports().await;
    let [of_dev, of_pr] = [
        settings(&account, "dev").await,
        settings(&account, "pr-3").await,
    ];
    assert_eq!(
        of_pr["notes-create"]["NOTES_TABLE"],
        exports["scratchpad-dev-NotesTableName"]
    );
    for (function, settings) in &of_pr {
        for (name, value) in settings
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
        linked(&account, "pr-3", "dev").await,
    ];
    let person = Person::sign_up(&pr).await;
    person.note("By a branch", None).await;
    let by_dev = person.get(&format!("{}/notes", dev.api_url)).await;
    assert_eq!(by_dev.status, 200, "{}", by_dev.text());
    assert!(by_dev.text().contains("By a branch"));
    checkout.run("remove --stage pr-3 --yes").await.did();
    let by_dev = person.get(&format!("{}/notes", dev.api_url)).await;
    assert!(by_dev.text().contains("By a branch"));
}

#[tokio::test]
async fn a_removed_stage_leaves_the_account_as_it_was_before_and_others_at_work() {
    let (checkout, account) = (Checkout::clean().await, Account::dev());
    checkout.run("remove --stage pr-1 --yes").await.said();
    for stage in ["dev", "pr-2"] {
        checkout.run(&format!("deploy --stage {stage}")).await.did();
    }
    let two = stage(&account, "pr-2").await;
    let bob = Person::sign_up(&two).await;
    bob.note("Stays", None).await;
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

    checkout.run("deploy --stage pr-1").await.did();
    let mut set = checkout.command("secrets set admin-phone-number --stage pr-1");
    let phone = checkout.path("target/phone");
    std::fs::write(&phone, "+15555550100\n").unwrap();
    set.stdin(std::fs::File::open(phone).unwrap());
    crate::checkout::Running::of(set, "secrets set")
        .end()
        .await
        .did();
    let one = stage(&account, "pr-1").await;
    let ann = Person::sign_up(&one).await;
    ann.note("Goes", None).await;
    let put = account
        .s3
        .put_object()
        .bucket(&one.attachments_bucket)
        .key("private/file");
    put.body(b"Goes".to_vec().into()).send().await.unwrap();
    assert!(account.inventory().await.len() > before.len() + 50);

    checkout.run("remove --stage pr-1 --yes").await.did();
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
            .run("remove --stage pr-1 --yes")
            .await
            .refused()
            .contains("has no stage pr-1")
    );
}
