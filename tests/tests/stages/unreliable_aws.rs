//! A proxy between xtask and the local clouds that makes one request of a command fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use reqwest::Client;
use test_support::proxy::{self, HttpResponse, Lost};
use tokio::task::JoinHandle;

use crate::account::Account;

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// AWS throttles the request and its first repetitions, and does not execute them. The SDK repeats a request more
    /// often than this.
    Throttled,
    /// AWS throttles the request and all its repetitions by the SDK.
    ThrottledLong,
    /// AWS does not accept the credentials any more, neither for this request nor for later ones.
    Expired,
    /// AWS executes the request, but its response is lost. AWS does not accept the credentials any more for repetitions and
    /// later requests. The command cannot find out that the request was executed.
    ExecutedAndExpired,
    /// AWS repeats its previous response to an equal query, which may be out of date.
    Stale,
    /// AWS executes the request, but the connection breaks before the response.
    LostResponse,
    /// The connection breaks before AWS receives the request.
    LostRequest,
    /// AWS executes the request, but responds with status 500.
    ExecutedWithError,
    /// AWS does not execute the request, and responds with status 500.
    Error,
}

impl Failure {
    pub(crate) const ALL: [Self; 9] = [
        Self::Throttled,
        Self::ThrottledLong,
        Self::Expired,
        Self::ExecutedAndExpired,
        Self::Stale,
        Self::LostResponse,
        Self::LostRequest,
        Self::ExecutedWithError,
        Self::Error,
    ];

    /// The number of requests with the same name that fail, the first one and its repetitions.
    fn repetitions(self) -> usize {
        match self {
            Self::Throttled => 3,
            Self::ThrottledLong => 10,
            Self::Expired | Self::ExecutedAndExpired => usize::MAX,
            // Each poll of the state repeats the query.
            Self::Stale => 2,
            _ => 1,
        }
    }
}

/// The failure of one request of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The name of the request: see [`Call::name`].
    pub(crate) call: String,
    /// The position of the request among all requests of the command with this name: 0 for the first.
    pub(crate) nth: usize,
    pub(crate) failure: Failure,
}

/// A proxy for each local account. All proxies share one list of requests and one fault.
pub(crate) struct UnreliableAws {
    /// The endpoint of each local cloud, and the URL of its proxy.
    endpoints: Vec<(String, String)>,
    state: Arc<Mutex<State>>,
    servers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// How many requests have failed.
    failed: usize,
    /// The names of all requests since the command began.
    calls: Vec<String>,
    /// The latest response to each query: status, content type and body.
    responses: HashMap<Query, (u16, String, Bytes)>,
}

/// The name and the body of a query.
type Query = (String, Bytes);

impl UnreliableAws {
    /// Starts the proxies.
    pub(crate) async fn start() -> Self {
        let client = Client::builder().no_proxy();
        let client = client.redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut servers = Vec::new();
        let mut endpoints = Vec::new();
        for account in [Account::dev(), Account::prod()] {
            let (cloud, client, state) =
                (account.endpoint.clone(), client.clone(), Arc::clone(&state));
            let (url, server) = proxy::listen(move |head, body| {
                let (cloud, client, state) = (cloud.clone(), client.clone(), Arc::clone(&state));
                // AWS executes a request even if the caller no longer waits.
                let handled =
                    tokio::spawn(async move { handle(&cloud, &client, &state, head, body).await });
                async { handled.await.unwrap_or(Err(Lost)) }
            })
            .await;
            endpoints.push((account.endpoint, url));
            servers.push(server);
        }
        Self {
            endpoints,
            state,
            servers,
        }
    }

    /// Returns the text of an AWS configuration file with the proxies as endpoints instead of the local clouds.
    pub(crate) fn configuration(&self, text: String) -> String {
        let replace =
            |text: String, (cloud, proxy): &(String, String)| text.replace(cloud.as_str(), proxy);
        self.endpoints.iter().fold(text, replace)
    }

