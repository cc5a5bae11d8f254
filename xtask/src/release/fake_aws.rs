//! A fake of AWS for unit tests: an HTTP client that gets responses from a function instead of sending requests.

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

use super::{account::Account, context::StageContext, target::Target};
use crate::workspace::Workspace;

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

/// How the fake responds to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A response with this status and body.
    Response(u16, String),
    /// A response with this status, body and header.
    WithHeader(u16, String, &'static str, &'static str),
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

/// A fake of CloudFormation. Each operation ends after the status of its stack was read [`POLLS`] times.
#[derive(Debug, Default)]
pub(crate) struct FakeStacks {
    pub(crate) stacks: Vec<FakeStack>,
    /// The names of the stacks whose next operations fail.
    pub(crate) failing: Vec<String>,
    /// How many times DescribeStacks returns the status from before an operation.
    pub(crate) stale_polls: usize,
    /// How many events the fake has recorded.
    events: usize,
}

/// A stack of [`FakeStacks`].
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeStack {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) protected: bool,
    pub(crate) template: String,
    /// The resources: type and physical ID.
    pub(crate) resources: Vec<(String, String)>,
    /// The events, the oldest first, as XML.
    pub(crate) events: Vec<String>,
    /// The status before the running operation, and the token and the final status of that operation.
    operation: Option<(String, String, &'static str)>,
    polls: usize,
}

const POLLS: usize = 3;

impl FakeStack {
    pub(crate) fn new(name: &str, status: &str) -> Self {
        Self {
            name: name.into(),
            status: status.into(),
            template: "{}".into(),
            ..Self::default()
        }
    }

    fn id(&self) -> String {
        format!("arn:{}", self.name)
    }

    /// Records an event of a resource of the stack. `time` is in seconds since the start of 2026-01-01 in UTC.
    pub(crate) fn resource_event(&mut self, kind: &str, status: &str, time: u32) {
        let number = self.events.len();
        self.events.push(format!(
            "<member><EventId>{}-{number}</EventId><StackId>{}</StackId><LogicalResourceId>R</LogicalResourceId><ResourceType>{kind}</ResourceType><ResourceStatus>{status}</ResourceStatus><Timestamp>2026-01-01T00:00:{time:02}Z</Timestamp></member>",
            self.name, self.id()
        ));
    }
}

