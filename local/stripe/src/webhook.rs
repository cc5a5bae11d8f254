//! Webhook endpoints and the delivery of events (<https://docs.stripe.com/webhooks>).

use std::time::{Duration, SystemTime};

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

use crate::clock::unix_seconds;

/// The timeout of a delivery, from connecting to the endpoint until the end of its response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A webhook endpoint: the URL that receives events, and the secrets that sign the events.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "UncheckedWebhook")]
pub struct Webhook {
    url: Uri,
    authority: String,
    secrets: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedWebhook {
    url: String,
    secrets: Vec<String>,
}

/// The reason why a webhook endpoint is invalid.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL does not start with `http://` or has no host.
    #[error("the webhook URL {0} must start with http:// and have a host")]
    Url(String),
    /// There is no secret to sign events with.
    #[error("a webhook endpoint must have at least one secret")]
    NoSecret,
}

impl TryFrom<UncheckedWebhook> for Webhook {
    type Error = WebhookError;

    fn try_from(webhook: UncheckedWebhook) -> Result<Self, WebhookError> {
        Self::new(&webhook.url, webhook.secrets)
    }
}

impl Webhook {
    /// Creates a webhook endpoint at an `http://` URL. Each event has one signature for each of
    /// `secrets`. There are two secrets while a secret is being rolled
    /// (<https://docs.stripe.com/webhooks#roll-endpoint-secrets>).
    ///
    /// # Errors
    ///
    /// Fails if the URL does not start with `http://` or has no host, or `secrets` is empty.
    pub fn new<S: Into<String>>(
        url: &str,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<Self, WebhookError> {
        let invalid = || WebhookError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| invalid())?;
        let secrets: Vec<_> = secrets.into_iter().map(Into::into).collect();
        match (parsed.scheme_str(), parsed.authority()) {
            _ if secrets.is_empty() => Err(WebhookError::NoSecret),
            (Some("http"), Some(authority)) => Ok(Self {
                authority: authority.to_string(),
                url: parsed,
                secrets,
            }),
            _ => Err(invalid()),
        }
    }

    /// Sends `payload` to the endpoint once, signed for the time `at`. Returns the status of the
    /// response, or the reason why there is no response.
    pub(crate) async fn post(&self, payload: Bytes, at: SystemTime) -> Result<u16, String> {
        tokio::time::timeout(TIMEOUT, self.exchange(payload, at))
            .await
            .unwrap_or_else(|_| Err(format!("no response within {TIMEOUT:?}")))
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
            .map_err(message)?;
        let stream = TcpStream::connect((host, port)).await.map_err(message)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(message)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(message)?;
        let status = response.status().as_u16();
        // Read the whole body. Otherwise the connection would be reset while the endpoint still
        // sends.
        response.into_body().collect().await.map_err(message)?;
        Ok(status)
    }
}

fn message(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Returns the value of the `Stripe-Signature` header for a payload that is sent at the time `at`.
/// The value contains one `v1` signature for each secret
/// (<https://docs.stripe.com/webhooks#verify-manually>).
pub fn signature<S: AsRef<str>>(payload: &[u8], at: SystemTime, secrets: &[S]) -> String {
    let t = unix_seconds(at);
    secrets.iter().fold(format!("t={t}"), |header, secret| {
        // Cannot fail, because an HMAC key can have any length.
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

/// An attempt to deliver an event to a webhook endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The id of the event.
    pub event: String,
    /// The type of the event, such as `payment_intent.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The time of the attempt, according to the test double's clock, in seconds since the Unix
    /// epoch.
    pub at: u64,
    /// The status of the response. None if there was no response.
    pub status: Option<u16>,
    /// The reason why there was no response. None if there was a response.
    pub error: Option<String>,
}

impl Delivery {
    /// Whether the endpoint accepted the event, which means that it responded with a 2xx status.
    pub fn succeeded(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_signature_matches_the_output_of_openssl() {
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
    fn an_endpoint_needs_an_http_url_and_a_secret() {
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
