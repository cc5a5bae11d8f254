//! The functions' binaries, each alone, as Lambda would run it: a database in memory, no cloud.
//! Run by `cargo xtask test --integration`.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod answers;
mod cloud;
mod golden;
mod settings;
mod traces;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use e2e::functions::{self, Function};
use lambda_host::{Host, Invocation, Outcome};
use serde_json::Value;

/// How long any invocation may take. Far more than it does: a test that waits this long fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A good value for every setting of any function, given where the cloud is.
fn good(setting: &str, cloud: &str) -> String {
    match setting {
        "ALLOWED_ORIGIN" => "https://app.example.com",
        "ATTACHMENTS_BUCKET" => "attachments",
        "ATTACHMENTS_TABLE" => "Attachments",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_ENDPOINT_URL" => cloud,
        "AWS_REGION" => "us-east-1",
        "AWS_SECRET_ACCESS_KEY" => "a-secret",
        "FAILURES_QUEUE" => "http://127.0.0.1:1/111111111111/failures",
        "IDEMPOTENCY_TABLE" => "Idempotency",
        "LOG_LEVEL" => "info",
        "NOTES_TABLE" => "Notes",
        "NOTE_PURCHASED_TOPIC" => "arn:aws:sns:us-east-1:111111111111:NotePurchased",
        "PURCHASES_TABLE" => "Purchases",
        "SECRETS_PREFIX" => "/scratchpad/sample",
        "STRIPE_URL" => cloud,
        other => panic!("say here what a good {other} is"),
    }
    .to_owned()
}

/// What Lambda gives to every function of ours, besides what its stack sets.
const FROM_LAMBDA: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
];

/// A whole environment of a function, but for what the runtime itself needs.
fn environment(function: &Function, cloud: &str) -> BTreeMap<String, String> {
    let stack = function.variables.iter().map(String::as_str);
    stack
        .chain(FROM_LAMBDA)
        .map(|setting| (setting.to_owned(), good(setting, cloud)))
        .collect()
}

/// Starts a function with these variables besides its whole environment.
async fn start(function: &Function, cloud: &str, more: &[(&str, &str)]) -> Host {
    let hosted = lambda_host::Function::new(function.binary());
    let hosted = hosted.with_env(environment(function, cloud));
    let hosted = hosted.with_env(more.iter().copied());
    let started = Host::start(hosted).await;
    started.unwrap_or_else(|error| panic!("{}: {error}", function.name))
}

/// The function's answer, which must be one.
fn answer(function: &Function, invocation: Invocation) -> Value {
    match invocation.outcome {
        Outcome::Answer(answer) => serde_json::from_slice(&answer).unwrap(),
        other => panic!("{}: {other:?}", function.name),
    }
}

/// The function's sample event. That of Stripe's is signed now, as if it had just been sent.
fn event(function: &Function) -> Value {
    let mut event = function.event();
    let body = event["body"].as_str().unwrap_or_default();
    let secrets = [cloud::WEBHOOK_SECRET];
    let signed = local_stripe::signature(body.as_bytes(), SystemTime::now(), &secrets);
    for header in [
        "/headers/Stripe-Signature",
        "/multiValueHeaders/Stripe-Signature/0",
    ] {
        if let Some(header) = event.pointer_mut(header) {
            *header = signed.as_str().into();
        }
    }
    event
}

fn named(name: &str) -> Function {
    let mut all = functions::all().into_iter();
    all.find(|function| function.name == name).unwrap()
}
