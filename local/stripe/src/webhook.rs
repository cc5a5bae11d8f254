//! Where events go, and what came of sending them (<https://docs.stripe.com/webhooks>).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::net::TcpStream;

/// How long an endpoint may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An endpoint that wants to know of events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Webhook {
    url: Uri,
    authority: String,
    secrets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    url: String,
    secrets: Vec<String>,
}

/// Why an endpoint can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is not an `http://` URL with a host.
    #[error("{0} is not the URL of an endpoint over http")]
    Url(String),
    /// There is nothing to sign with.
    #[error("an endpoint needs a secret")]
    NoSecret,
}

impl TryFrom<Unchecked> for Webhook {
    type Error = WebhookError;

    fn try_from(webhook: Unchecked) -> Result<Self, WebhookError> {
        Self::new(&webhook.url, webhook.secrets)
    }
}

impl Webhook {
    /// The endpoint at `url`, over http. Events carry one signature for each of `secrets`: two
    /// while one is being rolled
    /// (<https://docs.stripe.com/webhooks#roll-endpoint-secrets>).
    ///
    /// # Errors
    ///
    /// When the URL is of another kind, or there is no secret.
    pub fn new<S: Into<String>>(
        url: &str,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<Self, WebhookError> {
        let bad = || WebhookError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let secrets: Vec<_> = secrets.into_iter().map(Into::into).collect();
        match (parsed.scheme_str(), parsed.authority()) {
            _ if secrets.is_empty() => Err(WebhookError::NoSecret),
            (Some("http"), Some(authority)) => Ok(Self {
                authority: authority.to_string(),
                url: parsed,
                secrets,
            }),
            _ => Err(bad()),
        }
    }

    /// Sends `payload` once and gives the status of the answer.
    pub(crate) async fn post(&self, payload: Bytes, at: SystemTime) -> Result<u16, String> {
        tokio::time::timeout(PATIENCE, self.exchange(payload, at))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn exchange(&self, payload: Bytes, at: SystemTime) -> Result<u16, String> {
        let host = self.url.host().unwrap_or_default();
        let port = self.url.port_u16().unwrap_or(80);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header("Stripe-Signature", signature(&payload, at, &self.secrets))
            .header(
                "User-Agent",
                "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            )
            .body(Full::new(payload))
            .map_err(said)?;
        let stream = TcpStream::connect((host, port)).await.map_err(said)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(said)?;
        let status = response.status().as_u16();
        // To the end, or the endpoint would see its connection cut
        response.into_body().collect().await.map_err(said)?;
        Ok(status)
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The value of `Stripe-Signature` for `payload` sent at a time: one `v1` for each secret
/// (<https://docs.stripe.com/webhooks#verify-manually>).
pub fn signature<S: AsRef<str>>(payload: &[u8], at: SystemTime, secrets: &[S]) -> String {
    let t = seconds(at);
    secrets.iter().fold(format!("t={t}"), |header, secret| {
        // A key may have any length
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_ref().as_bytes()) else {
            return header;
        };
        mac.update(format!("{t}.").as_bytes());
        mac.update(payload);
        let hex = mac.finalize().into_bytes();
        let hex: String = hex.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{header},v1={hex}")
    })
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// An attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The event's id.
    pub event: String,
    /// What the event tells, such as `payment_intent.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was sent, by the double's clock, in seconds since the epoch.
    pub at: u64,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
}

impl Delivery {
    /// Whether the endpoint took the event.
    pub fn is_taken(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_time_and_the_bytes_sent() {
        // printf '1700000000.{"id":1}' | openssl dgst -sha256 -hmac whsec_test
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let header = signature(br#"{"id":1}"#, at, &["whsec_test"]);
        assert_eq!(header, EXPECTED);
        let rolled = signature(br#"{"id":1}"#, at, &["whsec_test", "whsec_next"]);
        assert!(rolled.starts_with(&format!("{EXPECTED},v1=")));
        assert_ne!(rolled, format!("{EXPECTED},v1={}", &EXPECTED[16..]));
    }

    const EXPECTED: &str =
        "t=1700000000,v1=2f441ba4b3b2d50d28a9ab9d9fd8880376ecd1eb5d0435401553f5d8d0a5dcf8";

    #[test]
    fn an_endpoint_is_over_http_and_has_a_secret() {
        assert!(Webhook::new("http://127.0.0.1:80/hook?x=1", ["whsec"]).is_ok());
        for (url, secrets) in [
            ("https://example.com", vec!["whsec"]),
            ("/hook", vec!["whsec"]),
            ("", vec!["whsec"]),
            ("http://127.0.0.1", vec![]),
        ] {
            assert!(Webhook::new(url, secrets).is_err(), "{url}");
        }
    }
}
