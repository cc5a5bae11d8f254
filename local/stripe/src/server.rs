//! The HTTP server of the test double. Accepts connections, and routes requests to the API, the
//! control API or the files for browsers.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::api::{self, ConnectionClosed};
use crate::shared::Shared;
use crate::{browser, control};

/// Serves requests on `listener` until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        // Without this, Nagle's algorithm delays the second write of a response until the first is
        // acknowledged.
        let _ = connection.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| route(Arc::clone(&shared), request));
        connections
            .spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), service));
    }
}

async fn route(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ConnectionClosed> {
    if request.uri().path().starts_with(control::PREFIX) {
        return Ok(control::handle(&shared, request).await);
    }
    if let Some(response) = browser::handle(request.method(), request.uri().path()) {
        return Ok(response);
    }
    let (parts, body) = request.into_parts();
    let (sender, response) = oneshot::channel();
    // The call runs in its own task, because the double, like Stripe, executes a received call even
    // if the caller disconnects.
    let call = api::handle(Arc::clone(&shared), parts, body);
    shared.spawn(async move {
        let _ = sender.send(call.await);
    });
    response.await.unwrap_or(Err(ConnectionClosed))
}
