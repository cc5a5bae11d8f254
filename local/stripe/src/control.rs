//! The control API, for what is not in the same process: the methods of [`crate::Stripe`] under
//! `/_double/`, in JSON and without a key.
//!
//! | call | body |
//! |---|---|
//! | `GET payment_intents`, `charges`, `events`, `calls`, `deliveries` | |
//! | `POST failures` | `{"method", "path", "times"?, "delay_ms"?, "effect"?, "end"?}`, `end` being `"answer"`, `"close"` or `{"status": 500}` |
//! | `DELETE failures` | |
//! | `PUT webhook` | `{"url", "secrets"}` |
//! | `DELETE webhook` | |
//! | `PUT search_lag` | `{"seconds"}` |
//! | `POST payment_intents/{id}/authenticate` | `{"authentication": "succeeds" or "fails"}` |
//! | `POST events/{id}/redeliver` | |
//! | `POST clock/advance` | `{"seconds"}` |

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Authentication;
use crate::failure::Failure;
use crate::server::Shared;
use crate::webhook::Webhook;

pub(crate) const PREFIX: &str = "/_double/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {
    authentication: Authentication,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seconds {
    seconds: u32,
}

/// A status and what to say of it.
type Refusal = (u16, String);

pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let outcome = match body.collect().await {
        Ok(body) => {
            act(
                shared,
                parts.method.as_str(),
                parts.uri.path(),
                &body.to_bytes(),
            )
            .await
        }
        Err(error) => Err((400, error.to_string())),
    };
    let (status, body) = match outcome {
        Ok(body) => (200, body),
        Err((status, error)) => (status, json!({"error": error})),
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body.to_string()))
        .unwrap_or_default()
}

async fn act(
    shared: &Arc<Shared>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Value, Refusal> {
    let path = path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["payment_intents"]) => Ok(json!({"data": shared.state().ledger.intents()})),
        ("GET", ["charges"]) => Ok(json!({"data": shared.state().ledger.charges})),
        ("GET", ["events"]) => Ok(json!({"data": shared.state().ledger.events})),
        ("GET", ["calls"]) => Ok(json!({"data": shared.state().calls})),
        ("GET", ["deliveries"]) => Ok(json!({"data": shared.state().deliveries})),
        ("POST", ["failures"]) => {
            let failure = read::<Failure>(body)?;
            shared.state().failures.push(failure);
            Ok(json!({}))
        }
        ("DELETE", ["failures"]) => {
            shared.state().failures.clear();
            Ok(json!({}))
        }
        ("PUT", ["webhook"]) => {
            let webhook = read::<Webhook>(body)?;
            shared.state().webhook = Some(webhook);
            Ok(json!({}))
        }
        ("DELETE", ["webhook"]) => {
            shared.state().webhook = None;
            Ok(json!({}))
        }
        ("PUT", ["search_lag"]) => {
            let Seconds { seconds } = read(body)?;
            shared.state().ledger.search_lag = Duration::from_secs(seconds.into());
            Ok(json!({}))
        }
        ("POST", ["payment_intents", id, "authenticate"]) => {
            let Challenge { authentication } = read(body)?;
            shared
                .authenticate(id, authentication)
                .map_err(|error| (409, error.to_string()))
        }
        ("POST", ["events", id, "redeliver"]) => match shared.redeliver(id).await {
            Some(delivery) => Ok(json!(delivery)),
            None => Err((404, "no such event, or no endpoint".to_owned())),
        },
        ("POST", ["clock", "advance"]) => {
            let Seconds { seconds } = read(body)?;
            shared.advance(Duration::from_secs(seconds.into()));
            Ok(json!({}))
        }
        _ => Err((404, format!("no such control: {method} {path}"))),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}
