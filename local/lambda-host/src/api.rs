//! The Runtime API: a function asks it for events and tells it what came of them.

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

use crate::{FunctionError, Outcome};

/// The longest answer that Lambda takes, in bytes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
const ANSWER: usize = 6 * 1024 * 1024 + 100;

/// What a function is given to work on.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline: SystemTime,
    pub(crate) trace_header: Option<String>,
}

/// What a function tells of itself.
#[derive(Debug)]
pub(crate) enum Report {
    /// It is ready for an event.
    Next { at: Instant },
    /// It has taken the event.
    Taken { at: Instant },
    /// It is done with an event.
    Done {
        request_id: String,
        outcome: Outcome,
        at: Instant,
    },
    /// It can't start.
    InitError(FunctionError),
}

/// A Runtime API of one function, until it is dropped.
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
        let (events, offered) = mpsc::unbounded_channel();
        let (told, reports) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            arn: format!("arn:aws:lambda:{region}:111111111111:function:{function}"),
            events: Mutex::new(offered),
            reports: told,
        });
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // Without it, the two writes of an answer wait for each other's receipt
                let _ = connection.set_nodelay(true);
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
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

    /// What the function finds in `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Has the function take `event` when it next asks for one.
    pub(crate) fn offer(&self, event: Event) {
        // The receiver lives as long as the server
        let _ = self.events.send(event);
    }

    /// What the function tells next.
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

async fn answer(
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
                Err(_) => status(StatusCode::BAD_REQUEST),
            }
        }
        (Method::POST, ["invocation", request_id, "error"]) => {
            let outcome = Outcome::Error(error(request).await);
            shared.done((*request_id).to_owned(), outcome, StatusCode::ACCEPTED)
        }
        (Method::POST, ["init", "error"]) => {
            shared.tell(Report::InitError(error(request).await));
            status(StatusCode::ACCEPTED)
        }
        _ => status(StatusCode::NOT_FOUND),
    };
    // What Lambda's own headers can't hold, such as a trace header of two lines, is the caller's error
    Ok(response.unwrap_or_else(|_| {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

impl Shared {
    fn tell(&self, report: Report) {
        // Nobody listens any more when the host is being dropped
        let _ = self.reports.send(report);
    }

    async fn next(&self) -> http::Result<Response<Full<Bytes>>> {
        self.tell(Report::Next { at: Instant::now() });
        let Some(event) = self.events.lock().await.recv().await else {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
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
        self.tell(Report::Taken { at: Instant::now() });
        response.body(Full::new(event.payload))
    }

    fn response(&self, request_id: String, answer: Bytes) -> http::Result<Response<Full<Bytes>>> {
        if answer.len() <= ANSWER {
            return self.done(request_id, Outcome::Answer(answer), StatusCode::ACCEPTED);
        }
        let outcome = Outcome::Error(FunctionError {
            error_type: "Function.ResponseSizeTooLarge".to_owned(),
            error_message: format!(
                "Response payload size exceeded maximum allowed payload size ({ANSWER} bytes)."
            ),
        });
        self.done(request_id, outcome, StatusCode::PAYLOAD_TOO_LARGE)
    }

    fn done(
        &self,
        request_id: String,
        outcome: Outcome,
        code: StatusCode,
    ) -> http::Result<Response<Full<Bytes>>> {
        self.tell(Report::Done {
            request_id,
            outcome,
            at: Instant::now(),
        });
        status(code)
    }
}

async fn error(request: Request<Incoming>) -> FunctionError {
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

fn status(code: StatusCode) -> http::Result<Response<Full<Bytes>>> {
    Response::builder().status(code).body(Full::default())
}
