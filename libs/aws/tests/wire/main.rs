//! Compares the requests of `aws::Client` and `aws::Objects` with those of the SDK's generated clients.
//!
//! `libs/aws` uses the internal crates of the SDK, and AWS may change these crates in a way that breaks every client
//! except the generated ones. In these tests, both clients call the same operations of a local server. They must send
//! the same requests, retry after the same failures, and return the same kind of result. Both use the HTTP client of
//! `libs/https`. How the HTTP client connects and classifies errors is covered by the tests of `libs/https`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // Helper functions need this: clippy exempts only tests

mod compare;
mod failures;
mod operations;
mod sources;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use compare::{DIFFERENT_HEADERS, DIFFERENT_QUERIES};
use failures::{Failure, check};
use operations::{Outcome, call_both, operations};

/// The environment variable that contains the trace header of the current invocation in Lambda.
const TRACE: &str = "_X_AMZN_TRACE_ID";

#[tokio::test]
async fn each_operation_sends_the_request_of_the_sdk() {
    let mut differences = BTreeSet::new();
    for operation in operations() {
        let (ours, sdk) = call_both(&operation, vec![operation.success()]).await;
        for calls in [&ours, &sdk] {
            assert_eq!(calls.outcome, Outcome::Success, "{operation}");
            assert_eq!(calls.requests.len(), 1, "{operation}");
            let trace = calls.requests[0].headers.get("x-amzn-trace-id");
            assert_eq!(trace, env::var(TRACE).ok().as_ref(), "{operation}");
        }
        differences.extend(compare::requests(
            &operation,
            &ours.requests[0],
            &sdk.requests[0],
        ));
    }
    // An entry that no operation needs would hide a difference in a later version of the SDK
    let listed = DIFFERENT_HEADERS.iter().map(|(name, _)| *name);
    let listed = listed.chain(DIFFERENT_QUERIES.iter().map(|(name, ..)| *name));
    assert_eq!(differences, listed.collect());
}

/// Runs the test `each_operation_sends_the_request_of_the_sdk` in a child process. An environment variable of the child
/// process contains a trace header, which both clients must send. A test cannot safely set an environment variable of
/// its own process.
#[test]
fn each_operation_sends_the_trace_header_of_the_invocation() {
    let test = Command::new(env::current_exe().unwrap())
        .args(["--exact", "each_operation_sends_the_request_of_the_sdk"])
        .env("AWS_LAMBDA_FUNCTION_NAME", "notes-create")
        .env(TRACE, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
        .output()
        .unwrap();
    assert!(test.status.success(), "{test:?}");
    assert!(
        String::from_utf8_lossy(&test.stdout).contains("1 passed"),
        "{test:?}"
    );
}

#[test]
fn the_compared_operations_are_exactly_those_of_the_functions() {
    let compared: BTreeSet<_> = operations()
        .iter()
        .map(|operation| (operation.service.to_owned(), operation.name.to_owned()))
        .collect();
    assert_eq!(sources::operations(), compared);
    let services: BTreeSet<_> = compared.into_iter().map(|(service, _)| service).collect();
    assert_eq!(sources::services(), services);
}

#[tokio::test]
async fn internal_errors_are_retried_as_in_the_sdk() {
    check(Failure::InternalError).await;
}

#[tokio::test]
async fn throttling_is_retried_as_in_the_sdk() {
    check(Failure::Throttling).await;
}

#[tokio::test]
async fn request_timeouts_are_retried_as_in_the_sdk() {
    check(Failure::RequestTimeout).await;
}

#[tokio::test]
async fn status_429_without_an_error_code_is_handled_as_in_the_sdk() {
    check(Failure::TooManyRequests).await;
}

#[tokio::test]
async fn closed_connections_are_retried_as_in_the_sdk() {
    check(Failure::ClosedConnection).await;
}

#[tokio::test]
async fn a_malformed_response_is_handled_as_in_the_sdk() {
    check(Failure::MalformedResponse).await;
}

#[tokio::test]
async fn clock_skew_is_corrected_as_in_the_sdk() {
    check(Failure::ClockSkew).await;
}

#[tokio::test]
async fn an_expired_request_is_handled_as_in_the_sdk() {
    check(Failure::RequestExpired).await;
}

#[tokio::test]
async fn a_denied_request_is_handled_as_in_the_sdk() {
    check(Failure::AccessDenied).await;
}
