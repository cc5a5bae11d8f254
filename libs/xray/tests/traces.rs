//! Tests the documents that the X-Ray daemon receives for an invocation.

#![allow(clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::collections::HashMap;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tracing::subscriber::DefaultGuard;
use tracing::{Instrument, Level, info, info_span, instrument};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use xray_daemon::Daemon;

const SAMPLED: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const UNSAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// Starts a local X-Ray daemon. The spans of this thread are sent to the daemon until the returned guard is dropped.
fn traced() -> (Daemon, DefaultGuard) {
    let daemon = Daemon::bind(0).unwrap();
    let address = daemon.address().unwrap().to_string();
    (daemon, traced_to(&address))
}

fn traced_to(address: &str) -> DefaultGuard {
    let ours = Targets::new().with_target("traces", Level::INFO);
    let layer = xray::layer_to(address, ours.clone()).unwrap();
    // A second layer for the log, as in a function
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::sink)
        .with_filter(ours);
    tracing_subscriber::registry()
        .with(layer)
        .with(log)
        .set_default()
}

/// An HTTP client that returns the same response to every request.
#[derive(Clone, Debug)]
struct FixedResponse {
    status: u16,
    body: &'static str,
}

impl HttpConnector for FixedResponse {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = self.status.try_into().unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.body));
        response.headers_mut().insert("x-amzn-requestid", "B3K5H1");
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn dynamodb(status: u16, body: &'static str) -> Client {
    let connector = SharedHttpConnector::new(FixedResponse { status, body });
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("AKID", "secret", None, None, "test"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .interceptor(xray::AwsCall)
        .region(Region::new("eu-central-1"))
        .retry_config(RetryConfig::standard())
        .sleep_impl(TokioSleep::new())
        .build();
    Client::from_conf(config)
}

#[instrument(skip_all, fields(content))]
async fn read(dynamodb: &Client, content: &str) -> bool {
    tracing::error!(error = content, "an event");
    let key = AttributeValue::S(content.to_owned());
    dynamodb
        .get_item()
        .table_name("Notes")
        .key("noteId", key)
        .send()
        .await
        .is_ok()
}

/// Runs an invocation that has one step. The step calls DynamoDB once. Returns whether this call succeeded.
async fn invoke(header: Option<&str>, dynamodb: &Client) -> bool {
    let step = async { read(dynamodb, "a secret thought").await };
    step.instrument(xray::invocation(header, "get", "request"))
        .await
}

fn by_name(documents: Vec<Value>) -> HashMap<String, Value> {
    let name = |document: &Value| document["name"].as_str().unwrap().to_owned();
    documents
        .into_iter()
        .map(|document| (name(&document), document))
        .collect()
}

#[tokio::test]
async fn a_sampled_invocation_sends_a_tree_of_subsegments_below_the_segment_of_lambda() {
    let (daemon, _guard) = traced();
    assert!(invoke(Some(SAMPLED), &dynamodb(200, "{}")).await);

    let documents = daemon.documents().unwrap();
    assert_eq!(documents.len(), 3, "{documents:#?}");
    for document in &documents {
        assert_eq!(document["type"], "subsegment");
        assert_eq!(document["trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert!(document["start_time"].as_f64() <= document["end_time"].as_f64());
        for flag in ["error", "fault", "throttle", "cause"] {
            assert_eq!(document.get(flag), None, "{document}");
        }
    }
    let documents = by_name(documents);
    assert_eq!(documents["get"]["parent_id"], "53995c3f42cd8ad8");
    assert_eq!(documents["read"]["parent_id"], documents["get"]["id"]);
    assert_eq!(documents["DynamoDB"]["parent_id"], documents["read"]["id"]);
}

#[tokio::test]
async fn the_subsegment_of_an_aws_call_has_operation_region_tables_and_status() {
    let (daemon, _guard) = traced();
    invoke(Some(SAMPLED), &dynamodb(200, "{}")).await;

    let mut call = by_name(daemon.documents().unwrap())
        .remove("DynamoDB")
        .unwrap();
    assert_eq!(call["namespace"], "aws");
    assert_eq!(call["http"]["response"]["status"], 200);
    call["aws"].as_object_mut().unwrap().remove("xray");
    assert_eq!(
        call["aws"],
        json!({
            "operation": "GetItem",
            "region": "eu-central-1",
            "request_id": "B3K5H1",
            "table_name": "Notes",
            "table_names": ["Notes"],
        })
    );
}

#[tokio::test]
async fn only_aws_calls_have_the_aws_namespace() {
    let (daemon, _guard) = traced();
    invoke(Some(SAMPLED), &dynamodb(200, "{}")).await;

    let documents = by_name(daemon.documents().unwrap());
    assert_eq!(documents["get"].get("namespace"), None);
    assert_eq!(documents["read"].get("namespace"), None);
}

#[tokio::test]
async fn a_failed_call_is_recorded_as_an_error_a_fault_or_a_throttle() {
    for (status, body, flags, code) in [
        (
            400,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"a secret thought"}"#,
            json!([true, null, null]),
            "ConditionalCheckFailedException",
        ),
        (
            400,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#,
            json!([true, null, true]),
            "ProvisionedThroughputExceededException",
        ),
        (500, "{}", json!([null, true, null]), "ServiceError"),
        (200, "not JSON", json!([null, true, null]), "ServiceError"),
    ] {
        tokio::time::pause();
        let (daemon, _guard) = traced();
        assert!(!invoke(Some(SAMPLED), &dynamodb(status, body)).await);
        tokio::time::resume();

        let call = by_name(daemon.documents().unwrap())
            .remove("DynamoDB")
            .unwrap();
        assert_eq!(
            json!([call["error"], call["fault"], call["throttle"]]),
            flags,
            "{call}"
        );
        assert_eq!(call["http"]["response"]["status"], status);
        assert_eq!(call["cause"]["exceptions"][0]["type"], code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_with_retries_is_one_subsegment_with_the_number_of_retries() {
    let (daemon, _guard) = traced();
    invoke(Some(SAMPLED), &dynamodb(503, "{}")).await;

    let documents = daemon.documents().unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!(by_name(documents)["DynamoDB"]["metadata"]["retries"], 2);
}

#[tokio::test(start_paused = true)]
async fn no_user_input_is_sent() {
    let (daemon, _guard) = traced();
    let body = r#"{"__type":"x#ValidationException","message":"a secret thought"}"#;
    invoke(Some(SAMPLED), &dynamodb(400, body)).await;

    let documents = daemon.documents().unwrap();
    assert_eq!(documents.len(), 3);
    assert!(
        !format!("{documents:?}").contains("secret"),
        "{documents:#?}"
    );
}

#[tokio::test]
async fn an_invocation_without_a_valid_sampled_trace_header_sends_nothing() {
    let (daemon, _guard) = traced();
    for header in [
        None,
        Some(UNSAMPLED),
        Some(""),
        Some("Root=1;Parent=2;Sampled=1"),
    ] {
        assert!(invoke(header, &dynamodb(200, "{}")).await);
        assert_eq!(
            daemon.documents().unwrap(),
            Vec::<Value>::new(),
            "{header:?}"
        );
    }
}

#[tokio::test]
async fn a_step_outside_an_invocation_sends_nothing() {
    let (daemon, _guard) = traced();
    read(&dynamodb(200, "{}"), "at init").await;
    assert_eq!(daemon.documents().unwrap(), Vec::<Value>::new());
}

#[tokio::test]
async fn unsampled_invocations_between_sampled_ones_send_nothing() {
    let (daemon, _guard) = traced();
    let dynamodb = dynamodb(200, "{}");
    for header in [SAMPLED, UNSAMPLED, SAMPLED] {
        invoke(Some(header), &dynamodb).await;
    }
    assert_eq!(daemon.documents().unwrap().len(), 6);
}

#[tokio::test]
async fn a_child_of_a_span_of_another_crate_is_sent_as_a_child_of_the_invocation() {
    let (daemon, _guard) = traced();
    async {
        let other = info_span!(target: "hyper", "connection");
        async { info_span!("step").in_scope(|| info!("an event")) }
            .instrument(other)
            .await;
    }
    .instrument(xray::invocation(Some(SAMPLED), "get", "request"))
    .await;

    let documents = by_name(daemon.documents().unwrap());
    assert_eq!(documents.len(), 2, "{documents:#?}");
    assert_eq!(documents["step"]["parent_id"], documents["get"]["id"]);
}

#[tokio::test]
async fn each_subsegment_is_sent_when_its_span_closes() {
    let (daemon, _guard) = traced();
    let span = xray::invocation(Some(SAMPLED), "get", "request");
    async { read(&dynamodb(200, "{}"), "").await }
        .instrument(span.clone())
        .await;
    assert_eq!(daemon.documents().unwrap().len(), 2);
    drop(span);
    assert_eq!(daemon.documents().unwrap().len(), 1);
}

#[test]
fn a_4xx_response_marks_the_subsegment_as_error_and_a_5xx_as_fault() {
    let (daemon, _guard) = traced();
    for (status, flags) in [
        (200, json!([null, null])),
        (404, json!([true, null])),
        (500, json!([null, true])),
    ] {
        xray::record_status(&xray::invocation(Some(SAMPLED), "get", "request"), status);
        let documents = daemon.documents().unwrap();
        assert_eq!(json!([documents[0]["error"], documents[0]["fault"]]), flags);
        assert_eq!(documents[0]["http"]["response"]["status"], status);
    }
    xray::record_failure(&xray::invocation(Some(SAMPLED), "credit", "request"));
    assert_eq!(daemon.documents().unwrap()[0]["fault"], true);
}

#[tokio::test]
async fn an_invocation_succeeds_without_a_daemon() {
    let gone = Daemon::bind(0).unwrap().address().unwrap().to_string();
    let _guard = traced_to(&gone);
    // If a datagram was refused, the operating system reports the error when the next one is sent
    for _ in 0..3 {
        assert!(invoke(Some(SAMPLED), &dynamodb(200, "{}")).await);
    }
}

#[test]
fn only_a_document_that_is_too_long_for_a_datagram_is_lost() {
    let (daemon, _guard) = traced();
    let invocation = xray::invocation(Some(SAMPLED), "get", "request");
    invocation.in_scope(|| {
        drop(info_span!("step", metadata.big = "x".repeat(70_000)));
        drop(info_span!("step"));
    });
    assert_eq!(daemon.documents().unwrap().len(), 1);
}

#[test]
fn spans_of_other_crates_are_never_opened() {
    fn opened() -> [bool; 2] {
        [info_span!("ours"), info_span!(target: "hyper", "theirs")].map(|span| !span.is_disabled())
    }

    let (daemon, guard) = traced();
    assert_eq!(opened(), [true, false]);
    drop((daemon, guard));

    // Now tracing is off, because AWS_XRAY_DAEMON_ADDRESS is not set
    let ours = Targets::new().with_target("traces", Level::INFO);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::sink)
        .with_filter(ours.clone());
    let subscriber = tracing_subscriber::registry()
        .with(xray::layer(ours).unwrap())
        .with(log);
    tracing::subscriber::with_default(subscriber, || assert_eq!(opened(), [true, false]));
}
