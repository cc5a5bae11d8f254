//! The Stripe API under `/v1/`. Records each call, injects a configured fault into the call, and
//! executes the call only if no call with the same idempotency key was executed before.

use std::sync::Arc;
use std::time::SystemTime;

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Response};

use crate::caller::Caller;
use crate::command::Command;
use crate::error::ApiError;
use crate::failure::{End, Fault, take_fault};
use crate::idempotency::{Fingerprint, NextAction};
use crate::params::Params;
use crate::response::ApiResponse;
use crate::settings::API_VERSION;
use crate::shared::{Call, Shared};

/// The maximum size of a request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The error that makes the server close the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("an injected fault closed the connection")]
pub(crate) struct ConnectionClosed;

/// A call in the list that `Stripe::calls` returns, and the fault to inject into the call.
struct RecordedCall {
    /// The index of the call in the list that `Stripe::calls` returns.
    index: usize,
    request_id: String,
    fault: Fault,
    /// The time at which the call is executed, according to the test double's clock.
    due: SystemTime,
}

/// Handles one call of the API: records the call, waits for its injected delay, executes the call
/// and returns the response. Fails if the connection must be closed without a response.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    parts: Parts,
    body: Incoming,
) -> Result<Response<Full<Bytes>>, ConnectionClosed> {
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map(Collected::to_bytes);
    let key = idempotency_key(&parts);
    let call = record(&shared, &parts, key);
    let version = version(&parts.headers).unwrap_or(API_VERSION);
    let prepared = body
        .map_err(|_| ApiError::invalid("The request body cannot be read or is longer than 1 MiB."))
        .and_then(|body| prepare(&shared, &parts, key, &body));
    shared.clock.wait_until(call.due).await;
    let injected = match call.fault.end {
        End::Status(status) => {
            let error = ApiError::injected(status);
            Some(ApiResponse::error(error, &call.request_id))
        }
        End::Response | End::Close => None,
    };
    let mut replayed = false;
    let own = match prepared {
        Err(error) => Some(ApiResponse::error(error, &call.request_id)),
        Ok((_, NextAction::Replay(response))) => {
            replayed = true;
            Some(response)
        }
        Ok((command, NextAction::Execute)) => {
            execute(&shared, &call, key, command, injected.as_ref())
        }
    };
    let response = match (call.fault.end, injected.or(own)) {
        (End::Response | End::Status(_), Some(response)) => response,
        (End::Close, _) | (_, None) => return Err(ConnectionClosed),
    };
    replayed &= matches!(call.fault.end, End::Response);
    if let Some(call) = shared.state().calls.get_mut(call.index) {
        call.status = Some(response.status);
    }
    Ok(response.into_http(&call.request_id, version, replayed))
}

/// Returns the idempotency key of a POST request. A key with characters other than visible ASCII
/// becomes an empty key, which is rejected later. If such a key were ignored, a retry could charge
/// twice.
fn idempotency_key(parts: &Parts) -> Option<&str> {
    let key = parts.headers.get("idempotency-key");
    let key = key.filter(|_| parts.method == Method::POST);
    key.map(|key| key.to_str().unwrap_or_default())
}

/// Appends a call to the list that `Stripe::calls` returns, and selects the fault to inject into
/// the call.
fn record(shared: &Shared, parts: &Parts, key: Option<&str>) -> RecordedCall {
    let path = parts.uri.path();
    let mut state = shared.state();
    state.calls.push(Call {
        method: parts.method.to_string(),
        path: path.to_owned(),
        idempotency_key: key.map(str::to_owned),
        status: None,
    });
    let request_id = state.ledger.new_id("req");
    let fault = take_fault(&mut state.failures, parts.method.as_str(), path);
    RecordedCall {
        index: state.calls.len() - 1,
        request_id,
        fault,
        due: shared.clock.now() + fault.delay,
    }
}

