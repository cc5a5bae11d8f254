//! Whom the client talks to, and how often it has to introduce itself.

#![allow(clippy::unwrap_used)] // Also in the helpers, which clippy does not count as tests

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

/// Why a request fails, with all that caused it
async fn refusal(https: &Https, url: &str) -> String {
    let error = https.exchange(get(url)).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    causes.map(|error| format!("{error:?} ")).collect()
}

#[tokio::test]
async fn a_server_that_is_vouched_for_is_talked_to() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let answer = trusting(&authority).exchange(get(&server.url())).await;
    assert_eq!(answer.unwrap().body(), "healthy");
}

#[tokio::test]
async fn a_server_of_another_name_an_old_one_and_a_stranger_are_not() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let stranger = CertificateAuthority::new("a stranger").unwrap();
    let https = trusting(&authority);
    for (identity, why) in [
        (authority.issue("example.com", 2999), "NotValidForName"),
        (authority.issue("localhost", 2020), "Expired"),
        (stranger.issue("localhost", 2999), "UnknownIssuer"),
    ] {
        let server = Server::start(identity.unwrap()).await.unwrap();
        let refusal = refusal(&https, &server.url()).await;
        assert!(refusal.contains(why), "{refusal}");
        assert_eq!(server.requests(), 0, "{why}");
    }
}

#[tokio::test]
async fn a_client_that_trusts_nobody_talks_to_nobody() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let https = Https::trusting(RootCertStore::empty(), CONNECT);
    let refusal = refusal(&https, &server.url()).await;
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
}

#[tokio::test]
async fn the_connection_of_a_warm_up_is_the_one_that_all_requests_take() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let server = Server::start(authority.issue("localhost", 2999).unwrap());
    let server = server.await.unwrap();
    let https = trusting(&authority);
    https.warm_up(server.url().parse().unwrap()).await;
    assert_eq!((server.connections(), server.requests()), (1, 1));

    https.exchange(get(&server.url())).await.unwrap();
    let by_aws = get(&server.url()).try_into().unwrap();
    let answer = https.call(by_aws).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[tokio::test]
async fn a_warm_up_needs_no_success_and_without_tls_is_none() {
    let authority = CertificateAuthority::new("ours").unwrap();
    let https = trusting(&authority);
    https.warm_up("https://localhost:1".parse().unwrap()).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    https
        .warm_up(format!("http://{address}").parse().unwrap())
        .await;
    let nobody = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn a_connection_that_is_not_there_in_time_is_a_timeout_for_aws() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let https = Https::trusting(RootCertStore::empty(), Duration::from_millis(1));
    // Nobody answers the handshake.
    let late = https.call(get(&url).try_into().unwrap()).await;
    assert!(late.unwrap_err().is_timeout());
}
