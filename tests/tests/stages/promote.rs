//! A release put on the next stage, that fails and that does not, and put back.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::stage::Person;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::account::Account;
use crate::checkout::Checkout;
use crate::people::{sign_up, stage};

const PROMOTE: &str = "promote --from dev --to prod --yes";

const ORIGIN: &str = "https://scratchpad.example.com";
const NEXT_ORIGIN: &str = "https://next.scratchpad.example.com";

/// The sources with the app at another place, of which all its stacks but the first know, and one more parameter
/// in the third of those that know.
async fn next() -> &'static Checkout {
    static NEXT: OnceCell<Checkout> = OnceCell::const_new();
    let change = |checkout: &Checkout| {
        for (from, to) in [
            (ORIGIN, NEXT_ORIGIN),
            (
                "https://dev.scratchpad.example.com",
                "https://next.dev.scratchpad.example.com",
            ),
        ] {
            let row = |origin| format!("allowedOrigin: {origin}\n");
            checkout.edit("serverless.yml", &row(from), &row(to));
        }
        checkout.edit(
            "services/billing-api/serverless.yml",
            "  - Resources:\n",
            "  - Resources:\n      Refunds: { Type: AWS::SSM::Parameter, Properties: { Name: \"/refunds/${sls:stage}\", Type: String, Value: none } }\n",
        );
    };
    NEXT.get_or_init(|| Checkout::changed("next", change)).await
}

/// Puts these sources on prod, through dev.
async fn release(checkout: &Checkout) {
    checkout.run("deploy --stage dev").await.did();
    checkout.run(PROMOTE).await.did();
}

/// The place of the app that the API of somebody's stage answers for.
async fn origin(person: &Person<'_>) -> String {
    let answer = person.get("/notes").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
        .header("access-control-allow-origin")
        .unwrap()
        .to_owned()
}

async fn write(person: &Person<'_>, content: &str) {
    let note = json!({"content": content, "attachment": null});
    let answer = person.post("/notes", &note).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// The hashes of the functions' zips that a release was recorded with, as Lambda writes them.
fn artefacts(release: &Value) -> BTreeMap<String, String> {
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
async fn a_promotion_that_fails_in_its_third_stack_leaves_the_old_release_and_succeeds_once_that_is_mended()
 {
    let (dev, prod) = (Account::dev(), Account::prod());
    release(Checkout::clean().await).await;
    let place = stage(&prod, "prod").await;
    let person = sign_up(&prod, &place).await;
    write(&person, "Before").await;
    assert_eq!(origin(&person).await, ORIGIN);
    let before = prod.fingerprints("prod").await;

    next().await.run("deploy --stage dev").await.did();
    // What one stack is to make is there already.
    let refunds = json!({"Name": "/refunds/prod", "Type": "String", "Value": "somebody's"});
    prod.ask("ssm", "AmazonSSM.PutParameter", &refunds).await;
    let said = next().await.run(PROMOTE).await.refused();
    assert!(
        said.contains("prod was rolled back to its previous release"),
        "{said}"
    );
    assert!(said.contains("Refunds (AWS::SSM::Parameter)"), "{said}");
    for stack in ["s3", "notes-api", "billing-api"] {
        assert!(
            said.contains(&format!("✓ roll back {stack}")),
            "{stack}: {said}"
        );
    }
    assert_eq!(prod.fingerprints("prod").await, before);
    assert_eq!(origin(&person).await, ORIGIN);
    assert_eq!(
        prod.releases("prod").await.last().unwrap()["outcome"],
        "failed"
    );
    let recorded = dev.releases("dev").await.pop().unwrap();
    let promoted = recorded["promotes"][1].as_object().unwrap().keys();
    let unlike = promoted.filter(|name| !before.contains_key(*name)).count();
    assert_eq!(unlike, 0);

    let refunds = json!({"Name": "/refunds/prod"});
    prod.ask("ssm", "AmazonSSM.DeleteParameter", &refunds).await;
    next().await.run(PROMOTE).await.did();
    assert_eq!(origin(&person).await, NEXT_ORIGIN);
    let after = prod.fingerprints("prod").await;
    let changed = after
        .iter()
        .filter(|(name, fingerprint)| before.get(*name) != Some(fingerprint));
    assert!(changed.count() >= 4, "{before:?} {after:?}");
    let code = prod.code("prod").await;
    assert_eq!(code, dev.code("dev").await);
    assert_eq!(code, artefacts(&recorded));
    let copy = prod.releases("prod").await.pop().unwrap();
    assert_eq!(code, artefacts(&copy));
    assert_eq!(copy["from"], json!(["dev", recorded["number"]]));
    assert_eq!(copy["commit"], recorded["commit"]);
    assert!(person.get("/notes").await.text().contains("Before"));
    // And once more there is nothing to do.
    let history = prod.history().await;
    next().await.run(PROMOTE).await.did();
    assert_eq!(prod.history().await, history);
}

#[tokio::test]
async fn a_rollback_compiles_nothing_brings_the_old_behaviour_back_and_keeps_what_was_written_since()
 {
    let prod = Account::prod();
    release(Checkout::clean().await).await;
    let place = stage(&prod, "prod").await;
    let person = sign_up(&prod, &place).await;
    let before = prod.fingerprints("prod").await;
    release(next().await).await;
    let newer = prod.releases("prod").await.pop().unwrap()["number"].clone();
    let during = prod.fingerprints("prod").await;
    assert_ne!(during, before);
    assert_eq!(origin(&person).await, NEXT_ORIGIN);
    write(&person, "In between").await;

    // These sources are neither of what runs nor needed for what ran: no compiler can be reached.
    let elsewhere = Checkout::changed("elsewhere", |checkout| {
        checkout.edit("libs/xray/src/lib.rs", "//!", "not Rust at all //!");
    });
    let elsewhere = elsewhere.await;
    elsewhere.run("rollback --stage prod --yes").await.did();
    assert_eq!(prod.fingerprints("prod").await, before);
    assert_eq!(origin(&person).await, ORIGIN);
    assert!(person.get("/notes").await.text().contains("In between"));

    elsewhere
        .run(&format!("rollback --stage prod --to {newer} --yes"))
        .await
        .did();
    assert_eq!(prod.fingerprints("prod").await, during);
    assert_eq!(origin(&person).await, NEXT_ORIGIN);
    assert!(person.get("/notes").await.text().contains("In between"));
}
