//! Tests that a function exits at startup if an environment variable is missing or malformed, and that the log names
//! the variable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use serde_json::Value;
use test_support::functions::{self, Function};
use tokio::process::Command;

use crate::{DEADLINE, environment};

/// The environment variables that Lambda's runtime library reads, with valid values. No process listens at the address
/// of the Runtime API, so a function that accepts its configuration fails later, with a different error.
const RUNTIME: [(&str, &str); 4] = [
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_NAME", "function"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1"),
];

/// Environment variables that a function does not require. If one is set, its value must be valid.
const OPTIONAL: [&str; 3] = [
    "AWS_ENDPOINT_URL",
    "AWS_SESSION_TOKEN",
    "AWS_XRAY_DAEMON_ADDRESS",
];

/// Returns invalid values of an environment variable. Values that are not UTF-8 are not listed, because they are
/// invalid for every variable.
fn invalid_values(name: &str) -> &'static [&'static str] {
    match name {
        "ALLOWED_ORIGIN" => &["nowhere.example", "https://a\nb"],
        "ATTACHMENTS_BUCKET" => &["Z Z", "UPPER", "x", "a/b"],
        table if table.ends_with("_TABLE") => &["Z Z", "x", "tab/le"],
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => &["Z Z", "Z\n"],
        "AWS_ENDPOINT_URL" => &["nowhere", "ftp://127.0.0.1"],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => &["much", "-1"],
        "AWS_REGION" => &["US East", "us/east"],
        "AWS_SESSION_TOKEN" => &["Z Z", "tökén"],
        "AWS_XRAY_DAEMON_ADDRESS" => &["nowhere", "127.0.0.9"],
        queue if queue.ends_with("_QUEUE") => &["nowhere", "ftp://127.0.0.1/queue"],
        "FREE_NOTES" => &["many", "-7", "1.5"],
        "LOG_LEVEL" => &["loud", "INFO "],
        topic if topic.ends_with("_TOPIC") => {
            &["nowhere", "arn:aws:sqs:us-east-1:111111111111:queue"]
        }
        "ROUTE_GROUP" => &["Z Z", "UPPER"],
        "SECRETS_PREFIX" => &["nowhere", "/a b"],
        "STAGE" => &["Z Z", "UPPER"],
        "STRIPE_URL" => &["nowhere", "ftp://127.0.0.1", "https://api.stripe.com/v1"], // part: billing
        "USER_HASH_KEY" => &[
            "key",
            "arn:aws:cloudformation:us-east-1:111111111111:stack/s",
        ],
        // Any text is valid.
        "AWS_LAMBDA_FUNCTION_NAME" | "AWS_LAMBDA_FUNCTION_VERSION" => &[],
        "AWS_LAMBDA_RUNTIME_API" => &["Z Z"],
        other => panic!("add invalid values for {other} here"),
    }
}

/// Returns all environment variables of a function, with valid values.
fn whole_environment(function: &Function) -> BTreeMap<String, OsString> {
    let variables = environment(function, "http://127.0.0.1:1").into_iter();
    let runtime = RUNTIME.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = variables.chain(runtime);
    all.map(|(name, value)| (name, value.into())).collect()
}

/// Starts a function with the environment variables `environment`. Asserts that the function exits in the init phase
/// with exactly one log line. Returns the log line.
async fn startup_error(function: &Function, environment: &BTreeMap<String, OsString>) -> Value {
    let run = Command::new(function.binary())
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, run).await;
    let context = format!("{}: {environment:?}", function.name);
    let output = output
        .unwrap_or_else(|_| panic!("{context}: the function started"))
        .unwrap();
    let log = [output.stdout, output.stderr].concat();
    let log = String::from_utf8(log).unwrap();
    assert_eq!(output.status.code(), Some(1), "{context}: {log}");
    assert_eq!(log.lines().count(), 1, "{context}: {log}");
    let line: Value =
        serde_json::from_str(&log).unwrap_or_else(|error| panic!("{context}: {error}: {log}"));
    assert_eq!(line["level"], "ERROR", "{context}: {log}");
    assert_eq!(
        line["message"], "the function cannot start",
        "{context}: {log}"
    );
    line
}

#[tokio::test]
async fn a_missing_or_empty_variable_is_a_startup_error_that_names_the_variable() {
    for function in functions::with_template() {
        let whole = whole_environment(&function);
        for name in whole
            .keys()
            .filter(|name| !OPTIONAL.contains(&name.as_str()))
        {
            for value in [None, Some("")] {
                let mut broken = whole.clone();
                broken.remove(name);
                broken.extend(value.map(|value| (name.clone(), value.into())));
                let line = startup_error(&function, &broken).await;
                let error = line["error"].as_str().unwrap();
                assert!(error.contains(name), "{name}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_malformed_variable_is_a_startup_error_that_names_the_variable_but_not_its_value() {
    for function in functions::with_template() {
        let whole = whole_environment(&function);
        let names = whole.keys().map(String::as_str);
        let optional = OPTIONAL.into_iter();
        let optional =
            optional.filter(|name| function.uses_services || *name == "AWS_XRAY_DAEMON_ADDRESS");
        for name in names.chain(optional) {
            let values = invalid_values(name).iter().map(OsString::from);
            let not_utf8 = OsString::from_vec(vec![b'/', 0xff]);
            for value in values.chain([not_utf8]) {
                let mut broken = whole.clone();
                broken.insert(name.to_owned(), value.clone());
                let line = startup_error(&function, &broken).await;
                let error = line["error"].as_str().unwrap();
                assert!(error.contains(name), "{name} = {value:?}: {line}");
                let value = value.to_string_lossy();
                assert!(!error.contains(value.trim()), "{name} = {value:?}: {line}");
            }
        }
    }
}