    /// Begins a new list of requests, and makes one of them fail.
    pub(crate) fn begin(&self, fault: Option<Fault>) {
        *lock(&self.state) = State {
            fault,
            ..State::default()
        };
    }

    /// Returns the names of all requests since the last call of [`Self::begin`].
    pub(crate) fn calls(&self) -> Vec<String> {
        lock(&self.state).calls.clone()
    }

    /// Whether a request has failed since the last call of [`Self::begin`].
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.state).failed > 0
    }
}

impl Drop for UnreliableAws {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Records a request. Returns how it fails, or `None` if it succeeds.
    fn record(&mut self, call: &Call) -> Option<Failure> {
        let earlier = self.calls.iter().filter(|name| **name == call.name).count();
        self.calls.push(call.name.clone());
        let Fault {
            call: name,
            nth,
            failure,
        } = self.fault.clone()?;
        let begins = name == call.name && earlier >= nth;
        let is_stale = failure == Failure::Stale;
        if self.failed == 0 && (!begins || is_stale && !self.responses.contains_key(&call.query)) {
            return None;
        }
        let ends_credentials = matches!(failure, Failure::Expired | Failure::ExecutedAndExpired);
        if self.failed >= failure.repetitions() || name != call.name && !ends_credentials {
            return None;
        }
        self.failed += 1;
        Some(match failure {
            Failure::ExecutedAndExpired if self.failed > 1 => Failure::Expired,
            failure => failure,
        })
    }
}

async fn handle(
    cloud: &str,
    client: &Client,
    state: &Mutex<State>,
    head: Parts,
    body: Bytes,
) -> Result<HttpResponse, Lost> {
    let call = Call::read(&head, &body);
    let failure = lock(state).record(&call);
    let is_executed = !matches!(
        failure,
        Some(
            Failure::Throttled
                | Failure::ThrottledLong
                | Failure::Expired
                | Failure::Stale
                | Failure::LostRequest
                | Failure::Error
        )
    );
    let response = if is_executed {
        proxy::forward(client, cloud, head, body).await
    } else {
        HttpResponse::default()
    };
    match failure {
        None => {
            if call.is_query {
                let kind = response.headers().get("content-type");
                let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
                let Ok(body) = response.body().clone().collect().await;
                let seen = (response.status().as_u16(), kind.to_owned(), body.to_bytes());
                lock(state).responses.insert(call.query, seen);
            }
            Ok(response)
        }
        Some(Failure::LostResponse | Failure::LostRequest | Failure::ExecutedAndExpired) => {
            Err(Lost)
        }
        Some(Failure::Stale) => {
            let seen = lock(state).responses.get(&call.query).cloned();
            let (status, kind, body) = seen.ok_or(Lost)?;
            Ok(respond(status, &kind, body))
        }
        Some(Failure::Throttled | Failure::ThrottledLong) => Ok(call.throttle()),
        Some(Failure::Expired) => Ok(call.expire()),
        Some(Failure::Error | Failure::ExecutedWithError) => {
            Ok(call.error(500, "InternalFailure", "An internal error occurred"))
        }
    }
}

fn respond(status: u16, kind: &str, body: Bytes) -> HttpResponse {
    let response = hyper::Response::builder().status(status);
    let response = response.header("content-type", kind);
    response.body(body.into()).unwrap()
}

/// A request of xtask.
struct Call {
    /// The service, the operation and the stack or the object, without IDs, hashes and numbers of releases, so that the
    /// name is the same in every run of a command. Example: `cloudformation UpdateStack scratchpad-s3-dev`.
    name: String,
    protocol: Protocol,
    /// Whether this is a query whose answer CloudFormation may delay.
    is_query: bool,
    query: Query,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Query,
    Json,
    RestJson,
    S3 { has_body: bool },
    RestXml,
}

