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

/// Opens connections, each within a limit of time.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    tls: HttpsConnector<HttpConnector>,
    limit: Duration,
}

/// A connection was not there in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(crate) struct TooSlow(Duration);

impl Dial {
    pub(crate) fn new(tls: HttpsConnector<HttpConnector>, limit: Duration) -> Self {
        Self { tls, limit }
    }
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connection, limit) = (self.tls.call(address), self.limit);
        Box::pin(async move {
            let connection = tokio::time::timeout(limit, connection).await;
            connection.unwrap_or_else(|_| Err(TooSlow(limit).into()))
        })
    }
}
