//! An HTTP proxy in the process of a test: a server that passes each request to a handler, which can forward the request
//! to another server.

use std::net::Ipv4Addr;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::{Request, Response, server, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A response with a complete body.
pub type HttpResponse = Response<Full<Bytes>>;

/// The error that makes the proxy close the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("the response is lost")]
pub struct Lost;

/// Starts to listen on a free port, and passes each request with its whole body to `handle`. Returns the URL and the
/// server's task.
pub async fn listen<H, R>(handle: H) -> (String, JoinHandle<()>)
where
    H: Fn(Parts, Bytes) -> R + Clone + Send + 'static,
    R: Future<Output = Result<HttpResponse, Lost>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            // Without TCP_NODELAY, the second write of a response waits for an acknowledgement.
            let _ = connection.set_nodelay(true);
            let handle = handle.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(|_| Lost)?;
                    handle(head, body.to_bytes()).await
                }
            });
            let http = server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(connection), service));
        }
    });
    (url, server)
}

/// Sends a request to the server with the URL `url`, and returns its response. The request keeps its header `host`, because
/// AWS signatures include it.
pub async fn forward(client: &Client, url: &str, head: Parts, body: Bytes) -> HttpResponse {
    let mut headers = head.headers;
    headers.remove("content-length");
    let url = format!("{url}{}", head.uri);
    let request = client.request(head.method, &url).headers(headers);
    let upstream = request.body(body).send().await;
    let upstream = upstream.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let mut response = HttpResponse::default();
    *response.status_mut() = upstream.status();
    *response.headers_mut() = upstream.headers().clone();
    response.headers_mut().remove("transfer-encoding");
    *response.body_mut() = upstream.bytes().await.unwrap().into();
    response
}

/// A proxy in front of a server. The server executes every request, but the client does not get some of the responses.
#[derive(Debug)]
pub struct LossyProxy {
    /// The URL of the proxy.
    pub url: String,
    responses: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl LossyProxy {
    /// Starts a proxy in front of the server with the URL `upstream`. `is_lost` decides whether the response with a number,
    /// from 1, is lost.
    pub async fn start(
        upstream: String,
        is_lost: impl Fn(usize) -> bool + Clone + Send + Sync + 'static,
    ) -> Self {
        let (responses, lost) = (Arc::default(), Arc::default());
        let counts: (Arc<AtomicUsize>, Arc<AtomicUsize>) =
            (Arc::clone(&responses), Arc::clone(&lost));
        let client = Client::new();
        let (url, server) = listen(move |head, body| {
            let (client, upstream, is_lost) = (client.clone(), upstream.clone(), is_lost.clone());
            let (responses, lost) = counts.clone();
            async move {
                let response = forward(&client, &upstream, head, body).await;
                if is_lost(responses.fetch_add(1, SeqCst) + 1) {
                    lost.fetch_add(1, SeqCst);
                    return Err(Lost);
                }
                Ok(response)
            }
        })
        .await;
        Self {
            url,
            responses,
            lost,
            server,
        }
    }

    /// The number of responses of the server, including those that were lost.
    pub fn responses(&self) -> usize {
        self.responses.load(SeqCst)
    }

    /// The number of responses that were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(SeqCst)
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}
