//! Compares a request of `aws::Client` or `aws::Objects` with the same request of the SDK's generated client.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::operations::{Operation, Protocol};
use crate::support::{REGION, Request, credentials, signature};

/// The headers that may differ between the clients, each with the reason. For `authorization`, [`headers`] compares the
/// parts that must be equal. For `amz-sdk-invocation-id`, it checks the format.
pub(crate) const DIFFERENT_HEADERS: &[(&str, &str)] = &[
    ("amz-sdk-invocation-id", "random for each call"),
    (
        "authorization",
        "signs headers that differ. Its parts are compared, and both signatures are verified",
    ),
    (
        "user-agent",
        "describes the SDK, its version and the features in use. AWS does not need it, and composing it costs time in \
         every call",
    ),
    (
        "x-amz-user-agent",
        "a longer user-agent, omitted for the same reason",
    ),
];

/// The operations whose query string may differ between the clients: the operation, the part of the query string that
/// only the SDK sends, and the reason.
pub(crate) const DIFFERENT_QUERIES: &[(&str, &str, &str)] = &[(
    "DeleteObject",
    "?x-id=DeleteObject",
    "names the operation within the SDK. It is not a parameter of the S3 API: \
     https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html",
)];

/// Compares the requests `ours` and `sdk`. Fails if they have a difference that is not in [`DIFFERENT_HEADERS`] or
/// [`DIFFERENT_QUERIES`]. Returns the names of the listed differences that they have.
pub(crate) fn requests(
    operation: &Operation,
    ours: &Request,
    sdk: &Request,
) -> BTreeSet<&'static str> {
    let mut differences = headers(operation, ours, sdk);
    assert_eq!(ours.method, sdk.method, "{operation}");
    let mut target = sdk.target.as_str();
    for (name, query, _) in DIFFERENT_QUERIES {
        if *name == operation.name && !ours.target.ends_with(query) {
            target = target.strip_suffix(query).unwrap_or(target);
            differences.insert(*name);
        }
    }
    assert_eq!(ours.target, target, "{operation}");
    assert_eq!(body(operation, ours), body(operation, sdk), "{operation}");
    for request in [ours, sdk] {
        assert_eq!(
            request.headers["authorization"],
            signature(request, operation.service),
            "{operation}"
        );
    }
    differences
}

fn body(operation: &Operation, request: &Request) -> Value {
    match operation.protocol {
        Protocol::Json => serde_json::from_slice(&request.body).unwrap(),
        Protocol::Query => {
            let pairs = form_urlencoded::parse(&request.body).into_owned();
            let pairs: BTreeMap<String, String> = pairs.collect();
            serde_json::to_value(pairs).unwrap()
        }
        Protocol::S3 => request.body.as_slice().into(),
    }
}

fn headers(operation: &Operation, ours: &Request, sdk: &Request) -> BTreeSet<&'static str> {
    let mut differences = BTreeSet::new();
    let names: BTreeSet<_> = ours.headers.keys().chain(sdk.headers.keys()).collect();
    for name in names {
        if comparable(ours, name) == comparable(sdk, name) {
            continue;
        }
        match DIFFERENT_HEADERS.iter().find(|(listed, _)| listed == name) {
            Some((listed, _)) => {
                differences.insert(*listed);
            }
            None => panic!(
                "{operation}: {name} is {:?}, and the SDK's is {:?}",
                comparable(ours, name),
                comparable(sdk, name)
            ),
        }
    }
    assert_eq!(authorization(ours), authorization(sdk), "{operation}");
    for request in [ours, sdk] {
        let id = &request.headers["amz-sdk-invocation-id"];
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{operation}: {id}");
    }
    differences
}

/// The value of a header, with placeholders for the parts that always differ: the server's address and the time of
/// signing.
fn comparable(request: &Request, name: &str) -> Option<String> {
    let value = request.headers.get(name)?;
    if name == "x-amz-date" {
        return Some(value.replace(|c: char| c.is_ascii_digit(), "0"));
    }
    Some(value.replace(&request.headers["host"], "HOST"))
}

/// The parts of the `authorization` header that must be equal: the algorithm and the service, and the names of the
/// signed headers without `x-amz-user-agent`.
fn authorization(request: &Request) -> (String, Vec<String>) {
    let authorization = &request.headers["authorization"];
    let (algorithm, rest) = authorization.split_once(' ').unwrap();
    let mut parts = rest.split(", ").map(|part| part.split_once('=').unwrap());
    let credential = parts.next().unwrap();
    let (signed, headers) = parts.next().unwrap();
    assert_eq!(credential.0, "Credential");
    assert_eq!(signed, "SignedHeaders");
    assert_eq!(parts.next().unwrap().0, "Signature");
    assert_eq!(parts.next(), None);
    let (date, _) = request.headers["x-amz-date"].split_once('T').unwrap();
    let scope = format!("{}/{date}/{REGION}/", credentials().access_key_id());
    let service = credential.1.strip_prefix(&scope).unwrap();
    let headers = headers.split(';').map(str::to_owned);
    let headers = headers.filter(|name| name != "x-amz-user-agent");
    (format!("{algorithm} {service}"), headers.collect())
}
