//! What a function finds, and what its host makes of it.

#![allow(clippy::panic, clippy::unwrap_used)] // Also in the helpers, which clippy does not count as tests

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lambda_host::{Function, Host, Invocation, Outcome, StartError};

/// Never reached, but by what is to time out
const LONG: Duration = Duration::from_secs(60);

/// `cargo test` builds the examples, into a directory beside that of the tests
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

fn answer(invocation: Invocation) -> Vec<String> {
    match invocation.outcome {
        Outcome::Answer(answer) => serde_json::from_slice(&answer).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_process_answers_one_event_after_another() {
    let mut host = started().await;
    assert_eq!(answer(invoke(&mut host, "first").await), ["first"]);
    assert_eq!(answer(invoke(&mut host, "second").await), ["second"]);
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
async fn the_process_finds_what_lambda_sets_and_what_it_is_given_and_nothing_else() {
    assert!(std::env::var_os("PATH").is_some());
    let function = function().with_env([("NOTES_TABLE", "notes"), ("AWS_REGION", "us-east-1")]);
    let mut host = Host::start(function).await.unwrap();
    let environment = answer(invoke(&mut host, "environment").await);
    let environment: BTreeMap<_, _> = environment
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();

    assert_eq!(environment["NOTES_TABLE"], "notes");
    assert_eq!(environment["AWS_REGION"], "us-east-1");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], "function");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    let given = |name: &&&str| {
        name.starts_with("AWS_")
            || ["LAMBDA_TASK_ROOT", "NOTES_TABLE", "TZ", "_HANDLER"].contains(name)
    };
    let more: Vec<_> = environment.keys().filter(|name| !given(name)).collect();
    // lambda_runtime itself puts the trace header there
    assert!(
        more.iter().all(|name| **name == "_X_AMZN_TRACE_ID"),
        "{more:?}"
    );
}

#[tokio::test]
async fn an_event_comes_with_its_id_its_function_its_trace_and_its_deadline() {
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let mut host = started().await;
    let before = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let invocation = host.invoke(r#""context""#, LONG, Some(trace)).await;
    let id = invocation.request_id.clone();
    let context = answer(invocation);
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
async fn a_failure_is_reported_in_the_functions_words_and_the_next_event_goes_on() {
    let mut host = started().await;
    match invoke(&mut host, "fail").await.outcome {
        Outcome::Error(error) => assert_eq!(error.error_message, "no such thing"),
        other => panic!("{other:?}"),
    }
    assert_eq!(answer(invoke(&mut host, "second").await), ["second"]);
}

#[tokio::test]
async fn an_answer_longer_than_lambda_takes_is_a_failure() {
    let mut host = started().await;
    match invoke(&mut host, "answer at length").await.outcome {
        Outcome::Error(error) => assert_eq!(error.error_type, "Function.ResponseSizeTooLarge"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_passes_its_deadline_is_killed() {
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
async fn a_function_that_exits_instead_of_answering_says_how() {
    let mut host = started().await;
    match invoke(&mut host, "exit").await.outcome {
        Outcome::Exited(status) => assert_eq!(status.code(), Some(4)),
        other => panic!("{other:?}"),
    }
    assert_eq!(host.stop().await, ["about to exit"]);
}

#[tokio::test]
async fn a_function_that_exits_at_init_gives_its_status_and_its_last_lines() {
    match Host::start(function().with_env([("INIT", "exit")])).await {
        Err(StartError::Exited { status, log, .. }) => {
            assert_eq!(status.code(), Some(3));
            assert_eq!(log, ["NOTES_TABLE is not set"]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_function_that_never_asks_for_an_event_is_given_up() {
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
async fn a_binary_that_is_not_there_is_an_error_that_names_it() {
    let error = Host::start(Function::new("no/such/binary"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no/such/binary can't be run");
}

#[tokio::test]
async fn what_a_function_writes_is_kept_line_by_line() {
    let mut host = started().await;
    invoke(&mut host, "first").await;
    invoke(&mut host, "second").await;
    let mut log = host.stop().await;
    log.sort();
    assert_eq!(log, ["first", "first again", "second", "second again"]);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_cpu_time_of_an_idle_function_stands_still_and_grows_with_its_work() {
    let mut host = started().await;
    let before = host.cpu_time().unwrap();
    invoke(&mut host, "first").await;
    assert!(host.idle(LONG).await);
    let after = host.cpu_time().unwrap();
    assert!(before < after);
}

#[tokio::test]
async fn a_program_that_runs_a_function_is_given_its_arguments() {
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
async fn a_function_that_is_asked_to_end_does_so_and_its_lines_are_kept() {
    let mut host = started().await;
    invoke(&mut host, "first").await;
    assert_eq!(host.terminate(LONG).await.len(), 2);
}
