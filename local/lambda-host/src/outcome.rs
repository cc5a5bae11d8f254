//! The result of an invocation: a response, an error, a timeout or an exit of the process.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Deserialize;

/// An error that a function reports to the Runtime API.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionError {
    /// The type of the error, such as `Function.ResponseSizeTooLarge`.
    pub error_type: String,
    /// The message of the error, for developers.
    pub error_message: String,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

/// The result of an invocation, and its duration.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The request id that the function received together with the event.
    pub request_id: String,
    /// How the invocation ended.
    pub outcome: Outcome,
    /// The time from the function's receipt of the event until the invocation ended.
    pub duration: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned this response.
    Response(Bytes),
    /// The function reported an error.
    Error(FunctionError),
    /// The function did not respond by its deadline and was killed.
    TimedOut,
    /// The process exited before the function responded.
    Exited(ExitStatus),
}
