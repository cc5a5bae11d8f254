//! The HTTPS client of all functions: HTTP/1.1 with a connection pool, and TLS with the crate ring.
//!
//! The caller passes the root certificates to trust: Amazon's for AWS, and those of the public web for other services.
//! The client never loads the system's certificate bundle. URLs with the scheme `http` also work, for local stand-ins.

mod connect;
mod connector;

use std::error::Error;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use connect::Connect;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
pub use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, crypto::ring};

/// The time limit for a warm-up request, including its response. Waiting longer would not make the first real request
/// faster.
const WARM_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTPS client. Clones of a client share its connection pool.
#[derive(Clone, Debug)]
pub struct Https(Client<Connect, SdkBody>);

/// The error of a request for which no complete response arrived.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection could not be established, or failed before the head of the response arrived.
    #[error("the connection failed")]
    Connection(#[from] legacy::Error),
    /// The connection failed before the whole body of the response arrived.
    #[error("the response is incomplete")]
    Body(#[from] hyper::Error),
}

impl Https {
    /// Creates a client that trusts only the root certificates `roots`.
    ///
    /// `connect_timeout` limits DNS, TCP and the TLS handshake together.
    pub fn trusting(roots: RootCertStore, connect_timeout: Duration) -> Self {
        let config = ClientConfig::builder_with_provider(ring::default_provider().into());
        let config = match config.with_safe_default_protocol_versions() {
            Ok(config) => config.with_root_certificates(roots).with_no_client_auth(),
            Err(never) => unreachable!("ring supports TLS 1.2 and 1.3: {never}"),
        };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Connect::new(tls, connect_timeout));
        Self(client)
    }

    /// Sends a request and waits for the head of the response. The caller reads the body.
    ///
    /// # Errors
    /// Returns [`Failure::Connection`] if no response arrives.
    pub async fn send(&self, request: Request<SdkBody>) -> Result<Response<Incoming>, Failure> {
        Ok(self.0.request(request).await?)
    }

    /// Sends a request and waits for the complete response.
    ///
    /// # Errors
    /// Returns a [`Failure`] if no complete response arrives.
    pub async fn exchange(&self, request: Request<SdkBody>) -> Result<Response<Bytes>, Failure> {
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends an unauthenticated GET request to `url`, so that the next request finds an open connection in the pool.
    ///
    /// Ignores a failure: if the problem persists, the next request reports it. Sends nothing if the scheme of `url` is
    /// not `https`, because a connection without a TLS handshake takes little time.
    pub async fn warm_up(&self, url: Uri) {
        if url.scheme_str() != Some("https") {
            return;
        }
        let mut request = Request::new(SdkBody::empty());
        *request.uri_mut() = url;
        let _ = tokio::time::timeout(WARM_UP_TIMEOUT, self.exchange(request)).await;
    }
}

/// Creates a certificate store from root certificates in DER format.
///
/// # Errors
/// Fails if a certificate is malformed.
pub fn roots<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for root in ders {
        roots.add(CertificateDer::from(root))?;
    }
    Ok(roots)
}

/// Returns the first error of type `E` in the chain that starts with `error` and continues with its sources.
fn find_source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|error| error.downcast_ref())
}