impl FakeStacks {
    /// Handles a request to CloudFormation, and some requests to S3.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let action = request.action();
        let wanted = request.field("StackName");
        let found = self.stacks.iter().position(|stack| {
            // CloudFormation finds a deleted stack only by its ID.
            stack.id() == wanted || stack.name == wanted && stack.status != "DELETE_COMPLETE"
        });
        match (action.as_str(), found) {
            ("", _) if request.method == "HEAD" => Answer::new(404, ""),
            ("", _) => Answer::new(200, ""),
            ("ListExports" | "ListImports", _) => Answer::xml(&action, ""),
            ("CreateStack", None) => {
                self.stacks.push(FakeStack::new(&wanted, ""));
                self.begin(self.stacks.len() - 1, request)
            }
            ("CreateStack", Some(_)) => Answer::error(
                "AlreadyExistsException",
                &format!("Stack [{wanted}] already exists"),
            ),
            ("DescribeStacks", _) if wanted.is_empty() => {
                let all: String = (0..self.stacks.len()).map(|at| self.describe(at)).collect();
                Answer::xml(&action, &format!("<Stacks>{all}</Stacks>"))
            }
            (_, None) => Answer::error(
                "ValidationError",
                &format!("Stack with id {wanted} does not exist"),
            ),
            ("DescribeStacks", Some(at)) => {
                let stack = self.describe(at);
                Answer::xml(&action, &format!("<Stacks>{stack}</Stacks>"))
            }
            ("DescribeStackEvents", Some(at)) => {
                let events: Vec<_> = self.stacks[at].events.iter().rev().cloned().collect();
                let events = events.concat();
                Answer::xml(&action, &format!("<StackEvents>{events}</StackEvents>"))
            }
            ("ListStackResources", Some(at)) => {
                let resources: String = self.stacks[at]
                    .resources
                    .iter()
                    .map(|(kind, id)| {
                        format!("<member><ResourceType>{kind}</ResourceType><PhysicalResourceId>{id}</PhysicalResourceId></member>")
                    })
                    .collect();
                let list = format!("<StackResourceSummaries>{resources}</StackResourceSummaries>");
                Answer::xml(&action, &list)
            }
            ("GetTemplate", Some(_)) => Answer::xml(&action, "<TemplateBody>{}</TemplateBody>"),
            ("UpdateTerminationProtection", Some(at)) => {
                self.stacks[at].protected = request.field("EnableTerminationProtection") == "true";
                Answer::xml(&action, "")
            }
            (_, Some(at)) => self.begin(at, request),
        }
    }

    /// Begins the operation of `request` on the stack at `at`.
    fn begin(&mut self, at: usize, request: &Request) -> Answer {
        let action = request.action();
        let stack = &mut self.stacks[at];
        let name = stack.name.clone();
        let template = request.field("TemplateBody") + &request.field("TemplateURL");
        let fails = self.failing.contains(&name);
        if stack.status.ends_with("_IN_PROGRESS") {
            let status = &stack.status;
            let state = format!("Stack:{name} is in {status} state and can not be updated.");
            return Answer::error("ValidationError", &state);
        }
        if action == "UpdateStack" && stack.template == template {
            return Answer::error("ValidationError", "No updates are to be performed.");
        }
        let (running, last) = match (action.as_str(), fails) {
            ("CreateStack", false) => ("CREATE_IN_PROGRESS", "CREATE_COMPLETE"),
            ("CreateStack", true) => ("CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE"),
            ("UpdateStack", false) => ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"),
            ("UpdateStack", true) => ("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"),
            ("DeleteStack", false) => ("DELETE_IN_PROGRESS", "DELETE_COMPLETE"),
            ("DeleteStack", true) => ("DELETE_IN_PROGRESS", "DELETE_FAILED"),
            ("ContinueUpdateRollback", false) => {
                ("UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE")
            }
            ("ContinueUpdateRollback", true) => {
                ("UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED")
            }
            _ => panic!("{request:?}"),
        };
        stack.template = template;
        let token = request.field("ClientRequestToken");
        let before = std::mem::replace(&mut stack.status, running.into());
        stack.operation = Some((before, token.clone(), last));
        stack.polls = 0;
        let id = stack.id();
        self.stack_event(at, &token);
        Answer::xml(&action, &format!("<StackId>{id}</StackId>"))
    }

    /// Begins an operation that another process has started.
    pub(crate) fn begin_foreign(&mut self, at: usize, running: &str, last: &'static str) {
        let stack = &mut self.stacks[at];
        let before = std::mem::replace(&mut stack.status, running.into());
        stack.operation = Some((before, "foreign".into(), last));
        stack.polls = 0;
    }

    fn stack_event(&mut self, at: usize, token: &str) {
        self.events += 1;
        let stack = &mut self.stacks[at];
        stack.events.push(format!(
            "<member><EventId>{}</EventId><StackId>{id}</StackId><PhysicalResourceId>{id}</PhysicalResourceId><LogicalResourceId>{}</LogicalResourceId><ResourceType>AWS::CloudFormation::Stack</ResourceType><ResourceStatus>{}</ResourceStatus><ClientRequestToken>{token}</ClientRequestToken><Timestamp>2026-01-01T00:00:59Z</Timestamp></member>",
            self.events, stack.name, stack.status, id = stack.id()
        ));
    }

    fn describe(&mut self, at: usize) -> String {
        let stack = &mut self.stacks[at];
        stack.polls += 1;
        let mut status = stack.status.clone();
        if let Some((before, token, last)) = stack.operation.clone() {
            if stack.polls <= self.stale_polls && !before.is_empty() {
                status = before;
            } else if stack.polls > POLLS + self.stale_polls {
                stack.status = last.into();
                status = last.into();
                stack.operation = None;
                self.stack_event(at, &token);
            }
        }
        let stack = &self.stacks[at];
        format!(
            "<member><StackName>{}</StackName><StackId>{}</StackId><StackStatus>{status}</StackStatus><EnableTerminationProtection>{}</EnableTerminationProtection><Tags><member><Key>scratchpad:stage</Key><Value>dev</Value></member></Tags></member>",
            stack.name,
            stack.id(),
            stack.protected
        )
    }
}

type Handler = dyn FnMut(&Request) -> Answer + Send;

/// An HTTP client that records requests and gets the responses from a function.
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

    /// Returns a fake whose responses come from `fault`, or from `stacks` if `fault` returns `None`.
    pub(crate) fn with_stacks(
        stacks: &Arc<Mutex<FakeStacks>>,
        mut fault: impl FnMut(&Request, &mut FakeStacks) -> Option<Answer> + Send + 'static,
    ) -> Self {
        let stacks = stacks.clone();
        Self::new(move |request| {
            let mut stacks = stacks.lock().unwrap();
            let answer = fault(request, &mut stacks);
            answer.unwrap_or_else(|| stacks.answer(request))
        })
    }

    /// Returns a fake that returns these responses in order. Each is a status and a body.
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

    /// Returns an account whose requests the fake handles. The account counts as a local one, so that all pauses are
    /// short.
    pub(crate) fn account(&self) -> Account {
        Account::fake(self.config())
    }

    /// Returns the context of the stage dev of the checkout. The fake handles its requests.
    pub(crate) async fn stage(&self) -> StageContext {
        let workspace = Workspace::read().unwrap();
        let stage = "dev".parse().unwrap();
        let mut target = Target::read(&workspace, &stage, None).await.unwrap();
        target.account = self.account();
        StageContext::new(&workspace, target)
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
        let response = |status: u16, body: String| {
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))
        };
        HttpConnectorFuture::ready(match answer {
            Answer::Response(status, body) => Ok(response(status, body)),
            Answer::WithHeader(status, body, name, value) => {
                let mut response = response(status, body);
                response.headers_mut().insert(name, value);
                Ok(response)
            }
            Answer::Lost => Err(ConnectorError::io("the connection was lost".into())),
        })
    }
}