/// Parses and validates a request, and looks up its idempotency key. Returns the command, and
/// whether to execute the command or to replay a stored response.
fn prepare(
    shared: &Shared,
    parts: &Parts,
    key: Option<&str>,
    body: &[u8],
) -> Result<(Command, NextAction), ApiError> {
    version(&parts.headers)?;
    let encoded = match parts.method {
        Method::GET => parts.uri.query().unwrap_or_default().as_bytes(),
        _ => body,
    };
    let mut params = Params::parse(encoded);
    let caller = identify(shared, &parts.headers, &mut params)?;
    if caller == Caller::Browser && key.is_some() {
        // The record would store the request's parameters, which may include a card number.
        return Err(ApiError::invalid(
            "The Stripe test double does not support idempotency keys with a publishable key.",
        ));
    }
    let fingerprint = Fingerprint {
        path: parts.uri.path().to_owned(),
        params: params.fingerprint(),
    };
    let command = Command::parse(caller, parts.method.as_str(), parts.uri.path(), params)?;
    let next = match key {
        None => NextAction::Execute,
        Some(key) if (1..=255).contains(&key.chars().count()) => {
            let now = shared.clock.now();
            shared.state().idempotency.begin(key, fingerprint, now)?
        }
        Some(_) => {
            return Err(ApiError::invalid(
                "Idempotency keys must have 1 to 255 characters.",
            ));
        }
    };
    Ok((command, next))
}

/// Executes a command and returns the response. If the fault of the call prevents the execution,
/// returns None. Stores the response (or an injected error of status 500 or more) for the
/// idempotency key, so that retries get the same response. Releases the key if there is nothing to
/// store.
fn execute(
    shared: &Arc<Shared>,
    call: &RecordedCall,
    key: Option<&str>,
    command: Command,
    injected: Option<&ApiResponse>,
) -> Option<ApiResponse> {
    let mut state = shared.state();
    let request_id = call.request_id.as_str();
    let response = call.fault.effect.then(|| {
        let request = Some((request_id, key));
        shared.transact(&mut state, request, |ledger, context| {
            match ledger.execute(command, context) {
                Ok(body) => ApiResponse::ok(body, request_id),
                Err(error) => ApiResponse::error(error, request_id),
            }
        })
    });
    if let Some(key) = key {
        let failed = injected.filter(|response| response.status >= 500).cloned();
        state
            .idempotency
            .finish(key, failed.or_else(|| response.clone()));
    }
    response
}

/// Identifies the caller by the API key in the `Authorization` header. Without this header, uses
/// the API key in the parameter `key`, where Stripe.js sends it.
fn identify(shared: &Shared, headers: &HeaderMap, params: &mut Params) -> Result<Caller, ApiError> {
    let authorization = headers.get(AUTHORIZATION);
    let api_key = match authorization.and_then(|value| value.to_str().ok()) {
        Some(authorization) => authorization.strip_prefix("Bearer ").map(str::to_owned),
        None => params.take("key"),
    };
    let api_key = api_key.ok_or_else(|| {
        ApiError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the \
             Authorization header, using Bearer auth (e.g. 'Authorization: Bearer \
             YOUR_SECRET_KEY').",
        )
    })?;
    shared.caller(&api_key).ok_or_else(|| {
        let last_four = api_key.char_indices().rev().nth(3);
        let shown = api_key.get(last_four.map_or(0, |(start, _)| start)..);
        let shown = shown.unwrap_or_default();
        ApiError::unauthorized(format!("Invalid API Key provided: ****{shown}"))
    })
}

/// Returns the API version in the header `Stripe-Version`. Without this header, returns the version
/// that the test double implements (<https://docs.stripe.com/api/versioning>).
fn version(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(version) = headers.get("stripe-version") else {
        return Ok(API_VERSION);
    };
    let version = version.to_str().unwrap_or_default();
    let (date, name) = version.split_once('.').unwrap_or((version, "name"));
    let date: Vec<_> = date
        .split('-')
        .map(|part| (part.len(), part.parse::<u16>().is_ok()))
        .collect();
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    if date == [(4, true), (2, true), (2, true)] && named {
        Ok(version)
    } else {
        Err(ApiError::invalid(format!(
            "Invalid Stripe API version: {version}"
        )))
    }
}
