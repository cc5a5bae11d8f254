//! The error of a function that cannot start, and the formatting of errors for the log.

use std::error::Error;

/// The error of a function that cannot start. Its text names the environment variable or the call
/// that failed.
pub type StartError = Box<dyn Error + Send + Sync>;

/// Formats an error and all its sources for the log: on one line, separated by colons.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
