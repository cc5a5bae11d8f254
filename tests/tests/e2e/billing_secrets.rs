//! Tests that secrets are not in logs, traces, function configurations, templates or responses.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use test_support::functions;
use test_support::http::{Method, Response};
use test_support::stage::{Person, Stage, wait_for};
use xray_daemon::Daemon;

/// A secret key that the local Stripe rejects.
const INVALID_KEY: &str = "sk_test_thisOneIsWrong7f3a91";

/// The failures to inject into an order's first four calls to Stripe, one per call.
fn failures() -> [Value; 4] {
    [
        json!({"times": 1, "end": {"status": 429}, "effect": false}),
        json!({"times": 1, "end": "close", "effect": false}),
        json!({"times": 1, "end": {"status": 409}, "effect": false}),
        json!({"times": 1, "end": {"status": 500}}),
    ]
}

/// The folders in a stage's folder that the test does not search: the data of the local cloud, which contains the
/// secrets, and its temporary files.
const AWS_FOLDERS: [&str; 2] = ["data", "tmp"];

/// Returns the files in a stage's folder that a developer may read or share, without those in [`AWS_FOLDERS`].
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if AWS_FOLDERS.iter().any(|folder| path.ends_with(folder)) => (),
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Listens on the stage's X-Ray port and collects traces. `None` if the stage's own X-Ray daemon already listens on
/// this port. The stage's daemon writes the traces to a file in the stage's folder.
fn daemon(stage: &Stage) -> Option<Daemon> {
    let ports = fs::read(stage.folder().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_slice(&ports).unwrap();
    Daemon::bind(u16::try_from(ports["xray"].as_u64()?).ok()?).ok()
}

/// Places an order while the stage has an invalid Stripe key, and the same order again with the valid key. Returns the
/// response to the first order.
async fn order_with_invalid_key(stage: &Stage, user: &Person<'_>, key: &str) -> Response {
    stage.put_secret("stripe-secret-key", INVALID_KEY).await;
    stage.restart("billing-purchase").await;
    let response = user.buy_with_key("refused", 10, "tok_visa").await;
    stage.put_secret("stripe-secret-key", key).await;
    stage.restart("billing-purchase").await;
    user.buy_with_key("refused", 10, "tok_visa").await.json(200);
    response
}

/// Returns all texts that a developer may read, each with a description: logs, function configurations, traces and the
/// files in the stage's folder.
async fn readable_texts(stage: &Stage, traces: Option<Daemon>) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for function in functions::all() {
        let name = function.name;
        let configuration = stage.configuration(&name).await.to_string();
        texts.push((format!("the log of {name}"), stage.log(&name).await));
        texts.push((format!("the configuration of {name}"), configuration));
    }
    if let Some(traces) = traces {
        let traces = Value::from(traces.documents().unwrap()).to_string();
        assert!(traces.contains("Stripe charge"), "{traces}");
        texts.push(("the traces".to_owned(), traces));
    }
    for file in files(stage.folder()) {
        let bytes = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        texts.push((file.display().to_string(), text));
    }
    texts
}

#[tokio::test]
async fn no_secret_is_in_logs_traces_configurations_templates_or_responses() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let key = stage.secret("stripe-secret-key").await;
    let webhook = stage.secret("stripe-webhook-secret").await;
    let traces = daemon(&stage);
    let mut responses: Vec<Response> = Vec::new();

    for source in [
        "tok_visa",
        "pm_card_visa",
        "tok_chargeDeclined",
        "tok_unknown",
        "card_1",
        "4242424242424242",
    ] {
        responses.push(ada.buy(10, source).await);
    }
    let challenge = ada.buy(10, "pm_card_authenticationRequired").await;
    let client_secret = challenge.problem(402)["clientSecret"].clone();

    // Each of these orders stays open, and a person has at most one open order.
    for failure in failures() {
        stripe.inject_failure(failure).await;
    }
    let bob = Person::sign_up(&stage).await;
    responses.push(bob.buy_with_key("failed", 10, "tok_visa").await);
    stripe.clear_failures().await;

    let eve = Person::sign_up(&stage).await;
    let refused = order_with_invalid_key(&stage, &eve, &key).await;
    let last = refused.problem(503)["requestId"].clone();
    responses.push(refused);

    for signature in [webhook.clone(), format!("t={webhook},v1={webhook}")] {
        let request = ada.unsigned(Method::POST, "/billing/webhook").body("{}");
        let response = request.header("Stripe-Signature", &signature).send().await;
        response.problem(400);
        responses.push(response);
    }
    responses.push(ada.get("/billing").await);

    // Log lines arrive with a delay.
    wait_for("the log of the last order", async || {
        let log = stage.log("billing-purchase").await;
        log.contains(last.as_str().unwrap()).then_some(())
    })
    .await;
    let mut texts = readable_texts(&stage, traces).await;
    for (number, response) in responses.iter().enumerate() {
        texts.push((format!("response {number}"), response.text()));
    }
    let secrets = [
        &key,
        &webhook,
        INVALID_KEY,
        client_secret.as_str().unwrap(),
        "tok_visa",
        "pm_card_visa",
        "tok_chargeDeclined",
        "tok_unknown",
        "4242424242424242",
    ];
    let mut leaks = Vec::new();
    for (source, text) in &texts {
        let found = secrets.iter().filter(|secret| text.contains(**secret));
        leaks.extend(found.map(|secret| format!("{secret} in {source}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
