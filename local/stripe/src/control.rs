//! The control API, with which other processes control the Stripe test double. Its routes under
//! `/_double/` correspond to the methods of [`crate::Stripe`]. Bodies are JSON, and no API key is
//! needed. In the table, `?` marks an optional field.
//!
//! | request | body |
//! |---|---|
//! | `GET payment_intents`, `charges`, `refunds`, `disputes`, `events`, `calls`, `deliveries` | |
//! | `POST failures` | `{"method", "path", "times"?, "delay_ms"?, "effect"?, "end"?}`, where `end` is `"response"`, `"close"` or `{"status": 500}` |
//! | `DELETE failures` | |
//! | `PUT webhook` | `{"url", "secrets"}` |
//! | `DELETE webhook` | |
//! | `PUT bank_delay` | `{"seconds"}` |
//! | `PUT hold` | `{"payments": true or false}` |
//! | `POST payment_intents/{id}/process` | |
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

use crate::authentication::Authentication;
use crate::failure::Failure;
use crate::shared::Shared;
use crate::webhook::Webhook;

pub(crate) const PREFIX: &str = "/_double/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthenticateBody {
    authentication: Authentication,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    payments: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecondsBody {
    seconds: u32,
}

/// The HTTP status and the message of an error response.
type Error = (u16, String);

/// Executes a request whose path starts with [`PREFIX`], and returns the response.
pub(crate) async fn handle(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let result = match body.collect().await {
        Ok(body) => {
            execute(
                shared,
                parts.method.as_str(),
                parts.uri.path(),
                &body.to_bytes(),
            )
            .await
        }
        Err(error) => Err((400, error.to_string())),
    };
    let (status, body) = match result {
        Ok(body) => (200, body),
        Err((status, error)) => (status, json!({"error": error})),
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(body.to_string()))
        .unwrap_or_default()
}

async fn execute(
    shared: &Arc<Shared>,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Value, Error> {
    let path = path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", [list]) => list_all(shared, list),
        ("POST", ["failures"]) => {
            let failure = parse::<Failure>(body)?;
            shared.state().failures.push(failure);
            Ok(json!({}))
        }
        ("DELETE", ["failures"]) => {
            shared.state().failures.clear();
            Ok(json!({}))
        }
        ("PUT", ["webhook"]) => {
            let webhook = parse::<Webhook>(body)?;
            shared.state().webhook = Some(webhook);
            Ok(json!({}))
        }
        ("DELETE", ["webhook"]) => {
            shared.state().webhook = None;
            Ok(json!({}))
        }
        ("PUT", ["bank_delay"]) => {
            let SecondsBody { seconds } = parse(body)?;
            shared.state().ledger.bank_delay = Duration::from_secs(seconds.into());
            Ok(json!({}))
        }
        ("PUT", ["hold"]) => {
            let HoldBody { payments } = parse(body)?;
            shared.state().ledger.hold = payments;
            Ok(json!({}))
        }
        ("POST", ["payment_intents", id, "process"]) => {
            shared.process(id).map_err(|error| (409, error.to_string()))
        }
        ("POST", ["payment_intents", id, "authenticate"]) => {
            let AuthenticateBody { authentication } = parse(body)?;
            shared
                .authenticate(id, authentication)
                .map_err(|error| (409, error.to_string()))
        }
        ("POST", ["events", id, "redeliver"]) => match shared.redeliver(id).await {
            Some(delivery) => Ok(json!(delivery)),
            None => Err((
                404,
                "no such event, or no webhook endpoint is set".to_owned(),
            )),
        },
        ("POST", ["clock", "advance"]) => {
            let SecondsBody { seconds } = parse(body)?;
            shared.clock.advance(Duration::from_secs(seconds.into()));
            Ok(json!({}))
        }
        _ => Err(unknown_route(method, path)),
    }
}

fn list_all(shared: &Shared, list: &str) -> Result<Value, Error> {
    let state = shared.state();
    let data = match list {
        "payment_intents" => json!(state.ledger.intents()),
        "charges" => json!(state.ledger.charges),
        "refunds" => json!(state.ledger.refund_objects()),
        "disputes" => json!(state.ledger.dispute_objects()),
        "events" => json!(state.ledger.events),
        "calls" => json!(state.calls),
        "deliveries" => json!(state.deliveries),
        _ => return Err(unknown_route("GET", list)),
    };
    Ok(json!({"data": data}))
}

fn unknown_route(method: &str, path: &str) -> Error {
    (404, format!("the control API has no route {method} {path}"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}
