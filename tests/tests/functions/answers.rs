//! What the functions answer when the event or the database is not as it should be, and what they
//! log of it.

use std::net::{Ipv4Addr, TcpListener};

use e2e::functions;
use lambda_host::Outcome;
use local_aws::Cloud;
use serde_json::{Value, json};

use crate::{DEADLINE, answer, event, named, start};

/// Events that are not what API Gateway sends, or are of a request that lacks something.
fn odd(event: &Value) -> Vec<(String, Value)> {
    let mut odd = vec![
        ("an empty object".to_owned(), json!({})),
        ("a list".to_owned(), json!([])),
        ("null".to_owned(), json!(null)),
    ];
    for field in event.as_object().unwrap().keys() {
        for (what, value) in [
            ("missing", None),
            ("null", Some(json!(null))),
            ("empty", Some(json!({}))),
            ("a text", Some(json!("x"))),
        ] {
            let mut event = event.clone();
            event.as_object_mut().unwrap().remove(field);
            if let Some(value) = value {
                event[field] = value;
            }
            odd.push((format!("{field} is {what}"), event));
        }
    }
    odd
}

#[tokio::test]
async fn no_event_is_odd_enough_to_stop_a_function() {
    for function in functions::all() {
        let cloud = Cloud::start().await.unwrap();
        let mut host = start(&function, &cloud.url(), &[]).await;
        let event = event(&function);
        for (what, odd) in odd(&event) {
            let invocation = host.invoke(odd.to_string(), DEADLINE, None).await;
            match invocation.outcome {
                Outcome::Response(_) => {}
                // What cannot be read as the event that it should be is told to Lambda.
                Outcome::Error(error) => assert!(
                    !error.error_type.to_lowercase().contains("panic"),
                    "{}: {what}: {error}",
                    function.name
                ),
                other => panic!("{}: {what}: {other:?}", function.name),
            }
        }
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let after = answer(&function, invocation);
        if function.is_route {
            // The note may have been deleted by one that was not so odd.
            assert!(
                after["statusCode"].as_u64() < Some(500),
                "{}: {after}",
                function.name
            );
        }
        let log = host.stop().await.join("\n");
        assert!(!log.contains("panicked"), "{}: {log}", function.name);
    }
}

/// The problem that an answer is, which a browser of the app's origin may read.
fn problem(answer: &Value, status: u16) -> Value {
    assert_eq!(answer["statusCode"], status, "{answer}");
    let header = |name: &str| {
        let one = answer["headers"].get(name);
        let many = answer["multiValueHeaders"].get(name);
        one.or(many.map(|many| &many[0])).cloned()
    };
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("access-control-allow-origin", "https://app.example.com"),
        ("vary", "Origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(header(name), Some(json!(value)), "{answer}");
    }
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn nobody_is_let_in_without_an_identity() {
    let all = functions::all().into_iter();
    for route in all.filter(|function| function.is_signed) {
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.snapshot().unwrap();
        let mut host = start(&route, &cloud.url(), &[]).await;
        for identity in [
            json!({}),
            json!({"cognitoIdentityId": null}),
            json!({"cognitoIdentityId": "a/b"}),
        ] {
            let mut event = event(&route);
            event["requestContext"]["identity"] = identity;
            let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
            problem(&answer(&route, invocation), 401);
        }
        assert_eq!(cloud.snapshot().unwrap(), before);
    }
}

#[tokio::test]
async fn deleting_a_note_whose_id_is_not_a_uuid_succeeds_and_changes_nothing() {
    let delete = named("notes-delete");
    let cloud = Cloud::start().await.unwrap();
    let before = cloud.snapshot().unwrap();
    let mut host = start(&delete, &cloud.url(), &[]).await;
    for id in ["nope", "019aa0b4e1007d21a6e43c8f1b52d907"] {
        let mut event = event(&delete);
        event["pathParameters"]["id"] = json!(id);
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let answer = answer(&delete, invocation);
        assert_eq!(answer["statusCode"], 200, "{answer}");
        assert_eq!(answer["body"], r#"{"status":true}"#);
    }
    assert_eq!(cloud.snapshot().unwrap(), before);
}

#[tokio::test]
async fn a_database_out_of_reach_is_told_to_the_log_and_not_to_the_client() {
    // A port that was free a moment ago: nobody listens there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nowhere = listener.local_addr().unwrap();
    drop(listener);
    let get = named("notes-get");
    let mut host = start(&get, &format!("http://{nowhere}"), &[]).await;
    let event = event(&get);
    let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
    let problem = problem(&answer(&get, invocation), 503);
    let said = problem.to_string();
    for inside in ["DynamoDB", "dynamodb", "Notes", "127.0.0.1", "refused"] {
        assert!(!said.contains(inside), "{said}");
    }
    let id = &event["requestContext"]["requestId"];
    assert_eq!(problem["requestId"], *id);

    let log = host.stop().await;
    let [line] = &log[..] else {
        panic!("one line of log a request: {log:#?}")
    };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["status"], 503);
    assert_eq!(line["request_id"], *id);
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("DynamoDB"), "{error}");
    assert!(error.contains("refused"), "down to the cause: {error}");
}

#[tokio::test]
async fn a_request_is_one_line_of_log_that_says_how_it_went_and_nothing_of_the_note() {
    for function in functions::all() {
        let cloud = Cloud::start().await.unwrap();
        let mut host = start(&function, &cloud.url(), &[("LOG_LEVEL", "trace")]).await;
        let event = event(&function);
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let aws_request_id = invocation.request_id.clone();
        let answer = answer(&function, invocation);
        let log = host.stop().await;
        let [line] = &log[..] else {
            panic!("{}: one line of log: {log:#?}", function.name)
        };
        let said: Value = serde_json::from_str(line).unwrap();
        assert_eq!(said["level"], "INFO", "{line}");
        assert_eq!(said["aws_request_id"], aws_request_id.as_str(), "{line}");
        if function.is_route {
            let context = &event["requestContext"];
            assert_eq!(said["message"], "request", "{line}");
            assert_eq!(said["status"], answer["statusCode"], "{line}");
            assert_eq!(said["method"], event["httpMethod"], "{line}");
            assert_eq!(said["route"], context["resourcePath"], "{line}");
            assert_eq!(said["request_id"], context["requestId"], "{line}");
        }
        for secret in ["hello", "new world", "a-secret", "X-Amz"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
