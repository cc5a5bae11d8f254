//! Errors of the start, and their form in the log.

use std::error::Error;

/// Why a function cannot start. Its text names the environment variable or the call that failed.
pub type StartError = Box<dyn Error + Send + Sync>;

/// An error and its chain of causes, on one line, for the log.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
