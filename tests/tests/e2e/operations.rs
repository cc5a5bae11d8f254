//! Tests of the commands with which a developer looks at a running stage: `cargo xtask logs` and `cargo xtask status`.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use test_support::http::Method;
use test_support::stage::{Person, Stage, wait_for_up_to};
use tokio::process::Command;

use crate::attachments::{put_file, request_upload};

/// The environment variable that contains the path of the xtask binary.
const XTASK_VARIABLE: &str = "SCRATCHPAD_XTASK";

/// How long the timeline may take to be complete: events are asynchronous.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

async fn xtask(arguments: &[&str]) -> Output {
    let xtask = std::env::var(XTASK_VARIABLE).unwrap_or_else(|_| {
        panic!("{XTASK_VARIABLE} is not set: run these tests with cargo xtask test --e2e")
    });
    let mut command = Command::new(test_support::root().join(xtask));
    command
        .args(arguments)
        .args(["--stage", "local"])
        .current_dir(test_support::root())
        .stdin(Stdio::null());
    command.output().await.unwrap()
}

/// Runs `cargo xtask logs` until it prints all of `expected`. Each is the beginning of a row after its time and duration.
/// Returns the rows.
pub(crate) async fn rows(arguments: &[&str], expected: &[(&str, &str)]) -> Vec<String> {
    let logs: Vec<&str> = ["logs"].iter().chain(arguments).copied().collect();
    let what = format!("{arguments:?}");
    wait_for_up_to(TIMEOUT, &what, async || {
        let output = xtask(&logs).await;
        let rows: Vec<_> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect();
        let is_complete = expected.iter().all(|row| position(&rows, *row).is_some());
        (output.status.success() && is_complete).then_some(rows)
    })
    .await
}

/// The position of the first row that a source wrote and that begins with `what`.
pub(crate) fn position(rows: &[String], (source, what): (&str, &str)) -> Option<usize> {
    rows.iter().position(|row| {
        let rest = row.split_once(&format!("  {source} "));
        rest.is_some_and(|(_, rest)| rest.trim_start().starts_with(what))
    })
}

/// Asserts that the rows contain `expected` in this order.
pub(crate) fn assert_order(rows: &[String], expected: &[(&str, &str)]) {
    let positions: Vec<_> = expected
        .iter()
        .map(|row| position(rows, *row).unwrap())
        .collect();
    assert!(
        positions.is_sorted(),
        "{positions:?} of {expected:?} in {rows:#?}"
    );
}

#[tokio::test]
async fn the_request_of_an_upload_leads_to_the_event_of_the_uploaded_file() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let file = json!({"filename": "cat.png", "contentType": "image/png", "size": 3});
    let requested = ada.post("/notes/attachments", &file).await;
    let upload = requested.json(201);
    assert_eq!(put_file(&ada, &upload, b"cat").await.status, 200);
    // The file of another request.
    let other = request_upload(&ada, "dog.png", "image/png", 3).await;
    assert_eq!(put_file(&ada, &other, b"dog").await.status, 200);

    let request = requested.header("x-amzn-requestid").unwrap();
    let expected = [
        ("gateway", "POST /notes/attachments 201"),
        ("notes-upload", "POST /notes/attachments 201"),
        ("notes-attachment-uploaded", "S3 HeadObject"),
        ("notes-attachment-uploaded", "event handled"),
    ];
    let found = rows(&["--request", request], &expected).await;
    assert_order(&found, &expected);
    let handled = |row: &&String| row.contains("event handled");
    assert_eq!(found.iter().filter(handled).count(), 1, "{found:#?}");
    assert!(!found.join("\n").contains("cat.png"), "{found:#?}");
}

#[tokio::test]
async fn a_refused_request_is_found_and_an_unknown_one_says_what_to_try() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let refused = ada.unsigned(Method::GET, "/notes").send().await;
    assert_eq!(refused.status, 403);
    let request = refused.header("x-amzn-requestid").unwrap();
    rows(&["--request", request], &[("gateway", "GET")]).await;

    let unknown = "6f1d2c3b-4a59-4e8f-9b0c-1d2e3f4a5b01";
    let output = xtask(&["logs", "--request", unknown]).await;
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--since"), "{error}");
}

#[tokio::test]
async fn the_status_of_the_stage_is_known_and_counts_its_requests() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    ada.request(Method::GET, "/notes").send().await.json(200);
    wait_for_up_to(TIMEOUT, "the requests in the status", async || {
        let output = xtask(&["status", "--json"]).await;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["unknown"], json!([]));
        let functions = [
            "notes-attachment-uploaded",
            "notes-credit",          // part: billing
            "notify-send",           // part: notify
            "billing-purchase-paid", // part: billing
        ];
        for function in functions {
            let queues = status["queues"].as_array().unwrap();
            assert!(
                queues.iter().any(|queue| queue["function"] == function),
                "{status:#}"
            );
        }
        let objectives = status["objectives"].as_array().unwrap();
        let notes = objectives
            .iter()
            .find(|objective| objective["group"] == "notes")
            .unwrap();
        // The exit code is 1 if another test has sent a message to a dead-letter queue or raised an alarm.
        assert!(
            [Some(0), Some(1)].contains(&output.status.code()),
            "{status:#}"
        );
        (notes["requests"].as_f64() > Some(0.0)).then_some(())
    })
    .await;
}