impl Call {
    fn read(head: &Parts, body: &Bytes) -> Self {
        let header = |name: &str| {
            let value = head.headers.get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let scope = header("authorization").split('/').nth(3);
        let service = scope.unwrap_or("unsigned");
        let target = header("x-amz-target");
        let (protocol, operation) = if !target.is_empty() {
            (Protocol::Json, target.to_owned())
        } else if let Some(action) = parameter(body, "Action") {
            let stack = parameter(body, "StackName").unwrap_or_default();
            // The ID of a stack is arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID.
            let stack = stack.split('/').nth(1).unwrap_or(&stack).to_owned();
            (Protocol::Query, format!("{action} {stack}"))
        } else {
            let query = head.uri.query().unwrap_or_default().as_bytes();
            let list = parameter(query, "prefix").map(|prefix| format!(" {prefix}"));
            let path = head.uri.path().split('/').map(without_id);
            let path = path.collect::<Vec<_>>().join("/");
            let operation = format!("{} {path}{}", head.method, list.unwrap_or_default());
            let protocol = match service {
                "s3" => Protocol::S3 {
                    has_body: head.method != "HEAD",
                },
                "route53" => Protocol::RestXml,
                "cloudfront" => Protocol::RestXml, // part: web
                _ => Protocol::RestJson,
            };
            (protocol, operation)
        };
        let name = format!("{service} {}", operation.trim());
        let is_query = ["DescribeStacks", "DescribeStackEvents"]
            .iter()
            .any(|query| operation.starts_with(query));
        Self {
            query: (name.clone(), body.clone()),
            name,
            protocol,
            is_query,
        }
    }

    fn throttle(&self) -> HttpResponse {
        match self.protocol {
            Protocol::S3 { .. } => self.error(503, "SlowDown", "Please reduce your request rate."),
            Protocol::RestJson => self.error(429, "TooManyRequestsException", "Rate exceeded"),
            Protocol::Json => self.error(400, "ThrottlingException", "Rate exceeded"),
            Protocol::Query | Protocol::RestXml => self.error(400, "Throttling", "Rate exceeded"),
        }
    }

    fn expire(&self) -> HttpResponse {
        let message = "The security token included in the request is expired";
        match self.protocol {
            Protocol::S3 { .. } => {
                self.error(400, "ExpiredToken", "The provided token has expired.")
            }
            Protocol::Json => self.error(400, "ExpiredTokenException", message),
            Protocol::RestJson => self.error(403, "ExpiredTokenException", message),
            Protocol::Query | Protocol::RestXml => self.error(403, "ExpiredToken", message),
        }
    }

    /// Returns an error response in the protocol of the service.
    fn error(&self, status: u16, code: &str, message: &str) -> HttpResponse {
        let error = format!("<Code>{code}</Code><Message>{message}</Message>");
        let (kind, body) = match self.protocol {
            Protocol::S3 { has_body: false } => ("application/xml", String::new()),
            Protocol::S3 { .. } => ("application/xml", format!("<Error>{error}</Error>")),
            Protocol::Query | Protocol::RestXml => (
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>1</RequestId></ErrorResponse>"
                ),
            ),
            Protocol::Json | Protocol::RestJson => (
                "application/x-amz-json-1.1",
                serde_json::json!({"__type": code, "message": message}).to_string(),
            ),
        };
        let mut response = respond(status, kind, body.into());
        if self.protocol == Protocol::RestJson {
            let headers = response.headers_mut();
            headers.insert("x-amzn-errortype", code.parse().unwrap());
        }
        response
    }
}

fn parameter(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(form);
    let (_, value) = pairs.find(|(found, _)| found == name)?;
    Some(value.into_owned())
}

/// Replaces a part of a path by `ID` if the part is an ID, a hash or the number of a release.
fn without_id(part: &str) -> &str {
    let digits = part.chars().filter(char::is_ascii_digit).count();
    // The names of files of a web page contain a hash.
    let is_file = part.contains('-') && (part.ends_with(".js") || part.ends_with(".css"));
    let is_id = part.len() >= 6 && digits >= 2 && !part.starts_with("scratchpad-");
    if is_file || is_id { "ID" } else { part }
}
