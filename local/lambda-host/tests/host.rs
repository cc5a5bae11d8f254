//! Tests the host with the function in `examples/function.rs`.

#![allow(clippy::panic, clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lambda_host::{Function, Host, Invocation, Outcome, StartError};

/// A timeout that is reached only if a test fails.
const LONG: Duration = Duration::from_secs(60);

/// Returns the configuration of the program `examples/function.rs`. `cargo test` builds the program
/// into the directory `examples`, next to the directory of the tests.
fn function() -> Function {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().and_then(|deps| deps.parent()).unwrap();
    Function::new(target.join("examples").join("function"))
}

async fn started() -> Host {
    Host::start(function()).await.unwrap()
}

async fn invoke(host: &mut Host, event: &str) -> Invocation {
    host.invoke(format!("{event:?}"), LONG, None).await
}

fn response(invocation: Invocation) -> Vec<String> {
    match invocation.outcome {
        Outcome::Response(response) => serde_json::from_slice(&response).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_process_handles_several_events() {
    let mut host = started().await;
    assert_eq!(response(invoke(&mut host, "first").await), ["first"]);
    assert_eq!(response(invoke(&mut host, "second").await), ["second"]);
}

#[tokio::test]
async fn init_duration_and_memory_are_measured() {
    let mut host = started().await;
    assert!(host.init_duration() > Duration::ZERO);
    let invocation = invoke(&mut host, "first").await;
    assert!(invocation.duration > Duration::ZERO);
    assert!(host.max_memory().is_some_and(|bytes| bytes > 100_000));
}

#[tokio::test]
async fn the_environment_has_only_the_variables_of_lambda_and_the_given_variables() {
    assert!(std::env::var_os("PATH").is_some());
    let function = function().with_env([("NOTES_TABLE", "notes"), ("AWS_REGION", "us-east-1")]);
    let mut host = Host::start(function).await.unwrap();
    let environment = response(invoke(&mut host, "environment").await);
    let environment: BTreeMap<_, _> = environment
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();

    assert_eq!(environment["NOTES_TABLE"], "notes");
    assert_eq!(environment["AWS_REGION"], "us-east-1");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], "function");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    let is_expected = |name: &&&str| {
        name.starts_with("AWS_")
            || ["LAMBDA_TASK_ROOT", "NOTES_TABLE", "TZ", "_HANDLER"].contains(name)
    };
    let others: Vec<_> = environment
        .keys()
        .filter(|name| !is_expected(name))
        .collect();
    // lambda_runtime itself sets this variable in the process.
    assert!(
        others.iter().all(|name| **name == "_X_AMZN_TRACE_ID"),
        "{others:?}"
    );
}

#[tokio::test]
async fn the_context_has_the_request_id_arn_trace_header_and_deadline() {
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let mut host = started().await;
    let before = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let invocation = host.invoke(r#""context""#, LONG, Some(trace)).await;
    let id = invocation.request_id.clone();
    let context = response(invocation);
    assert_eq!(context[0], id);
    assert_eq!(
        context[1],
        "arn:aws:lambda:eu-central-1:111111111111:function:function"
    );
    assert_eq!(context[2], trace);
    assert!(context[3].parse::<u128>().unwrap() >= (before + LONG).as_millis());
    assert_ne!(invoke(&mut host, "second").await.request_id, id);
}

#[tokio::test]
async fn a_function_error_is_returned_and_the_next_event_succeeds() {
    let mut host = started().await;
    match invoke(&mut host, "fail").await.outcome {
        Outcome::Error(error) => assert_eq!(error.error_message, "no such thing"),
        other => panic!("{other:?}"),
    }
    assert_eq!(response(invoke(&mut host, "second").await), ["second"]);
}

#[tokio::test]
async fn a_response_above_lambdas_size_limit_is_an_error() {
    let mut host = started().await;
    match invoke(&mut host, "long response").await.outcome {
        Outcome::Error(error) => assert_eq!(error.error_type, "Function.ResponseSizeTooLarge"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_exceeds_its_deadline_is_killed() {
    let mut host = started().await;
    let invocation = host
        .invoke(r#""hang""#, Duration::from_millis(10), None)
        .await;
    assert_eq!(invocation.outcome, Outcome::TimedOut);
    assert!(matches!(
        invoke(&mut host, "second").await.outcome,
        Outcome::Exited(_)
    ));
}

#[tokio::test]
async fn exit_during_an_invocation_returns_the_exit_status() {
    let mut host = started().await;
    match invoke(&mut host, "exit").await.outcome {
        Outcome::Exited(status) => assert_eq!(status.code(), Some(4)),
        other => panic!("{other:?}"),
    }
    assert_eq!(host.stop().await, ["about to exit"]);
}

#[tokio::test]
async fn exit_during_init_returns_the_exit_status_and_the_log() {
    match Host::start(function().with_env([("INIT", "exit")])).await {
        Err(StartError::Exited { status, log, .. }) => {
            assert_eq!(status.code(), Some(3));
            assert_eq!(log, ["NOTES_TABLE is not set"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_requests_no_event_times_out() {
    let init_timeout = Duration::from_millis(10);
    let function = Function {
        init_timeout,
        ..function().with_env([("INIT", "hang")])
    };
    let started = Host::start(function).await;
    assert!(
        matches!(started, Err(StartError::TimedOut { .. })),
        "{started:?}"
    );
}

#[tokio::test]
async fn a_missing_binary_is_an_error_with_its_path() {
    let error = Host::start(Function::new("no/such/binary"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot start the program no/such/binary");
}

#[tokio::test]
async fn the_log_has_the_lines_of_stdout_and_stderr() {
    let mut host = started().await;
    invoke(&mut host, "first").await;
    invoke(&mut host, "second").await;
    let mut log = host.stop().await;
    log.sort();
    assert_eq!(log, ["first", "first again", "second", "second again"]);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn cpu_time_grows_with_each_invocation() {
    let mut host = started().await;
    let before = host.cpu_time().unwrap();
    invoke(&mut host, "first").await;
    assert!(host.wait_until_idle(LONG).await);
    let after = host.cpu_time().unwrap();
    assert!(before < after);
}

#[tokio::test]
async fn arguments_are_passed_to_the_program() {
    let arguments = vec!["-c".into(), "echo $0; exit 5".into(), "an argument".into()];
    let function = Function {
        arguments,
        ..Function::new("/bin/sh")
    };
    match Host::start(function).await {
        Err(StartError::Exited { status, log, .. }) => {
            assert_eq!(status.code(), Some(5));
            assert_eq!(log, ["an argument"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn terminate_returns_the_log_lines_of_the_function() {
    let mut host = started().await;
    invoke(&mut host, "first").await;
    assert_eq!(host.terminate(LONG).await.len(), 2);
}
