use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Opens the connections of an HTTPS client. `timeout` limits DNS, TCP and the TLS handshake together.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    tls: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

/// The error of a connection that was not established within the timeout.
#[derive(Debug, thiserror::Error)]
#[error("the connection was not established within {0:?}")]
pub(crate) struct ConnectTimeout(Duration);

impl Connect {
    pub(crate) fn new(tls: HttpsConnector<HttpConnector>, timeout: Duration) -> Self {
        Self { tls, timeout }
    }
}

impl Service<Uri> for Connect {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connection, timeout) = (self.tls.call(address), self.timeout);
        Box::pin(async move {
            let connection = tokio::time::timeout(timeout, connection).await;
            connection.unwrap_or_else(|_| Err(ConnectTimeout(timeout).into()))
        })
    }
}
