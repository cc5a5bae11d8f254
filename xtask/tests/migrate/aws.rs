//! The AWS services that a migration or a restore calls: DynamoDB, and small doubles of S3, STS and CloudFormation. The endpoint can
//! kill the process that sends a request, and can let requests fail.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use http::{StatusCode, request::Parts};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use test_support::proxy::{HttpResponse, Lost, forward, listen};
use tokio::task::JoinHandle;

/// The ID of the account of the stage dev in serverless.yml.
pub(crate) const ACCOUNT: &str = "111111111111";

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    pub(crate) process: Pid,
    /// The process is killed when it has sent this many requests.
    pub(crate) after_requests: usize,
    /// Whether the last request takes effect.
    pub(crate) takes_effect: bool,
}

/// Creates the table with this name, with the items of an earlier state of a table.
type Restore = Box<dyn Fn(&str) + Send>;

#[derive(Default)]
struct State {
    /// The content and the version of each object, by its path.
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    writes: u64,
    kill: Option<Kill>,
    /// The number of requests to DynamoDB, by operation.
    calls: BTreeMap<String, usize>,
    /// Every how many transactions one fails. 0 for none.
    failures: usize,
    transactions: usize,
    restore: Option<Restore>,
}

/// The endpoint of the services.
pub(crate) struct Aws {
    state: Arc<Mutex<State>>,
    /// The URL of the endpoint.
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Aws {
    /// Starts the endpoint. `dynamodb` is the URL of the database, and `tables` has the names of the tables in stacks.
    pub(crate) async fn start(dynamodb: String, tables: &'static [&'static str]) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let client = reqwest::Client::new();
        let shared = state.clone();
        let (url, server) = listen(move |head, body| {
            let (state, client, dynamodb) = (shared.clone(), client.clone(), dynamodb.clone());
            async move {
                let kill = is_due(&state);
                if let Some(kill) = kill
                    && !kill.takes_effect
                {
                    kill_process(kill.process, Signal::KILL).unwrap();
                    return Err(Lost);
                }
                let response = match service(&head) {
                    "s3" => object(&state, &head, &body),
                    "dynamodb" => match answer(&state, &head, &body) {
                        Some(answer) => answer,
                        None => forward(&client, &dynamodb, head, body).await,
                    },
                    "sts" => xml(
                        "GetCallerIdentity",
                        &format!("<Account>{ACCOUNT}</Account>"),
                    ),
                    "cloudformation" => xml("ListExports", &exports(tables)),
                    service => panic!("unexpected request to {service}: {head:?}"),
                };
                if let Some(kill) = kill {
                    kill_process(kill.process, Signal::KILL).unwrap();
                    return Err(Lost);
                }
                Ok(response)
            }
        })
        .await;
        Self { state, url, server }
    }

    /// Sets when the next process is killed.
    pub(crate) fn set_kill(&self, kill: Option<Kill>) {
        self.state.lock().unwrap().kill = kill;
    }

    /// Makes one of `every` transactions fail: in turn, DynamoDB throttles it or finds a conflict.
    pub(crate) fn fail_transactions(&self, every: usize) {
        self.state.lock().unwrap().failures = every;
    }

    /// Sets what point-in-time recovery does.
    pub(crate) fn on_restore(&self, restore: impl Fn(&str) + Send + 'static) {
        self.state.lock().unwrap().restore = Some(Box::new(restore));
    }

    /// The number of requests to DynamoDB for `operation` so far.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.calls.get(operation).copied().unwrap_or_default()
    }

    /// The content of an object.
    pub(crate) fn object(&self, key: &str) -> Option<Vec<u8>> {
        let path = format!("/scratchpad-releases-{ACCOUNT}/{key}");
        let state = self.state.lock().unwrap();
        state.objects.get(&path).map(|(content, _)| content.clone())
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Counts a request. Returns the kill if the process must be killed at this request.
fn is_due(state: &Mutex<State>) -> Option<Kill> {
    let mut state = state.lock().unwrap();
    let kill = state.kill.as_mut()?;
    kill.after_requests = kill.after_requests.saturating_sub(1);
    if kill.after_requests > 0 {
        return None;
    }
    state.kill.take()
}

/// Returns the name of the service that a request is signed for.
fn service(head: &Parts) -> &str {
    let authorization = head.headers["authorization"].to_str().unwrap();
    authorization.split('/').nth(3).unwrap()
}

/// How many writes of batches are processed before DynamoDB leaves all items of one unprocessed.
const PROCESSED: usize = 4;

/// Counts a request to DynamoDB. Returns the response if the local DynamoDB does not answer it: if the request fails, or if
/// it needs backups.
fn answer(state: &Mutex<State>, head: &Parts, body: &[u8]) -> Option<HttpResponse> {
    let target = head.headers["x-amz-target"].to_str().unwrap();
    let operation = target.split('.').nth(1).unwrap();
    let mut state = state.lock().unwrap();
    let calls = state.calls.entry(operation.into()).or_default();
    *calls += 1;
    let is_unprocessed = calls.is_multiple_of(PROCESSED);
    let input = || serde_json::from_slice::<Value>(body).unwrap();
    let output = match operation {
        "DescribeContinuousBackups" => json!({"ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": {
                "PointInTimeRecoveryStatus": "ENABLED", "EarliestRestorableDateTime": 1, "LatestRestorableDateTime": 2,
            },
        }}),
        "DescribeTimeToLive" if input()["TableName"] == "Idempotency" => {
            json!({"TimeToLiveDescription": {
                "AttributeName": "expiresAt", "TimeToLiveStatus": "ENABLED",
            }})
        }
        "DescribeTimeToLive" => json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}),
        "RestoreTableToPointInTime" => {
            let restore = state.restore.as_ref().unwrap();
            restore(input()["TargetTableName"].as_str().unwrap());
            json!({})
        }
        "BatchWriteItem" if is_unprocessed => json!({"UnprocessedItems": input()["RequestItems"]}),
        _ => Value::Null,
    };
    if !output.is_null() {
        return Some(HttpResponse::new(output.to_string().into()));
    }
    if operation != "TransactWriteItems" || state.failures == 0 {
        return None;
    }
    state.transactions += 1;
    if !state.transactions.is_multiple_of(state.failures) {
        return None;
    }
    let conflict = (state.transactions / state.failures).is_multiple_of(2);
    let (error, more) = if conflict {
        (
            "TransactionCanceledException",
            r#","CancellationReasons":[{"Code":"TransactionConflict","Message":"conflict"},{"Code":"None"}]"#,
        )
    } else {
        ("ThrottlingException", "")
    };
    let body = format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{error}","message":"failed"{more}}}"#
    );
    let mut response = HttpResponse::new(body.into());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let content_type = "application/x-amz-json-1.0".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    Some(response)
}

