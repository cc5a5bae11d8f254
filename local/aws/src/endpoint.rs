//! The HTTP endpoint of all local services. It forwards calls to DynamoDB and other servers. It
//! implements the calls to S3, SSM, SNS and SQS itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, server, service::service_fn};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use local_dynamodb::BoxError;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::sample;

/// The objects in the bucket. Maps the key of each object to its content type and its length in
/// bytes.
pub(crate) type Objects = BTreeMap<String, (&'static str, usize)>;

/// The messages that were sent to SNS and SQS, oldest first. Each map contains the parameters of
/// one call, keyed by parameter name.
pub(crate) type Messages = Vec<BTreeMap<String, String>>;

type HttpResponse = Response<Full<Bytes>>;

/// The services behind the endpoint: the servers to which it forwards calls, and the state of the
/// services that it implements itself.
#[derive(Clone)]
pub(crate) struct Services {
    client: Client<HttpConnector, Full<Bytes>>,
    dynamodb_url: String,
    /// The beginning of a path, and the URL of the server to which calls of such paths are forwarded.
    servers: Vec<(&'static str, String)>,
    objects: Arc<Mutex<Objects>>,
    messages: Arc<Mutex<Messages>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the endpoint on `listener` until the future is dropped. Uses TLS if `tls` is set, and
/// plain HTTP otherwise.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, services: Services) {
    while let Ok((connection, _)) = listener.accept().await {
        // Without this, Nagle's algorithm delays the second write of a response until the first is
        // acknowledged.
        let _ = connection.set_nodelay(true);
        let (tls, services) = (tls.clone(), services.clone());
        tokio::spawn(async move {
            match tls {
                None => serve_connection(connection, services).await,
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        serve_connection(connection, services).await;
                    }
                }
            }
        });
    }
}

async fn serve_connection(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    services: Services,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let services = services.clone();
        async move {
            let response = services.handle(request).await;
            // The error is the body of the response, so that the function logs it.
            let response = response.unwrap_or_else(|error| not_implemented(error.to_string()));
            Ok::<_, Infallible>(response)
        }
    });
    let connection = TokioIo::new(connection);
    // Ignored: this fails if a function exits without closing its connections.
    let _ = server::conn::http1::Builder::new()
        .serve_connection(connection, service)
        .await;
}

impl Services {
    /// Creates the services. `dynamodb_url` is the URL of the local DynamoDB. A call whose path begins
    /// with the first member of one of the `servers` is forwarded to the URL of this server.
    pub(crate) fn new(dynamodb_url: String, servers: Vec<(&'static str, String)>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            dynamodb_url,
            servers,
            objects: Arc::default(),
            messages: Arc::default(),
        }
    }

    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.objects)
    }

    pub(crate) fn messages(&self) -> MutexGuard<'_, Messages> {
        lock(&self.messages)
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<HttpResponse, BoxError> {
        let header = |name| request.headers().get(name)?.to_str().ok();
        let target = header("x-amz-target").map(str::to_owned);
        let is_form = header("content-type") == Some("application/x-www-form-urlencoded");
        let path = request.uri().path();
        let mut servers = self.servers.iter();
        let server = servers.find(|(prefix, _)| path.starts_with(prefix));
        match target.as_deref() {
            Some("AmazonSSM.GetParameters") => get_parameters(&body(request).await?),
            Some("AmazonSQS.SendMessage") => {
                let message = serde_json::from_slice(&body(request).await?)?;
                self.messages().push(message);
                ok(r#"{"MessageId":"m-1","MD5OfMessageBody":""}"#.into())
            }
            Some(_) => self.forward(&self.dynamodb_url, request).await,
            None if let Some((_, url)) = server => self.forward(url, request).await,
            None if is_form => {
                let body = body(request).await?;
                let message = form_urlencoded::parse(&body).into_owned().collect();
                self.messages().push(message);
                ok("<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>".into())
            }
            None => s3(&mut self.objects(), &request),
        }
    }

    async fn forward(
        &self,
        url: &str,
        request: Request<Incoming>,
    ) -> Result<HttpResponse, BoxError> {
        let (mut head, body) = request.into_parts();
        head.headers.remove("host");
        head.uri = format!("{url}{}", head.uri).parse()?;
        let body = body.collect().await?.to_bytes();
        let request = Request::from_parts(head, body.into());
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body.into()))
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, hyper::Error> {
    Ok(request.into_body().collect().await?.to_bytes())
}

fn ok(body: String) -> Result<HttpResponse, BoxError> {
    Ok(Response::new(Full::from(body)))
}

fn not_implemented(message: String) -> HttpResponse {
    let mut response = Response::new(Full::from(message));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

/// Implements GetParameters of SSM
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>).
fn get_parameters(input: &[u8]) -> Result<HttpResponse, BoxError> {
    let input: Value = serde_json::from_slice(input)?;
    let names = input.get("Names").and_then(Value::as_array);
    let names = names.into_iter().flatten();
    let (found, invalid): (Vec<_>, Vec<_>) = names
        .map(|name| {
            let last_segment = name.as_str().and_then(|name| name.rsplit('/').next());
            let value = last_segment.and_then(sample::secret).ok_or(name)?;
            Ok(json!({"Name": name, "Value": value}))
        })
        .partition(Result::is_ok);
    let found: Vec<_> = found.into_iter().flatten().collect();
    let invalid: Vec<&Value> = invalid.into_iter().filter_map(Result::err).collect();
    ok(json!({"Parameters": found, "InvalidParameters": invalid}).to_string())
}

/// Implements HeadObject and DeleteObject of S3
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>).
fn s3(objects: &mut Objects, request: &Request<Incoming>) -> Result<HttpResponse, BoxError> {
    let path = request.uri().path();
    let path = percent_encoding::percent_decode_str(path).decode_utf8()?;
    let key = path.strip_prefix("/attachments/").unwrap_or_default();
    let response = Response::builder();
    let response = match (request.method(), objects.get(key)) {
        (&Method::HEAD, Some((content_type, length))) => response
            .header("content-type", *content_type)
            .header("content-length", *length),
        (&Method::HEAD, None) => response.status(StatusCode::NOT_FOUND),
        (&Method::DELETE, _) => {
            objects.remove(key);
            response.status(StatusCode::NO_CONTENT)
        }
        (method, _) => {
            let message = format!("local-aws does not implement {method} {path}");
            return Ok(not_implemented(message));
        }
    };
    Ok(response.body(Full::default())?)
}
