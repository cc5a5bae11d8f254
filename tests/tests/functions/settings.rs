//! A function refuses to start on a setting that is missing or malformed, and says which.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use e2e::functions::{self, Function};
use serde_json::Value;
use tokio::process::Command;

use crate::{DEADLINE, environment};

/// What the runtime needs, with a good value of each. Nothing listens at the Runtime API's
/// address: a function that goes on to ask it for an event does not do what these tests say.
const RUNTIME: [(&str, &str); 4] = [
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_NAME", "function"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1"),
];

/// Settings that may be missing, but not malformed.
const OPTIONAL: [&str; 3] = [
    "AWS_ENDPOINT_URL",
    "AWS_SESSION_TOKEN",
    "AWS_XRAY_DAEMON_ADDRESS",
];

/// Values that a setting cannot have, besides what is no UTF-8, which none can.
fn malformed(setting: &str) -> &'static [&'static str] {
    match setting {
        "ALLOWED_ORIGIN" => &["nowhere.example", "https://a\nb"],
        "ATTACHMENTS_BUCKET" => &["Z Z", "UPPER", "x", "a/b"],
        "ATTACHMENTS_TABLE" | "IDEMPOTENCY_TABLE" | "NOTES_TABLE" | "PURCHASES_TABLE" => {
            &["Z Z", "x", "tab/le"]
        }
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => &["Z Z", "Z\n"],
        "AWS_ENDPOINT_URL" => &["nowhere", "ftp://127.0.0.1"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => &["much", "-1"],
        "AWS_REGION" => &["US East", "us/east"],
        "AWS_SESSION_TOKEN" => &["Z Z", "tökén"],
        "AWS_XRAY_DAEMON_ADDRESS" => &["nowhere", "127.0.0.9"],
        "DEAD_LETTER_QUEUE" => &["nowhere", "ftp://127.0.0.1/queue"],
        "LOG_LEVEL" => &["loud", "INFO "],
        "NOTE_PURCHASED_TOPIC" => &["nowhere", "arn:aws:sqs:us-east-1:111111111111:queue"],
        "SECRETS_PREFIX" => &["nowhere", "/a b"],
        "STRIPE_URL" => &["nowhere", "ftp://127.0.0.1", "https://api.stripe.com/v1"],
        // Any text will do.
        "AWS_LAMBDA_FUNCTION_NAME" | "AWS_LAMBDA_FUNCTION_VERSION" => &[],
        "AWS_LAMBDA_RUNTIME_API" => &["Z Z"],
        other => panic!("say here what a malformed {other} is"),
    }
}

fn whole(function: &Function) -> BTreeMap<String, OsString> {
    let settings = environment(function, "http://127.0.0.1:1").into_iter();
    let runtime = RUNTIME.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = settings.chain(runtime);
    all.map(|(name, value)| (name, value.into())).collect()
}

/// Runs the function, which must end by itself at init with one line of log, and returns that line.
async fn refusal(function: &Function, environment: &BTreeMap<String, OsString>) -> Value {
    let run = Command::new(function.binary())
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(DEADLINE, run).await;
    let said = format!("{}: {environment:?}", function.name);
    let ended = ended
        .unwrap_or_else(|_| panic!("{said}: it started"))
        .unwrap();
    let log = [ended.stdout, ended.stderr].concat();
    let log = String::from_utf8(log).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}: {log}");
    assert_eq!(log.lines().count(), 1, "{said}: {log}");
    let line: Value =
        serde_json::from_str(&log).unwrap_or_else(|error| panic!("{said}: {error}: {log}"));
    assert_eq!(line["level"], "ERROR", "{said}: {log}");
    assert_eq!(
        line["message"], "the function cannot start",
        "{said}: {log}"
    );
    line
}

#[tokio::test]
async fn every_missing_or_empty_setting_stops_the_function_with_one_line_that_names_it() {
    for function in functions::all() {
        let whole = whole(&function);
        for setting in whole
            .keys()
            .filter(|name| !OPTIONAL.contains(&name.as_str()))
        {
            for value in [None, Some("")] {
                let mut broken = whole.clone();
                broken.remove(setting);
                broken.extend(value.map(|value| (setting.clone(), value.into())));
                let line = refusal(&function, &broken).await;
                let error = line["error"].as_str().unwrap();
                assert!(error.contains(setting), "{setting}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn every_malformed_setting_stops_the_function_with_one_line_that_names_it_alone() {
    for function in functions::all() {
        let whole = whole(&function);
        let settings = whole.keys().map(String::as_str);
        for setting in settings.chain(OPTIONAL) {
            let values = malformed(setting).iter().map(OsString::from);
            let broken_text = OsString::from_vec(vec![b'/', 0xff]);
            for value in values.chain([broken_text]) {
                let mut broken = whole.clone();
                broken.insert(setting.to_owned(), value.clone());
                let line = refusal(&function, &broken).await;
                let error = line["error"].as_str().unwrap();
                assert!(error.contains(setting), "{setting} = {value:?}: {line}");
                let value = value.to_string_lossy();
                assert!(
                    !error.contains(value.trim()),
                    "{setting} = {value:?}: {line}"
                );
            }
        }
    }
}
