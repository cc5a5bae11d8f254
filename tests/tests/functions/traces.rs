//! Tests of the subsegments that functions send to the X-Ray daemon.

use std::collections::HashMap;

use local_aws::Cloud;
use serde_json::{Value, json};
use test_support::functions;
use xray_daemon::Daemon;

use crate::{DEADLINE, event, response, start};

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
const SEGMENT: &str = "53995c3f42cd8ad8";

fn header(sampled: bool) -> String {
    let sampled = u8::from(sampled);
    format!("Root={ROOT};Parent={SEGMENT};Sampled={sampled}")
}

fn ids(documents: &[Value]) -> HashMap<&str, &Value> {
    documents
        .iter()
        .map(|document| (document["id"].as_str().unwrap(), document))
        .collect()
}

/// Whether `name` is the name of the subsegment for the handling of an event: the name of the Rust function that handles
/// the event, which is the end of the name of the Lambda function.
fn is_step(name: &Value, function: &str) -> bool {
    let name = name.as_str().unwrap_or_default();
    function.replace('-', "_").ends_with(&format!("_{name}"))
}

#[tokio::test]
async fn a_sampled_request_sends_subsegments_for_its_handler_and_dynamodb_calls() {
    let daemon = Daemon::bind(0).unwrap();
    let address = daemon.address().unwrap().to_string();
    let cloud = Cloud::start().await.unwrap();
    // If the note does not store the upload's details, the function makes a second call to DynamoDB.
    let mut note = cloud.dynamodb.items("Notes").unwrap().remove(0);
    note["uploaded"] = json!({"NULL": true});
    cloud.dynamodb.put("Notes", &note).unwrap();
    let get = functions::named("notes-get");
    let mut host = start(&get, &cloud.url(), &[("AWS_XRAY_DAEMON_ADDRESS", &address)]).await;
    let (event, header) = (event(&get).to_string(), header(true));
    let invocation = host.invoke(event, DEADLINE, Some(&header)).await;
    assert_eq!(response(&get, invocation)["statusCode"], 200);

    let documents = daemon.documents().unwrap();
    for document in &documents {
        assert_eq!(document["type"], "subsegment", "{document}");
        assert_eq!(document["trace_id"], ROOT, "{document}");
    }
    let children = |parent: &str| -> Vec<_> {
        let all = documents.iter();
        all.filter(|document| document["parent_id"] == parent)
            .collect()
    };
    let [handler] = children(SEGMENT)[..] else {
        panic!("Lambda's segment has more or less than one child: {documents:#?}")
    };
    assert_eq!(handler["http"]["response"]["status"], 200);
    let [step] = children(handler["id"].as_str().unwrap())[..] else {
        panic!("the handler has more or less than one child: {documents:#?}")
    };
    assert!(is_step(&step["name"], &get.name), "{step}");
    assert_eq!(step.get("namespace"), None);
    let calls: Vec<_> = children(step["id"].as_str().unwrap())
        .into_iter()
        .map(|call| {
            assert_eq!(call["namespace"], "aws", "{call}");
            assert_eq!(call["http"]["response"]["status"], 200, "{call}");
            json!([
                call["name"],
                call["aws"]["operation"],
                call["aws"]["table_name"]
            ])
        })
        .collect();
    let expected = [
        json!(["DynamoDB", "GetItem", "Notes"]),
        json!(["DynamoDB", "BatchGetItem", "Attachments"]),
    ];
    assert_eq!(calls, expected);
    assert_eq!(documents.len(), 4, "{documents:#?}");
}

#[tokio::test]
async fn every_function_sends_subsegments_only_for_sampled_invocations() {
    for function in functions::with_template() {
        let daemon = Daemon::bind(0).unwrap();
        let address = daemon.address().unwrap().to_string();
        let cloud = Cloud::start().await.unwrap();
        let variables = [("AWS_XRAY_DAEMON_ADDRESS", address.as_str())];
        let mut host = start(&function, &cloud.url(), &variables).await;
        let event = event(&function).to_string();
        for unsampled in [None, Some(header(false)), Some(format!("Root={ROOT}"))] {
            let unsampled = unsampled.as_deref();
            let invocation = host.invoke(event.clone(), DEADLINE, unsampled).await;
            response(&function, invocation);
            assert_eq!(
                daemon.documents().unwrap(),
                Vec::<Value>::new(),
                "{}",
                function.name
            );
        }
        let sampled = header(true);
        let invocation = host.invoke(event, DEADLINE, Some(&sampled)).await;
        response(&function, invocation);
        let documents = daemon.documents().unwrap();
        let by_id = ids(&documents);
        let mut steps = 0;
        for document in &documents {
            let parent = document["parent_id"].as_str().unwrap();
            let known = parent == SEGMENT || by_id.contains_key(parent);
            assert!(known, "{}: {documents:#?}", function.name);
            steps += usize::from(is_step(&document["name"], &function.name));
        }
        assert_eq!(steps, 1, "{}: {documents:#?}", function.name);
        let content = documents.iter().map(Value::to_string).collect::<String>();
        for content_text in ["hello", "new world"] {
            assert!(
                !content.contains(content_text),
                "{}: {content}",
                function.name
            );
        }
    }
}

#[tokio::test]
async fn functions_work_without_an_xray_daemon() {
    let address = Daemon::bind(0).unwrap().address().unwrap().to_string();
    let cloud = Cloud::start().await.unwrap();
    let get = functions::named("notes-get");
    let mut host = start(&get, &cloud.url(), &[("AWS_XRAY_DAEMON_ADDRESS", &address)]).await;
    // The kernel reports a refused datagram at the next send, so the test needs several invocations.
    let (event, header) = (event(&get).to_string(), header(true));
    for _ in 0..3 {
        let invocation = host.invoke(event.clone(), DEADLINE, Some(&header)).await;
        assert_eq!(response(&get, invocation)["statusCode"], 200);
    }
    let log = host.stop().await;
    assert_eq!(log.len(), 3, "{log:#?}");
}
