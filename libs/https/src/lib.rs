//! The one HTTPS client: TLS by ring, HTTP/1.1, connections that are kept for the next request.
//!
//! What it trusts is for its owner to say: Amazon's roots for AWS, the web's for anybody else. No
//! system's bundle is ever loaded. An address may also be one of plain `http`, for stand-ins on the
//! same machine.

mod connector;
mod dial;

use std::error::Error;
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dial::Dial;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
pub use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, crypto::ring};

/// How long a warm-up may take with all: past it, the first request does no worse by itself.
const WARM_UP: Duration = Duration::from_secs(2);

/// A client. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Https(Client<Dial, SdkBody>);

/// Why a request has no answer, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no connection to be had, or it was lost.
    #[error("no connection")]
    Connection(#[from] legacy::Error),
    /// The answer ended before its end.
    #[error("half an answer")]
    Body(#[from] hyper::Error),
}

impl Https {
    /// A client that talks to who has a certificate by one of these roots.
    ///
    /// `connect` is how long a connection may take to be there: DNS, TCP and the TLS handshake.
    pub fn trusting(roots: RootCertStore, connect: Duration) -> Self {
        let config = ClientConfig::builder_with_provider(ring::default_provider().into());
        let config = match config.with_safe_default_protocol_versions() {
            Ok(config) => config.with_root_certificates(roots).with_no_client_auth(),
            Err(never) => unreachable!("ring has what TLS 1.2 and 1.3 need: {never}"),
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
            .build(Dial::new(tls, connect));
        Self(client)
    }

    /// Sends a request. Its answer's body is still to come.
    ///
    /// # Errors
    /// When there is no connection to be had, or it is lost.
    pub async fn send(&self, request: Request<SdkBody>) -> Result<Response<Incoming>, Failure> {
        Ok(self.0.request(request).await?)
    }

    /// Sends a request, and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no connection to be had, or it is lost.
    pub async fn exchange(&self, request: Request<SdkBody>) -> Result<Response<Bytes>, Failure> {
        let (head, body) = self.send(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Opens a connection to where `url` is, by a request for it that nobody signs, and keeps it for
    /// the first request.
    ///
    /// A warm-up that fails is no failure: the first request will say what is wrong, if it still is.
    /// Without TLS there is nothing to gain, and nothing is sent.
    pub async fn warm_up(&self, url: Uri) {
        if url.scheme_str() != Some("https") {
            return;
        }
        let mut request = Request::new(SdkBody::empty());
        *request.uri_mut() = url;
        let _ = tokio::time::timeout(WARM_UP, self.exchange(request)).await;
    }
}

/// These roots, each as DER.
///
/// # Errors
/// When one cannot be read.
pub fn roots<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for root in ders {
        roots.add(CertificateDer::from(root))?;
    }
    Ok(roots)
}

/// The first error of a type among all that caused one.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|error| error.downcast_ref())
}