/// Responds to a request to S3.
fn object(state: &Mutex<State>, head: &Parts, body: &[u8]) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let path = head.uri.path().to_owned();
    let found = state.objects.get(&path).cloned();
    let header = |name| {
        let value = head.headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let etag = |version: u64| format!("\"{version}\"");
    let respond = |status: StatusCode, body: Vec<u8>, version: Option<u64>| {
        let mut response = HttpResponse::new(body.into());
        *response.status_mut() = status;
        if let Some(version) = version {
            let value = etag(version).parse().unwrap();
            response.headers_mut().insert("etag", value);
        }
        response
    };
    let error = |status, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        respond(status, body.into(), None)
    };
    match head.method.as_str() {
        "GET" => match found {
            Some((content, version)) => respond(StatusCode::OK, content, Some(version)),
            None => error(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        "DELETE" => {
            state.objects.remove(&path);
            respond(StatusCode::NO_CONTENT, Vec::new(), None)
        }
        "PUT" => {
            let is_allowed = match (header("if-none-match"), header("if-match"), found) {
                (Some(_), _, found) => found.is_none(),
                (_, Some(expected), Some((_, version))) => expected == etag(version),
                (_, Some(_), None) => false,
                _ => true,
            };
            if !is_allowed {
                return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
            }
            state.writes += 1;
            let version = state.writes;
            state.objects.insert(path, (body.to_vec(), version));
            respond(StatusCode::OK, Vec::new(), Some(version))
        }
        method => panic!("unexpected request {method} {path}"),
    }
}

fn exports(tables: &[&str]) -> String {
    let mut members = String::new();
    for table in tables {
        write!(
            members,
            "<member><Name>scratchpad-dev-{table}TableName</Name><Value>{table}</Value></member>"
        )
        .unwrap();
    }
    format!("<Exports>{members}</Exports>")
}

fn xml(action: &str, result: &str) -> HttpResponse {
    let body =
        format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>");
    let mut response = HttpResponse::new(body.into());
    let content_type = "text/xml".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}
