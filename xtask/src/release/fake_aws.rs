//! A fake of AWS for unit tests: an HTTP client that answers requests with a function instead of sending them.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use aws_types::region::Region;
use reqwest::Url;

use super::account::Account;

/// A request that the fake received.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The whole URI.
    pub(crate) uri: String,
    pub(crate) body: String,
    /// The header `Authorization`.
    pub(crate) authorization: String,
    /// The header `X-Amz-Target`, which names the operation in some protocols. Empty in others.
    pub(crate) target: String,
}

impl Request {
    /// Returns a field of a form, such as a parameter of a CloudFormation request. Empty if the field is missing.
    pub(crate) fn field(&self, name: &str) -> String {
        let url = Url::parse(&format!("http://form/?{}", self.body)).unwrap();
        let mut pairs = url.query_pairs();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    }

    /// The operation of a CloudFormation request.
    pub(crate) fn action(&self) -> String {
        self.field("Action")
    }
}

/// The fake's answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A response with this status and body.
    Response(u16, String),
    /// No response, as if the connection were lost after AWS had received the request.
    Lost,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self::Response(status, body.into())
    }

    /// A successful response of CloudFormation to `action`. `result` is the content of the result element.
    pub(crate) fn xml(action: &str, result: &str) -> Self {
        Self::new(
            200,
            format!(
                "<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
            ),
        )
    }

    /// An error response of CloudFormation.
    pub(crate) fn error(code: &str, message: &str) -> Self {
        Self::new(
            400,
            format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        )
    }
}

type Handler = dyn FnMut(&Request) -> Answer + Send;

/// An HTTP client that answers requests with a function, and records them.
#[derive(Clone)]
pub(crate) struct FakeAws {
    handler: Arc<Mutex<Handler>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    /// Returns a fake that calls `handler` for each attempt of each request.
    pub(crate) fn new(handler: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Self {
            handler: Arc::new(Mutex::new(handler)),
            requests: Arc::default(),
        }
    }

    /// Returns a fake that gives these answers one after the other.
    pub(crate) fn scripted<'a>(answers: impl IntoIterator<Item = (u16, &'a str)>) -> Self {
        let mut answers: VecDeque<_> = answers
            .into_iter()
            .map(|(status, body)| Answer::new(status, body))
            .collect();
        Self::new(move |request| answers.pop_front().unwrap_or_else(|| panic!("{request:?}")))
    }

    /// The requests that the fake received.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests for the CloudFormation operation `action` the fake received.
    pub(crate) fn count(&self, action: &str) -> usize {
        let requests = self.requests();
        let matching = requests.iter().filter(|request| request.action() == action);
        matching.count()
    }

    /// Returns an account whose requests the fake answers. It counts as a local account, so that nothing waits long.
    pub(crate) fn account(&self) -> Account {
        Account::fake(self.config())
    }

    fn config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        let http: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        let credentials = Credentials::new("id", "secret", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http)
            .sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep().unwrap())
            .build()
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        let request = Request {
            method: request.method().into(),
            uri: request.uri().into(),
            body: String::from_utf8_lossy(body).into_owned(),
            authorization: header("authorization"),
            target: header("x-amz-target"),
        };
        self.requests.lock().unwrap().push(request.clone());
        let answer = (self.handler.lock().unwrap())(&request);
        HttpConnectorFuture::ready(match answer {
            Answer::Response(status, body) => Ok(HttpResponse::new(
                status.try_into().unwrap(),
                SdkBody::from(body),
            )),
            Answer::Lost => Err(ConnectorError::io("the connection was lost".into())),
        })
    }
}
