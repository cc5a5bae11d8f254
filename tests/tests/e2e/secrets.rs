//! No secret is where somebody could find it: not in logs, traces, settings, templates or answers.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::functions;
use e2e::http::{Answer, Method};
use e2e::stage::{Person, Stage, until};
use serde_json::{Value, json};
use xray_daemon::Daemon;

/// What goes wrong with calls to Stripe in this order, as one order meets it.
fn failures() -> [Value; 4] {
    [
        json!({"times": 1, "end": {"status": 429}, "effect": false}),
        json!({"times": 1, "end": "close", "effect": false}),
        json!({"times": 1, "end": {"status": 409}, "effect": false}),
        json!({"times": 1, "end": {"status": 500}}),
    ]
}

/// The local cloud's own folders: its data, in which the secrets are kept, and its working copies.
const CLOUDS: [&str; 2] = ["data", "tmp"];

/// Files below a stage's folder that a person may read or pass on.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if CLOUDS.iter().any(|clouds| path.ends_with(clouds)) => (),
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Listens where the stage's functions send their traces, unless the stage itself does, in which
/// case they are in its folder.
fn daemon(stage: &Stage) -> Option<Daemon> {
    let ports = fs::read(stage.folder().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_slice(&ports).unwrap();
    Daemon::bind(u16::try_from(ports["xray"].as_u64()?).ok()?).ok()
}

#[tokio::test]
async fn no_secret_is_in_logs_traces_settings_templates_or_answers() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let stripe = stage.stripe();
    let key = stage.secret("stripe-secret-key").await;
    let webhook = stage.secret("stripe-webhook-secret").await;
    let traces = daemon(&stage);
    let wrong = "sk_test_thisOneIsWrong7f3a91";
    let mut answers: Vec<Answer> = Vec::new();

    for source in [
        "tok_visa",
        "pm_card_visa",
        "tok_chargeDeclined",
        "tok_nobodyKnows",
        "card_1",
        "4242424242424242",
    ] {
        answers.push(ada.buy(10, source).await);
    }
    let challenge = ada.buy(10, "pm_card_authenticationRequired").await;
    let client_secret = challenge.problem(402)["clientSecret"].clone();

    for failure in failures() {
        stripe.fail(failure).await;
    }
    answers.push(ada.buy_under("failed", 10, "tok_visa").await);
    stripe.heal().await;

    stage.put_secret("stripe-secret-key", wrong).await;
    stage.restart("billing-purchase").await;
    let refused = ada.buy_under("refused", 10, "tok_visa").await;
    stage.put_secret("stripe-secret-key", &key).await;
    stage.restart("billing-purchase").await;
    ada.buy_under("refused", 10, "tok_visa").await.json(200);
    let last = refused.problem(503)["requestId"].clone();
    answers.push(refused);

    for signature in [webhook.clone(), format!("t={webhook},v1={webhook}")] {
        let request = ada.unsigned(Method::POST, "/billing/webhook").body("{}");
        let answer = request.header("Stripe-Signature", &signature).send().await;
        answer.problem(400);
        answers.push(answer);
    }
    answers.push(ada.get("/billing").await);

    // What the functions say comes into their logs a little later.
    until("the log of the last order", async || {
        let log = stage.log_of("billing-purchase").await;
        log.contains(last.as_str().unwrap()).then_some(())
    })
    .await;
    let mut places = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        places.push((format!("answer {number}"), answer.text()));
    }
    for function in functions::all() {
        let name = function.name;
        let configuration = stage.configuration(&name).await.to_string();
        places.push((format!("the log of {name}"), stage.log_of(&name).await));
        places.push((format!("the settings of {name}"), configuration));
    }
    if let Some(traces) = traces {
        let traces = Value::from(traces.documents().unwrap()).to_string();
        assert!(traces.contains("Stripe charge"), "{traces}");
        places.push(("the traces".to_owned(), traces));
    }
    for file in files(stage.folder()) {
        let bytes = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        places.push((file.display().to_string(), text));
    }
    let secrets = [
        &key,
        &webhook,
        wrong,
        client_secret.as_str().unwrap(),
        "tok_visa",
        "pm_card_visa",
        "tok_chargeDeclined",
        "tok_nobodyKnows",
        "4242424242424242",
    ];
    let mut leaks = Vec::new();
    for (place, text) in &places {
        let found = secrets.iter().filter(|secret| text.contains(**secret));
        leaks.extend(found.map(|secret| format!("{secret} in {place}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
