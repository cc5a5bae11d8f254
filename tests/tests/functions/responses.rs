//! Tests of the functions' responses and log lines, including those for malformed events and an unreachable database.

use std::net::{Ipv4Addr, TcpListener};

use lambda_host::Outcome;
use local_aws::Cloud;
use serde_json::{Value, json};
use test_support::functions;

use crate::{DEADLINE, event, response, start};

/// Returns malformed variants of an event, each with a description. In most variants, a field is missing or has a wrong
/// type.
fn malformed(event: &Value) -> Vec<(String, Value)> {
    let mut malformed = vec![
        ("an empty object".to_owned(), json!({})),
        ("a list".to_owned(), json!([])),
        ("null".to_owned(), json!(null)),
    ];
    for field in event.as_object().unwrap().keys() {
        for (what, value) in [
            ("missing", None),
            ("null", Some(json!(null))),
            ("empty", Some(json!({}))),
            ("a string", Some(json!("x"))),
        ] {
            let mut event = event.clone();
            event.as_object_mut().unwrap().remove(field);
            if let Some(value) = value {
                event[field] = value;
            }
            malformed.push((format!("{field} is {what}"), event));
        }
    }
    malformed
}

#[tokio::test]
async fn malformed_events_do_not_crash_a_function() {
    for function in functions::with_template() {
        let cloud = Cloud::start().await.unwrap();
        let mut host = start(&function, &cloud.url(), &[]).await;
        let event = event(&function);
        for (what, malformed) in malformed(&event) {
            let invocation = host.invoke(malformed.to_string(), DEADLINE, None).await;
            match invocation.outcome {
                Outcome::Response(_) => {}
                // The function returns an error to Lambda if it cannot parse the event.
                Outcome::Error(error) => assert!(
                    !error.error_type.to_lowercase().contains("panic"),
                    "{}: {what}: {error}",
                    function.name
                ),
                other => panic!("{}: {what}: {other:?}", function.name),
            }
        }
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let after = response(&function, invocation);
        if function.is_route {
            // One of the malformed events may have deleted the note, so the status may be 404.
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

/// Asserts that a response has this status and the headers of a problem document, including CORS. Returns the problem
/// document.
pub(crate) fn problem(response: &Value, status: u16) -> Value {
    assert_eq!(response["statusCode"], status, "{response}");
    let header = |name: &str| {
        let one = response["headers"].get(name);
        let many = response["multiValueHeaders"].get(name);
        one.or(many.map(|many| &many[0])).cloned()
    };
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("access-control-allow-origin", "https://app.example.com"),
        ("vary", "Origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(header(name), Some(json!(value)), "{response}");
    }
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_without_an_identity_returns_401() {
    let all = functions::with_template().into_iter();
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
            problem(&response(&route, invocation), 401);
        }
        assert_eq!(cloud.snapshot().unwrap(), before);
    }
}

/// The `sub` of the user in the sample events.
const SUB: &str = "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62";

#[tokio::test]
async fn the_sub_is_stored_and_is_in_no_response_and_no_log_line() {
    let cloud = Cloud::start().await.unwrap();
    for (name, tables) in [
        ("notes-create", &["Notes", "Attachments"][..]),
        ("notes-update", &["Notes", "Attachments"]),
        ("notes-get", &[]),
        ("notes-list", &[]),
        ("notes-storage", &[]),
        ("notes-upload", &[]),
        ("billing-purchase", &["Purchases"]), // part: billing
        ("billing-list", &[]),                // part: billing
        ("billing-cancel", &[]),              // part: billing
        ("notes-delete", &[]),
    ] {
        let function = functions::named(name);
        let mut host = start(&function, &cloud.url(), &[]).await;
        let event = event(&function).to_string();
        assert!(event.contains(SUB), "{name}");
        let response = response(&function, host.invoke(event, DEADLINE, None).await);
        assert!(response["statusCode"].as_u64() < Some(300), "{response}");
        assert!(!response.to_string().contains(SUB), "{name}: {response}");
        let log = host.stop().await.join("\n");
        assert!(log.contains("request"), "{name}: {log}");
        assert!(!log.contains(SUB), "{name}: {log}");
        let stored = cloud.snapshot().unwrap();
        for table in tables {
            let items = stored[table].as_array().unwrap().iter();
            let with_sub = items.filter(|item| item["sub"]["S"] == SUB);
            assert!(with_sub.count() > 0, "{name}: {table}");
        }
    }
}

#[tokio::test]
async fn a_request_without_a_sub_succeeds_and_stores_none() {
    for name in [
        "notes-create",
        "notes-update",
        "billing-purchase", // part: billing
    ] {
        let function = functions::named(name);
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.snapshot().unwrap();
        let mut host = start(&function, &cloud.url(), &[]).await;
        for provider in [
            json!(null),
            json!("cognito-identity.amazonaws.com"),
            json!("login.example.com,login.example.com:us-east-1:pool:ada"),
        ] {
            let mut event = event(&function);
            event["requestContext"]["identity"]["cognitoAuthenticationProvider"] = provider;
            let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
            let response = response(&function, invocation);
            assert!(response["statusCode"].as_u64() < Some(300), "{response}");
        }
        let stored = cloud.snapshot().unwrap();
        assert_ne!(stored, before, "{name}");
        assert!(!stored.to_string().contains("\"sub\""), "{stored}");
    }
}

#[tokio::test]
async fn deleting_a_note_whose_id_is_not_a_uuid_succeeds_and_changes_nothing() {
    let delete = functions::named("notes-delete");
    let cloud = Cloud::start().await.unwrap();
    let before = cloud.snapshot().unwrap();
    let mut host = start(&delete, &cloud.url(), &[]).await;
    for id in ["nope", "019aa0b4e1007d21a6e43c8f1b52d907"] {
        let mut event = event(&delete);
        event["pathParameters"]["id"] = json!(id);
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let response = response(&delete, invocation);
        assert_eq!(response["statusCode"], 200, "{response}");
        assert_eq!(response["body"], r#"{"status":true}"#);
    }
    assert_eq!(cloud.snapshot().unwrap(), before);
}

#[tokio::test]
async fn an_unreachable_database_is_logged_and_hidden_from_the_client() {
    // The port was free a moment ago, so no process listens on it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let unused = listener.local_addr().unwrap();
    drop(listener);
    let get = functions::named("notes-get");
    let mut host = start(&get, &format!("http://{unused}"), &[]).await;
    let event = event(&get);
    let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
    let problem = problem(&response(&get, invocation), 503);
    let text = problem.to_string();
    for inside in ["DynamoDB", "dynamodb", "Notes", "127.0.0.1", "refused"] {
        assert!(!text.contains(inside), "{text}");
    }
    let id = &event["requestContext"]["requestId"];
    assert_eq!(problem["requestId"], *id);

    let log = host.stop().await;
    let [line] = &log[..] else {
        panic!("the request logged more or less than one line: {log:#?}")
    };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["status"], 503);
    assert_eq!(line["request_id"], *id);
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("DynamoDB"), "{error}");
    assert!(
        error.contains("refused"),
        "the error does not contain its cause: {error}"
    );
}

#[tokio::test]
async fn an_invocation_logs_one_line_without_note_content() {
    for function in functions::with_template() {
        let cloud = Cloud::start().await.unwrap();
        let mut host = start(&function, &cloud.url(), &[("LOG_LEVEL", "trace")]).await;
        let event = event(&function);
        let invocation = host.invoke(event.to_string(), DEADLINE, None).await;
        let aws_request_id = invocation.request_id.clone();
        let response = response(&function, invocation);
        let log = host.stop().await;
        let [line] = &log[..] else {
            panic!(
                "{}: the invocation logged more or less than one line: {log:#?}",
                function.name
            )
        };
        let fields: Value = serde_json::from_str(line).unwrap();
        assert_eq!(fields["level"], "INFO", "{line}");
        assert_eq!(fields["aws_request_id"], aws_request_id.as_str(), "{line}");
        if function.is_route {
            let context = &event["requestContext"];
            assert_eq!(fields["message"], "request", "{line}");
            assert_eq!(fields["status"], response["statusCode"], "{line}");
            assert_eq!(fields["method"], event["httpMethod"], "{line}");
            assert_eq!(fields["route"], context["resourcePath"], "{line}");
            assert_eq!(fields["request_id"], context["requestId"], "{line}");
        }
        let directives = &fields["_aws"]["CloudWatchMetrics"];
        assert_eq!(directives[0]["Namespace"], "Scratchpad", "{line}");
        assert_eq!(fields["Requests"], 1, "{line}");
        assert_eq!(fields["Faults"], 0, "{line}");
        assert_eq!(fields["ColdStarts"], 1, "{line}");
        for secret in ["hello", "new world", "a-secret", "X-Amz"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
