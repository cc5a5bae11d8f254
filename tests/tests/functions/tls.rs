//! Tests that the functions connect only to servers whose certificates they trust.

use lambda_host::{Host, Outcome};
use local_aws::Cloud;
use local_tls::{CertificateAuthority, Server, patch_trusted_root};
use tempfile::TempDir;
use test_support::functions::{self, Function};
use tokio::task::JoinSet;

use crate::{DEADLINE, environment, event};

/// The year in which the valid certificates of these tests expire.
pub(crate) const VALID: i32 = 2999;

/// A copy of a function's binary that trusts a test certificate authority in place of one of Amazon's root
/// certificates.
pub(crate) struct PatchedFunction {
    function: Function,
    folder: TempDir,
}

impl PatchedFunction {
    pub(crate) fn new(function: &Function, authority: &CertificateAuthority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(&function.name);
        patch_trusted_root(authority.root(), &function.binary(), &copy).unwrap();
        let function = function.clone();
        Self { function, folder }
    }

    /// Invokes the function with its sample event. `aws` is the URL of AWS, and `others` the URL of all other services.
    /// Returns whether the invocation succeeded, and the function's log.
    pub(crate) async fn succeeds(&self, aws: &str, others: &str) -> (bool, String) {
        let Self { function, folder } = self;
        let mut environment = environment(function, aws);
        for (name, value) in &mut environment {
            if value == aws && name != "AWS_ENDPOINT_URL" {
                *value = others.into();
            }
            // The URL of a queue.
            if let Some(path) = value.strip_prefix("http://127.0.0.1:1/") {
                *value = format!("{aws}/{path}");
            }
        }
        let hosted = lambda_host::Function::new(folder.path().join(&function.name));
        match Host::start(hosted.with_env(environment)).await {
            Ok(mut host) => {
                let event = event(function).to_string();
                let outcome = host.invoke(event, DEADLINE, None).await.outcome;
                let succeeded = match outcome {
                    Outcome::Response(response) => {
                        let response: serde_json::Value =
                            serde_json::from_slice(&response).unwrap();
                        let failures = response["batchItemFailures"].as_array();
                        response["statusCode"].as_u64().unwrap_or(200) < 500
                            && failures.is_none_or(Vec::is_empty)
                    }
                    Outcome::Error(_) => false,
                    other => panic!("{}: {other:?}", function.name),
                };
                (succeeded, host.stop().await.join("\n"))
            }
            Err(lambda_host::StartError::Exited { log, .. }) => (false, log.join("\n")),
            Err(error) => panic!("{}: {error}", function.name),
        }
    }
}

/// Asserts that a function sends no request to any of three servers with invalid certificates, and that it sends
/// requests to a server with a valid certificate.
async fn assert_checks_certificates(function: Function) {
    let [trusted, untrusted] =
        ["trusted", "untrusted"].map(|name| CertificateAuthority::new(name).unwrap());
    let patched = PatchedFunction::new(&function, &trusted);
    let name = &function.name;
    for (identity, error) in [
        (trusted.issue("example.com", VALID), "not valid for name"),
        (trusted.issue("localhost", 2020), "certificate expired"),
        (untrusted.issue("localhost", VALID), "UnknownIssuer"),
    ] {
        let server = Server::start(identity.unwrap()).await.unwrap();
        let cloud = Cloud::start().await.unwrap();
        let (succeeded, log) = patched.succeeds(&server.url(), &cloud.url()).await;
        assert_eq!(
            (succeeded, server.requests()),
            (false, 0),
            "{name}, {error}: {log}"
        );
        assert!(log.contains(error), "{name}, {error}: {log}");
    }
    // If the certificate is valid, the function sends requests.
    let server = Server::start(trusted.issue("localhost", VALID).unwrap())
        .await
        .unwrap();
    let cloud = Cloud::start().await.unwrap();
    let (_, log) = patched.succeeds(&server.url(), &cloud.url()).await;
    assert!(server.requests() > 0, "{name}: {log}");
}

#[tokio::test]
async fn functions_that_call_aws_reject_untrusted_certificates() {
    // A function without a table or a topic makes no calls: it only signs URLs.
    let calls_aws = |function: &Function| {
        let mut variables = function.variables.iter();
        variables.any(|name| name.ends_with("_TABLE") || name.ends_with("_TOPIC"))
    };
    let calling: Vec<_> = functions::with_template()
        .into_iter()
        .filter(calls_aws)
        .collect();
    assert!(calling.len() > 5);
    let calling = calling.into_iter();
    let mut all: JoinSet<()> = calling.map(assert_checks_certificates).collect();
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}
