//! Compares how `aws::Client` and `aws::Objects` retry and report errors with how the SDK's generated clients do so.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_smithy_types::date_time::{DateTime, Format};

use crate::compare;
use crate::operations::{Called, Operation, Outcome, Protocol, call_both, operations};
use crate::support::{Reply, Request, reply, signing_time};

/// A failure that the local server simulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    InternalError,
    /// The response has the error code that the service uses for throttling.
    Throttling,
    /// The response has a transient error code. Its status is 400, so only the code shows that the failure is
    /// transient.
    RequestTimeout,
    /// The response has status 429 and no error code.
    TooManyRequests,
    ClosedConnection,
    /// The response has status 200 and a body that is neither JSON nor XML.
    MalformedResponse,
    /// The response rejects the signature or its time, and its `Date` is ten days ahead of the client's clock.
    ClockSkew,
    /// The response says that the request is too old, and its `Date` is ten days ahead of the client's clock.
    RequestExpired,
    AccessDenied,
}

const SKEW: Duration = Duration::from_secs(10 * 24 * 60 * 60);

impl Failure {
    fn reply(self, operation: &Operation) -> Reply {
        let (status, code) = match (self, operation.service) {
            (Self::ClosedConnection, _) => return None,
            (Self::MalformedResponse, _) => return reply("200 OK", "", "<{"),
            (Self::TooManyRequests, _) => return reply("429 Too Many Requests", "", ""),
            (Self::InternalError, "dynamodb") => {
                ("500 Internal Server Error", "InternalServerError")
            }
            (Self::InternalError, "sns") => ("500 Internal Server Error", "InternalFailure"),
            (Self::InternalError, "s3") => ("500 Internal Server Error", "InternalError"),
            (Self::InternalError, _) => ("500 Internal Server Error", "InternalServerError"),
            (Self::Throttling, "dynamodb") => {
                ("400 Bad Request", "ProvisionedThroughputExceededException")
            }
            (Self::Throttling, "sns") => ("400 Bad Request", "Throttling"),
            (Self::Throttling, "sqs") => ("403 Forbidden", "RequestThrottled"),
            (Self::Throttling, "s3") => ("503 Slow Down", "SlowDown"),
            (Self::Throttling, _) => ("400 Bad Request", "ThrottlingException"),
            (Self::ClockSkew, "s3") => ("403 Forbidden", "RequestTimeTooSkewed"),
            (Self::ClockSkew, "sns") => ("403 Forbidden", "SignatureDoesNotMatch"),
            (Self::ClockSkew, _) => ("400 Bad Request", "InvalidSignatureException"),
            (Self::RequestTimeout, _) => ("400 Bad Request", "RequestTimeout"),
            (Self::RequestExpired, _) => ("400 Bad Request", "RequestExpired"),
            (Self::AccessDenied, "s3") => ("403 Forbidden", "AccessDenied"),
            (Self::AccessDenied, _) => ("400 Bad Request", "AccessDeniedException"),
        };
        let mut headers = String::new();
        if matches!(self, Self::ClockSkew | Self::RequestExpired) {
            let date = DateTime::from(SystemTime::now() + SKEW);
            headers = format!("date: {}\r\n", date.fmt(Format::HttpDate).unwrap());
        }
        let error = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        let body = match operation.protocol {
            Protocol::Json => format!(r#"{{"__type":"com.amazonaws#{code}","message":"no"}}"#),
            Protocol::Query => format!("<ErrorResponse>{error}</ErrorResponse>"),
            Protocol::S3 if operation.name == "HeadObject" => String::new(),
            Protocol::S3 => error,
        };
        reply(status, &headers, &body)
    }

    /// Whether both clients must retry `operation` after this failure.
    fn is_retried(self, operation: &Operation) -> bool {
        match self {
            Self::InternalError | Self::Throttling | Self::ClosedConnection => true,
            // A response to HEAD has no body, and so no error code.
            Self::ClockSkew | Self::RequestTimeout => operation.name != "HeadObject",
            Self::TooManyRequests | Self::RequestExpired | Self::AccessDenied => false,
            Self::MalformedResponse => false,
        }
    }
}

/// Calls each operation with both clients. Checks that both clients behave the same if the server fails once, and if
/// the server always fails.
pub(crate) async fn check(failure: Failure) {
    let mut checks = Vec::new();
    for operation in operations() {
        checks.push(tokio::spawn(async move {
            // All calls to a service share one retry quota, so only one of DynamoDB's operations can keep failing.
            if operation.service != "dynamodb" || operation.name == "GetItem" {
                tokio::join!(
                    fails_once(failure, &operation),
                    keeps_failing(failure, &operation)
                );
            } else {
                fails_once(failure, &operation).await;
            }
        }));
    }
    for check in checks {
        check.await.unwrap();
    }
}

async fn fails_once(failure: Failure, operation: &Operation) {
    let replies = vec![failure.reply(operation), operation.success()];
    let (ours, sdk) = call_both(operation, replies).await;
    let attempts = if failure.is_retried(operation) { 2 } else { 1 };
    same(failure, operation, &ours, &sdk, attempts);
    if attempts == 2 {
        assert_eq!(ours.outcome, Outcome::Success, "{operation}, {failure:?}");
    }
}

async fn keeps_failing(failure: Failure, operation: &Operation) {
    let (ours, sdk) = call_both(operation, vec![failure.reply(operation)]).await;
    let attempts = if failure.is_retried(operation) { 3 } else { 1 };
    same(failure, operation, &ours, &sdk, attempts);
}

fn same(failure: Failure, operation: &Operation, ours: &Called, sdk: &Called, attempts: usize) {
    let case = format!("{operation}, {failure:?}");
    assert_eq!(ours.outcome, sdk.outcome, "{case}");
    assert_eq!(ours.requests.len(), sdk.requests.len(), "{case}");
    assert_eq!(ours.requests.len(), attempts, "{case}");
    for (ours, sdk) in ours.requests.iter().zip(&sdk.requests) {
        compare::requests(operation, ours, sdk);
    }
    for called in [ours, sdk] {
        if failure == Failure::InternalError {
            // After a transient failure, a client does not reuse the connection
            let connections: BTreeSet<_> = called.requests.iter().map(|r| r.connection).collect();
            assert_eq!(connections.len(), attempts, "{case}");
        }
        let first = &called.requests[0];
        for (number, attempt) in called.requests.iter().enumerate() {
            let id = |attempt: &Request| attempt.headers["amz-sdk-invocation-id"].clone();
            assert_eq!(id(attempt), id(first), "{case}");
            let ahead = signing_time(attempt).duration_since(signing_time(first));
            let corrected = ahead.is_ok_and(|ahead| ahead > SKEW / 2);
            let expected = failure == Failure::ClockSkew && number > 0;
            assert_eq!(corrected, expected, "{case}, attempt {}", number + 1);
        }
    }
}
