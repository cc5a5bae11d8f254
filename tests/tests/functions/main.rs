//! The functions' binaries, each alone, as Lambda would run it: a database in memory, no cloud.
//! Run by `cargo xtask test --integration`.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod answers;
mod golden;
mod settings;
mod tls;
mod traces;

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::functions::{self, Function};
use lambda_host::{Host, Invocation, Outcome};
use local_aws::LAMBDA_VARIABLES;
use serde_json::Value;

/// How long any invocation may take. Far more than it does: a test that waits this long fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A good value for every setting of any function, given where the cloud is.
fn good(setting: &str, cloud: &str) -> String {
    let value = local_aws::environment_variable(setting, cloud);
    value.unwrap_or_else(|| panic!("say in local/aws what a good {setting} is"))
}

/// A whole environment of a function, but for what the runtime itself needs.
fn environment(function: &Function, cloud: &str) -> BTreeMap<String, String> {
    let stack = function.variables.iter().map(String::as_str);
    stack
        .chain(LAMBDA_VARIABLES)
        .map(|setting| (setting.to_owned(), good(setting, cloud)))
        .collect()
}

/// Starts a function with these variables besides its whole environment.
async fn start(function: &Function, cloud: &str, more: &[(&str, &str)]) -> Host {
    let hosted = lambda_host::Function::new(function.binary());
    let hosted = hosted.with_env(environment(function, cloud));
    let hosted = hosted.with_env(more.iter().copied());
    let started = Host::start(hosted).await;
    started.unwrap_or_else(|error| panic!("{}: {error}", function.name))
}

/// The function's answer, which must be one.
fn answer(function: &Function, invocation: Invocation) -> Value {
    match invocation.outcome {
        Outcome::Response(answer) => serde_json::from_slice(&answer).unwrap(),
        other => panic!("{}: {other:?}", function.name),
    }
}

/// The function's sample event. That of Stripe's is signed now, as if it had just been sent.
fn event(function: &Function) -> Value {
    local_aws::sign_event(function.event())
}

fn named(name: &str) -> Function {
    let mut all = functions::all().into_iter();
    all.find(|function| function.name == name).unwrap()
}
