//! The Runtime API, the HTTP API from which a function requests events and to which it reports the
//! results of its invocations (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::outcome::{FunctionError, Outcome};

/// The maximum size of a response that Lambda accepts, in bytes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;

/// An event to send to the function, and the values of the HTTP headers of the response that
/// contains the event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline: SystemTime,
    pub(crate) trace_header: Option<String>,
}

/// A step that the function has completed. The server of the Runtime API learns it from a request
/// of the function.
#[derive(Debug)]
pub(crate) enum Report {
    /// The function requested an event at the time `at`.
    Ready { at: Instant },
    /// The function received the requested event at the time `at`.
    Received { at: Instant },
    /// The function reported the result of the invocation `request_id` at the time `at`.
    Completed {
        request_id: String,
        outcome: Outcome,
        at: Instant,
    },
    /// The function reported that it failed to initialize.
    InitError(FunctionError),
}

/// The server of the Runtime API for one function. The server stops when this value is dropped.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: String,
    events: mpsc::UnboundedSender<Event>,
    reports: mpsc::UnboundedReceiver<Report>,
    server: JoinHandle<()>,
}

struct Shared {
    arn: String,
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
    reports: mpsc::UnboundedSender<Report>,
}

impl RuntimeApi {
    pub(crate) async fn bind(function: &str, region: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (events, event_receiver) = mpsc::unbounded_channel();
        let (report_sender, reports) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            arn: format!("arn:aws:lambda:{region}:111111111111:function:{function}"),
            events: Mutex::new(event_receiver),
            reports: report_sender,
        });
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // Without this, Nagle's algorithm delays the second write of a response until the
                // first is acknowledged.
                let _ = connection.set_nodelay(true);
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| route(Arc::clone(&shared), request));
                let connection = TokioIo::new(connection);
                tokio::spawn(http1::Builder::new().serve_connection(connection, service));
            }
        });
        Ok(Self {
            address,
            events,
            reports,
            server,
        })
    }

    /// The host and port of the server, the value of the function's `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends `event` to the function in response to its next request for an event.
    pub(crate) fn send(&self, event: Event) {
        // Cannot fail, because the server owns the receiver and runs until `self` is dropped.
        let _ = self.events.send(event);
    }

    /// Waits for the function's next report.
    pub(crate) async fn report(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn route(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let call = path
        .strip_prefix("/2018-06-01/runtime/")
        .unwrap_or_default();
    let response = match (
        request.method().clone(),
        call.split('/').collect::<Vec<_>>().as_slice(),
    ) {
        (Method::GET, ["invocation", "next"]) => shared.next().await,
        (Method::POST, ["invocation", request_id, "response"]) => {
            match request.into_body().collect().await {
                Ok(body) => shared.response((*request_id).to_owned(), body.to_bytes()),
                Err(_) => empty(StatusCode::BAD_REQUEST),
            }
        }
        (Method::POST, ["invocation", request_id, "error"]) => {
            let outcome = Outcome::Error(read_error(request).await);
            shared.complete((*request_id).to_owned(), outcome, StatusCode::ACCEPTED)
        }
        (Method::POST, ["init", "error"]) => {
            shared.report(Report::InitError(read_error(request).await));
            empty(StatusCode::ACCEPTED)
        }
        _ => empty(StatusCode::NOT_FOUND),
    };
    // `response` is an error if a header value is invalid, such as a trace header with a line
    // break.
    Ok(response.unwrap_or_else(|_| {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

impl Shared {
    fn report(&self, report: Report) {
        // Fails only while the host is being dropped.
        let _ = self.reports.send(report);
    }

    async fn next(&self) -> http::Result<Response<Full<Bytes>>> {
        self.report(Report::Ready { at: Instant::now() });
        let Some(event) = self.events.lock().await.recv().await else {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let deadline = event
            .deadline
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let mut response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", event.request_id)
            .header(
                "Lambda-Runtime-Deadline-Ms",
                deadline.as_millis().to_string(),
            )
            .header("Lambda-Runtime-Invoked-Function-Arn", &self.arn);
        if let Some(trace_header) = event.trace_header {
            response = response.header("Lambda-Runtime-Trace-Id", trace_header);
        }
        self.report(Report::Received { at: Instant::now() });
        response.body(Full::new(event.payload))
    }

    fn response(&self, request_id: String, body: Bytes) -> http::Result<Response<Full<Bytes>>> {
        if body.len() <= MAX_RESPONSE {
            return self.complete(request_id, Outcome::Response(body), StatusCode::ACCEPTED);
        }
        let outcome = Outcome::Error(FunctionError {
            error_type: "Function.ResponseSizeTooLarge".to_owned(),
            error_message: format!(
                "Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            ),
        });
        self.complete(request_id, outcome, StatusCode::PAYLOAD_TOO_LARGE)
    }

    fn complete(
        &self,
        request_id: String,
        outcome: Outcome,
        code: StatusCode,
    ) -> http::Result<Response<Full<Bytes>>> {
        self.report(Report::Completed {
            request_id,
            outcome,
            at: Instant::now(),
        });
        empty(code)
    }
}

async fn read_error(request: Request<Incoming>) -> FunctionError {
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| FunctionError {
        error_type: "Unknown".to_owned(),
        error_message: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn empty(code: StatusCode) -> http::Result<Response<Full<Bytes>>> {
    Response::builder().status(code).body(Full::default())
}
