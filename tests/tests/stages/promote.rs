//! Tests of promotions, failed promotions and rollbacks.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use test_support::stage::Person;
use tokio::sync::OnceCell;

use crate::account::Account;
use crate::checkout::{Checkout, Output};
use crate::users::{sign_up, stage};

const PROMOTE: &str = "promote --from dev --to prod --yes";

/// A stack that does not belong to a stage.
const EXISTING: &str = "existing-extra";

/// The origin that prod's API allows while prod's domain is not delegated.
const ORIGIN: &str = "*";
/// The origin that prod's API allows once prod's domain is delegated.
const NEXT_ORIGIN: &str = "https://scratchpad.example.com";

/// Returns a copy of the checkout with two changes: the domains of dev and prod are delegated, which changes several
/// stacks, and the stack of notes-api has an additional queue, scratchpad-STAGE-extra.
pub(crate) async fn next_version() -> &'static Checkout {
    static NEXT: OnceCell<Checkout> = OnceCell::const_new();
    let change = |checkout: &Checkout| {
        for domain in ["scratchpad.example.com", "dev.scratchpad.example.com"] {
            let row = format!("domain: {domain}\n");
            checkout.edit(
                "serverless.yml",
                &row,
                &format!("{row}    delegated: true\n"),
            );
        }
        checkout.edit(
            "services/notes-api/serverless.yml",
            "  - Resources:\n",
            "  - Resources:\n      Extra: { Type: AWS::SQS::Queue, Properties: { QueueName: \"scratchpad-${sls:stage}-extra\" } }\n",
        );
    };
    NEXT.get_or_init(|| Checkout::changed("next", change)).await
}

/// Deploys the sources of a checkout to the stage dev, and promotes the release to the stage prod.
async fn release(checkout: &Checkout) {
    checkout.run("deploy --stage dev").await.success();
    checkout.run(PROMOTE).await.success();
}

/// Returns the origin that the API allows in its CORS headers.
pub(crate) async fn origin(user: &Person<'_>) -> String {
    let response = user.get("/notes").await;
    assert_eq!(response.status, 200, "{}", response.text());
    response
        .header("access-control-allow-origin")
        .unwrap()
        .to_owned()
}

