//! Integration tests of the functions' binaries. A local implementation of Lambda's Runtime API runs the binaries, and
//! in-memory services replace AWS and others. `cargo xtask test --integration` runs the tests.

// Clippy does not treat helpers outside test functions as test code.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod billing; // part: billing
mod configuration;
mod golden;
mod responses;
mod tls;
mod traces;

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_host::{Host, Invocation, Outcome};
use local_aws::LAMBDA_VARIABLES;
use serde_json::Value;
use test_support::functions::Function;

/// The timeout of each invocation. All invocations are much faster.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns a valid value of an environment variable. `url` is the URL of the local AWS.
fn valid_value(name: &str, url: &str) -> String {
    let value = local_aws::environment_variable(name, url);
    value.unwrap_or_else(|| panic!("add a value for {name} to local/aws"))
}

/// Returns the environment variables of a function, without those that the Lambda runtime library reads. `url` is the
/// URL of the local AWS.
fn environment(function: &Function, url: &str) -> BTreeMap<String, String> {
    let stack = function.variables.iter().map(String::as_str);
    // A function without services does not read the credentials.
    let from_lambda = LAMBDA_VARIABLES
        .into_iter()
        .filter(|_| function.uses_services);
    stack
        .chain(from_lambda)
        .map(|name| (name.to_owned(), valid_value(name, url)))
        .collect()
}

/// Starts a function. `url` is the URL of the local AWS. `variables` are environment variables in addition to those of
/// the function's stack.
async fn start(function: &Function, url: &str, variables: &[(&str, &str)]) -> Host {
    let hosted = lambda_host::Function::new(function.binary());
    let hosted = hosted.with_env(environment(function, url));
    let hosted = hosted.with_env(variables.iter().copied());
    let started = Host::start(hosted).await;
    started.unwrap_or_else(|error| panic!("{}: {error}", function.name))
}

/// Returns the function's response. Panics if the function returned an error or did not respond.
fn response(function: &Function, invocation: Invocation) -> Value {
    match invocation.outcome {
        Outcome::Response(response) => serde_json::from_slice(&response).unwrap(),
        other => panic!("{}: {other:?}", function.name),
    }
}

/// Returns the function's sample event, valid at the current time.
fn event(function: &Function) -> Value {
    local_aws::prepare_event(function.event())
}
