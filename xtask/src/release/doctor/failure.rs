//! The failure of a query, which makes a check unknown.

use std::{error::Error, fmt, iter::successors};

use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Why a query failed. Its text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code that an AWS service gave for the error, such as `AccessDenied`. Empty for other failures.
    pub(crate) code: String,
    message: String,
}

impl Failure {
    /// Creates a failure from the error response of an AWS service.
    pub(crate) fn answered(code: impl Into<String>, message: &str) -> Self {
        Self {
            code: code.into(),
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }

    /// Creates a failure that no AWS service reported.
    pub(crate) fn new(message: &str) -> Self {
        Self::answered("", message)
    }

    /// Adds a remark in parentheses to the text.
    pub(crate) fn with(self, remark: &str) -> Self {
        Self {
            message: format!("{} ({remark})", self.message),
            ..self
        }
    }

    /// Creates a failure from an error and its sources.
    pub(crate) fn from_error(error: &(dyn Error + 'static)) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in successors(Some(error), |&error| error.source()) {
            let text = error.to_string();
            // Some errors repeat the text of their source.
            if !texts.iter().any(|known| known.contains(&text)) {
                texts.push(text);
            }
        }
        Self::new(&texts.join(": "))
    }

    /// Creates a failure from an error of an AWS client.
    pub(crate) fn of_aws(error: &(impl ProvideErrorMetadata + Error + 'static)) -> Self {
        match error.code() {
            Some(code) => Self::answered(code, error.message().unwrap_or_default()),
            None => Self::from_error(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (code, "") => f.write_str(code),
            (code, message) => write!(f, "{code}: {message}"),
        }
    }
}

impl Error for Failure {}