async fn create_note(user: &Person<'_>, content: &str) {
    let note = json!({"content": content, "attachment": null});
    let response = user.post("/notes", &note).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

/// Returns the hashes of the functions' zips in a release's record, Base64-encoded as in Lambda's API, keyed by
/// function.
fn artifact_hashes(release: &Value) -> BTreeMap<String, String> {
    let functions = release["functions"].as_object().unwrap().iter();
    let hash = |function: &Value| {
        let digits = function["artifact"].as_str().unwrap().as_bytes();
        let byte = |byte: &[u8]| u8::from_str_radix(str::from_utf8(byte).unwrap(), 16).unwrap();
        STANDARD.encode(digits.chunks(2).map(byte).collect::<Vec<_>>())
    };
    functions
        .map(|(name, function)| (name.clone(), hash(function)))
        .collect()
}

#[tokio::test]
async fn a_failed_promotion_is_rolled_back_and_succeeds_after_the_cause_is_fixed() {
    let (dev, prod) = (Account::dev(), Account::prod());
    release(Checkout::clean().await).await;
    let stage = stage(&prod, "prod").await;
    let user = sign_up(&prod, &stage).await;
    create_note(&user, "Before").await;
    assert_eq!(origin(&user).await, ORIGIN);
    let before = prod.fingerprints("prod").await;

    next_version()
        .await
        .run("deploy --stage dev")
        .await
        .success();
    // Create the queue in advance, so that the stack of notes-api fails to create it.
    let queue = json!({"QueueName": "scratchpad-prod-extra"});
    let existing = json!({"Type": "AWS::SQS::Queue", "Properties": queue});
    prod.create_stack(EXISTING, &existing).await;
    let output = next_version().await.run(PROMOTE).await.failure();
    assert!(
        output.contains("prod was rolled back to its previous release"),
        "{output}"
    );
    assert!(output.contains("Extra (AWS::SQS::Queue)"), "{output}");
    for stack in ["s3", "notes-api"] {
        assert!(
            output.contains(&format!("✓ roll back {stack}")),
            "{stack}: {output}"
        );
    }
    assert_eq!(prod.fingerprints("prod").await, before);
    assert_eq!(origin(&user).await, ORIGIN);
    assert_eq!(
        prod.releases("prod").await.last().unwrap()["outcome"],
        "failed"
    );
    let recorded = dev.releases("dev").await.pop().unwrap();
    let promoted = recorded["promotes"][1].as_object().unwrap().keys();
    let unknown = promoted.filter(|name| !before.contains_key(*name)).count();
    assert_eq!(unknown, 0);

    prod.delete_stack(EXISTING).await;
    next_version().await.run(PROMOTE).await.success();
    assert_eq!(origin(&user).await, NEXT_ORIGIN);
    let after = prod.fingerprints("prod").await;
    let changed = after
        .iter()
        .filter(|(name, fingerprint)| before.get(*name) != Some(fingerprint));
    assert!(changed.count() >= 4, "{before:?} {after:?}");
    let code = prod.code_hashes("prod").await;
    assert_eq!(code, dev.code_hashes("dev").await);
    assert_eq!(code, artifact_hashes(&recorded));
    let promoted = prod.releases("prod").await.pop().unwrap();
    assert_eq!(code, artifact_hashes(&promoted));
    assert_eq!(promoted["from"], json!(["dev", recorded["number"]]));
    assert_eq!(promoted["commit"], recorded["commit"]);
    assert!(user.get("/notes").await.text().contains("Before"));
    // A second promotion changes nothing.
    let history = prod.history().await;
    next_version().await.run(PROMOTE).await.success();
    assert_eq!(prod.history().await, history);
}

#[tokio::test]
async fn a_rollback_restores_the_old_release_without_compiling_and_keeps_new_data() {
    let prod = Account::prod();
    release(Checkout::clean().await).await;
    let stage = stage(&prod, "prod").await;
    let user = sign_up(&prod, &stage).await;
    let before = prod.fingerprints("prod").await;
    release(next_version().await).await;
    let newer = prod.releases("prod").await.pop().unwrap()["number"].clone();
    let during = prod.fingerprints("prod").await;
    assert_ne!(during, before);
    assert_eq!(origin(&user).await, NEXT_ORIGIN);
    create_note(&user, "In between").await;

    // The sources of this checkout cannot be compiled, but a rollback does not compile.
    let uncompilable = Checkout::changed("uncompilable", |checkout| {
        checkout.edit("libs/xray/src/lib.rs", "//!", "not valid Rust //!");
    });
    let uncompilable = uncompilable.await;
    uncompilable
        .run("rollback --stage prod --yes")
        .await
        .success();
    assert_eq!(prod.fingerprints("prod").await, before);
    assert_eq!(origin(&user).await, ORIGIN);
    assert!(user.get("/notes").await.text().contains("In between"));

    uncompilable
        .run(&format!("rollback --stage prod --to {newer} --yes"))
        .await
        .success();
    assert_eq!(prod.fingerprints("prod").await, during);
    assert_eq!(origin(&user).await, NEXT_ORIGIN);
    assert!(user.get("/notes").await.text().contains("In between"));
}

/// Checks that a command failed because of a changed object, that its message names the object and the bucket and says
/// what to do, and that the stage prod was not changed.
async fn assert_stopped(output: Output, bucket: &Account, key: &str, history: &History) {
    let output = output.failure();
    let expected = format!(
        "the object {key} in the bucket {} was changed",
        bucket.releases_bucket()
    );
    assert!(output.contains(&expected), "{output}");
    assert!(
        output.contains("delete it with an administrator's credentials"),
        "{output}"
    );
    assert_eq!(Account::prod().history().await, *history, "{key}");
}

type History = BTreeMap<String, Vec<String>>;

#[tokio::test]
async fn a_template_that_was_changed_in_the_bucket_stops_a_promotion_and_a_rollback() {
    let (dev, prod) = (Account::dev(), Account::prod());
    release(Checkout::clean().await).await;
    let first = prod.releases("prod").await.pop().unwrap();
    release(next_version().await).await;
    let recorded = dev.releases("dev").await.pop().unwrap();
    let checkout = Checkout::clean().await;
    let history = prod.history().await;
    let stack = "scratchpad-notes-api-prod";
    let of_dev = recorded["promotes"][1][stack].as_str().unwrap();
    let of_prod = first["stacks"][stack].as_str().unwrap();
    let rollback = format!("rollback --stage prod --to {} --yes", first["number"]);
    let show = "promote --from dev --to prod --show".to_owned();
    for (account, stage, hash, commands) in [
        (&dev, "dev", of_dev, [PROMOTE.to_owned(), show.clone()]),
        // The copy of dev's template in prod's bucket, from which CloudFormation reads it.
        (
            &prod,
            "prod",
            of_prod,
            [rollback.clone(), rollback.replace("--yes", "--show")],
        ),
    ] {
        let key = format!("{stage}/artifacts/templates/{hash}.json");
        let content = account.content(&key).await;
        let mut template: Value = serde_json::from_slice(&content).unwrap();
        template["Description"] = json!("A template of someone else");
        account
            .replace(&key, template.to_string().into_bytes())
            .await;
        for command in commands {
            assert_stopped(checkout.run(&command).await, account, &key, &history).await;
        }
        account.replace(&key, content).await;
    }
    checkout.run(&rollback).await.success();
    assert_eq!(
        origin(&sign_up(&prod, &stage(&prod, "prod").await).await).await,
        ORIGIN
    );
}

#[tokio::test]
async fn an_artifact_that_was_changed_in_a_bucket_stops_a_promotion_and_a_rollback() {
    let (dev, prod) = (Account::dev(), Account::prod());
    release(Checkout::clean().await).await;
    let first = prod.releases("prod").await.pop().unwrap();
    let checkout = next_version().await;
    checkout.run("deploy --stage dev").await.success();
    let recorded = dev.releases("dev").await.pop().unwrap();
    let history = prod.history().await;
    let zip = recorded["functions"]["notes-get"]["artifact"].as_str();
    // part: web {
    let mut files = recorded["app"]["files"].as_object().unwrap().values();
    let file = files.next().unwrap().as_str().unwrap();
    // part: web }
    let names = [
        format!("artifacts/functions/{}.zip", zip.unwrap()),
        format!("artifacts/app/{file}"), // part: web
    ];
    for name in &names {
        let [of_dev, of_prod] = ["dev", "prod"].map(|stage| format!("{stage}/{name}"));
        let content = prod.content(&of_prod).await;
        // A promotion copies only what prod's bucket does not have.
        prod.delete(&of_prod).await;
        dev.replace(&of_dev, b"changed".to_vec()).await;
        assert_stopped(checkout.run(PROMOTE).await, &dev, &of_dev, &history).await;
        dev.replace(&of_dev, content.clone()).await;
        prod.replace(&of_prod, b"changed".to_vec()).await;
        assert_stopped(checkout.run(PROMOTE).await, &prod, &of_prod, &history).await;
        prod.replace(&of_prod, content).await;
    }
    checkout.run(PROMOTE).await.success();

    let history = prod.history().await;
    let rollback = format!("rollback --stage prod --to {} --yes", first["number"]);
    for name in &names {
        let key = format!("prod/{name}");
        let content = prod.content(&key).await;
        prod.replace(&key, b"changed".to_vec()).await;
        assert_stopped(checkout.run(&rollback).await, &prod, &key, &history).await;
        prod.replace(&key, content).await;
    }
    checkout.run(&rollback).await.success();
    // A deploy of the same sources stores a deleted artifact again.
    for name in &names {
        let key = format!("dev/{name}");
        let content = dev.content(&key).await;
        dev.delete(&key).await;
        checkout.run("deploy --stage dev").await.success();
        assert_eq!(dev.content(&key).await, content);
    }
}

#[tokio::test]
async fn only_the_release_whose_digest_was_approved_is_promoted() {
    let (dev, prod) = (Account::dev(), Account::prod());
    release(Checkout::clean().await).await;
    let checkout = next_version().await;
    checkout.run("deploy --stage dev").await.success();
    let file = checkout.path("target/digest");
    let show = format!(
        "promote --from dev --to prod --show --digest-file {}",
        file.display()
    );
    let output = checkout.run(&show).await.success();
    let digest = std::fs::read_to_string(&file).unwrap();
    let promote = format!("{PROMOTE} --digest {digest}");
    assert!(
        output.contains(&format!("digest {}", digest.trim())),
        "{output}"
    );

    // Someone changes the record after the approval.
    let history = prod.history().await;
    let number = dev.releases("dev").await.pop().unwrap()["number"]
        .as_u64()
        .unwrap();
    let key = format!("dev/releases/{number:06}.json");
    let content = dev.content(&key).await;
    let mut record: Value = serde_json::from_slice(&content).unwrap();
    record["branch"] = json!("another");
    dev.put_object(&key, &record).await;
    let output = checkout.run(&promote).await.failure();
    assert!(output.contains("not the approved digest"), "{output}");
    assert!(output.contains("Nothing was changed"), "{output}");
    assert_eq!(prod.history().await, history);

    dev.replace(&key, content).await;
    checkout.run(&promote).await.success();
    assert_ne!(prod.history().await, history);
}
