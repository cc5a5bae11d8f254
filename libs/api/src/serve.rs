//! Runs the handler of a route. Converts API Gateway's events to requests and the handler's results
//! to responses, and writes one log line per request.

use std::{convert::Infallible, future::Future, process::ExitCode, str::FromStr, time::Instant};

use function::{InvocationLog, Level, Line, Outcome, StartError, chain, setting};
use http::{HeaderValue, header};
use lambda_http::{Body, RequestExt as _, request::RequestContext, service_fn};

use crate::{Problem, Request, Response, Result};

/// Runs the handler of a route until Lambda stops the function.
///
/// `init` runs once, at the cold start, and creates the services that `handle` uses. `handle`
/// processes one request.
pub async fn serve<S, Fut>(
    init: impl AsyncFnOnce() -> std::result::Result<S, StartError>,
    handle: impl Fn(&'static S, Request) -> Fut,
) -> ExitCode
where
    S: Sync + 'static,
    Fut: Future<Output = Result<Response>> + Send + 'static,
{
    let init = async || {
        let origin = setting::<AllowedOrigin>("ALLOWED_ORIGIN")?;
        Ok((origin, InvocationLog::from_env(true)?, init().await?))
    };
    function::start(init, async |(origin, log, services)| {
        lambda_http::run(service_fn(|request: lambda_http::Request| {
            let context = request.lambda_context();
            let request_log = RequestLog::start(&request);
            let work = handle(services, Request::new(request));
            async move {
                let result = function::invocation(&context, work, |span, result| {
                    let status = result
                        .as_ref()
                        .map_or_else(Problem::status, Response::status);
                    xray::record_status(span, status.as_u16());
                });
                let (response, line, outcome) = request_log.finish(result.await);
                log.write(
                    line.context(&context),
                    outcome,
                    request_log.started.elapsed(),
                );
                Ok::<_, Infallible>(origin.allow(response))
            }
        }))
        .await
    })
    .await
}

/// The value of the header `Access-Control-Allow-Origin`: the origin of the app, or `*` to
/// allow every origin.
#[derive(Clone)]
struct AllowedOrigin(HeaderValue);

impl FromStr for AllowedOrigin {
    type Err = &'static str;

    fn from_str(origin: &str) -> std::result::Result<Self, Self::Err> {
        let is_valid =
            origin == "*" || origin.starts_with("https://") || origin.starts_with("http://");
        let value = HeaderValue::from_str(origin).ok().filter(|_| is_valid);
        value
            .map(Self)
            .ok_or("it must be * or an origin such as https://app.example.com")
    }
}

impl AllowedOrigin {
    fn allow(&self, mut response: http::Response<Body>) -> http::Response<Body> {
        let exposed =
            HeaderValue::from_static("ETag, Link, Location, Retry-After, x-amzn-RequestId");
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if self.0 != "*" {
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        // Notes are private. Without nosniff, a browser could run the content of a note as a
        // script.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}

/// The data for the log line of one request.
struct RequestLog {
    method: http::Method,
    route: String,
    request_id: String,
    started: Instant,
}

impl RequestLog {
    /// Starts the record of the request's metrics, and the measurement of its latency.
    fn start(request: &lambda_http::Request) -> Self {
        metrics::begin();
        let gateway = match request.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(gateway)) => Some(gateway),
            _ => None,
        };
        if let Some(user) =
            gateway.and_then(|gateway| gateway.identity.cognito_identity_id.as_deref())
        {
            metrics::log_user(user);
        }
        let or_empty = |id: Option<&String>| id.cloned().unwrap_or_default();
        Self {
            method: request.method().clone(),
            route: or_empty(gateway.and_then(|gateway| gateway.resource_path.as_ref())),
            // Clients get this id from API Gateway in the header x-amzn-RequestId.
            request_id: or_empty(gateway.and_then(|gateway| gateway.request_id.as_ref())),
            started: Instant::now(),
        }
    }

    /// Converts the result of the handler to an HTTP response, its log line and its outcome.
    fn finish(&self, result: Result<Response>) -> (http::Response<Body>, Line, Outcome) {
        let (response, cause) = match result {
            Ok(response) => (response.into_http(), None),
            Err(problem) => {
                let mut response =
                    http::Response::new(Body::Text(problem.document(&self.request_id)));
                *response.status_mut() = problem.status();
                *response.headers_mut() = problem.headers();
                (response, problem.cause().map(|cause| chain(cause)))
            }
        };
        let status = response.status();
        let level = if cause.is_some() {
            Level::Error
        } else {
            Level::Info
        };
        let mut line = Line::new(level, "request")
            .text("method", self.method.as_str())
            .text("route", &self.route)
            .number("status", status.as_u16().into())
            .number("duration_ms", self.started.elapsed().as_millis() as u64)
            .text("request_id", &self.request_id);
        if let Some(cause) = cause {
            line = line.text("error", &cause);
        }
        let outcome = match status.as_u16() {
            500.. => Outcome::Fault,
            400.. => Outcome::Rejected,
            _ => Outcome::Success,
        };
        (response, line, outcome)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "6f1d2c3b-4a59-4e8f-9b0c-1d2e3f4a5b01";

    fn log() -> RequestLog {
        let event = json!({
            "resource": "/notes", "path": "/notes", "httpMethod": "GET", "headers": {},
            "multiValueHeaders": {}, "isBase64Encoded": false,
            "requestContext": {"identity": {}, "httpMethod": "GET", "requestId": ID},
        });
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        RequestLog::start(&request)
    }

    #[test]
    fn a_problem_contains_the_request_id_of_api_gateway() {
        let (response, _, outcome) = log().finish(Err(Problem::internal("the cause")));
        assert_eq!(response.status(), 500);
        assert_eq!(outcome, Outcome::Fault);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let Body::Text(body) = response.body() else {
            panic!("{response:?}")
        };
        assert!(!body.contains("cause"), "{body}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["requestId"], ID);
    }

    #[test]
    fn the_allowed_origin_can_read_successes_and_problems() {
        for (origin, varies) in [("*", false), ("https://app.example.com", true)] {
            let allowed: AllowedOrigin = origin.parse().ok().unwrap();
            for result in [Ok(Response::done()), Err(Problem::not_found("missing"))] {
                let response = allowed.allow(log().finish(result).0);
                let header = |name| response.headers().get(name).map(HeaderValue::as_bytes);
                assert_eq!(
                    header(header::ACCESS_CONTROL_ALLOW_ORIGIN),
                    Some(origin.as_bytes())
                );
                // Without Vary, a cache could serve a response that allows another origin.
                assert_eq!(header(header::VARY), varies.then_some(&b"Origin"[..]));
            }
        }
    }

    #[test]
    fn an_invalid_origin_is_refused() {
        for origin in ["app.example.com", "null", "https://a\nb", "ftp://a"] {
            assert!(origin.parse::<AllowedOrigin>().is_err(), "{origin}");
        }
    }
}
