//! Tests which servers the HTTPS client trusts, and when it reuses a connection.

#![allow(clippy::unwrap_used)] // Helper functions need this: clippy exempts only tests

use std::error::Error;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_types::body::SdkBody;
use http::Request;
use https::{Https, RootCertStore, roots};
use local_tls::{CertificateAuthority, Server};
use tokio::net::TcpListener;

const CONNECT: Duration = Duration::from_secs(5);

fn trusting(authority: &CertificateAuthority) -> Https {
    Https::trusting(roots([authority.root()]).unwrap(), CONNECT)
}

fn get(url: &str) -> Request<SdkBody> {
    Request::get(url).body(SdkBody::empty()).unwrap()
}

/// Sends a GET request that must fail. Returns the text of the error and of all its sources.
async fn error(https: &Https, url: &str) -> String {
    let error = https.exchange(get(url)).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    causes.map(|error| format!("{error:?} ")).collect()
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_responds() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let response = trusting(&authority).exchange(get(&server.url())).await;
    assert_eq!(response.unwrap().body(), "healthy");
}

#[tokio::test]
async fn a_wrong_name_an_expired_certificate_and_an_unknown_authority_are_rejected() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let unknown = CertificateAuthority::new("unknown").unwrap();
    let https = trusting(&authority);
    for (identity, reason) in [
        (authority.issue("example.com", 2999), "NotValidForName"),
        (authority.issue("localhost", 2020), "Expired"),
        (unknown.issue("localhost", 2999), "UnknownIssuer"),
    ] {
        let server = Server::start(identity.unwrap()).await.unwrap();
        let error = error(&https, &server.url()).await;
        assert!(error.contains(reason), "{error}");
        assert_eq!(server.requests(), 0, "{reason}");
    }
}

#[tokio::test]
async fn a_client_without_root_certificates_rejects_every_server() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let https = Https::trusting(RootCertStore::empty(), CONNECT);
    let error = error(&https, &server.url()).await;
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn all_requests_reuse_the_connection_of_the_warm_up() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let https = trusting(&authority);
    https.warm_up(server.url().parse().unwrap()).await;
    assert_eq!((server.connections(), server.requests()), (1, 1));

    https.exchange(get(&server.url())).await.unwrap();
    let sdk_request = get(&server.url()).try_into().unwrap();
    let response = https.call(sdk_request).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[tokio::test]
async fn a_warm_up_ignores_failures_and_skips_urls_without_tls() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let https = trusting(&authority);
    https.warm_up("https://localhost:1".parse().unwrap()).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    https
        .warm_up(format!("http://{address}").parse().unwrap())
        .await;
    let accepted = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(accepted.is_err());
}

#[tokio::test]
async fn a_slow_handshake_is_a_timeout_error_for_the_sdk() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let https = Https::trusting(RootCertStore::empty(), Duration::from_millis(1));
    // The server accepts the connection but never responds to the TLS handshake
    let result = https.call(get(&url).try_into().unwrap()).await;
    assert!(result.unwrap_err().is_timeout());
}
