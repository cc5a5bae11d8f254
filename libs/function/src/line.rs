//! The log line of an invocation: a JSON object with the fields of the invocation and its metrics.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use lambda_runtime::Context;
use metrics::{Dimensions, Emf, Outcome};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use crate::{SettingError, setting};

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The invocation worked, or the client must change the request.
    Info,
    /// A developer must look at the invocation.
    Error,
}

/// A log line of an invocation without its metrics.
#[derive(Debug)]
pub struct Line(Vec<u8>);

impl Line {
    /// Starts a line with the current time and a constant message.
    pub fn new(level: Level, message: &'static str) -> Self {
        let level = match level {
            Level::Info => "INFO",
            Level::Error => "ERROR",
        };
        let mut timestamp = String::with_capacity(32);
        // Writing to a String cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let line =
            format!(r#"{{"timestamp":"{timestamp}","level":"{level}","message":"{message}""#);
        let mut line = line.into_bytes();
        line.reserve(1024);
        Self(line)
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        // Writing a text to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut self.0, value);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.name(name);
        let _ = serde_json::to_writer(&mut self.0, &value);
        self
    }

    /// Adds the request ID of the Lambda invocation, and the ID of its trace if it has one.
    #[must_use]
    pub fn context(self, context: &Context) -> Self {
        let line = self.text("aws_request_id", &context.request_id);
        match context.xray_trace_id.as_deref().and_then(trace_id) {
            Some(id) => line.text("trace_id", id),
            None => line,
        }
    }

    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

/// Returns the trace ID in a trace header, such as `1-5759e988-bd862e3fe1be46a994272793` for
/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn trace_id(header: &str) -> Option<&str> {
    header
        .split(';')
        .find_map(|part| part.trim().strip_prefix("Root="))
}

/// Writes one line per invocation to the log, with the metrics of the invocation. The line is written whatever the log level
/// is, because CloudWatch extracts the metrics from it.
#[derive(Debug)]
pub struct InvocationLog(Emf);

impl InvocationLog {
    /// Reads the dimensions of the metrics from environment variables. If `has_route` is true, the function has a route, and
    /// its requests count for the service level objectives of the route group in `ROUTE_GROUP`.
    ///
    /// # Errors
    /// Fails if an environment variable is missing or malformed.
    pub fn from_env(has_route: bool) -> Result<Self, SettingError> {
        let route_group = setting("ROUTE_GROUP")?;
        let dimensions = Dimensions {
            stage: setting("STAGE")?,
            route_group: has_route.then_some(route_group),
            function: setting("AWS_LAMBDA_FUNCTION_NAME")?,
            version: setting("AWS_LAMBDA_FUNCTION_VERSION")?,
        };
        Ok(Self(Emf::new(&dimensions, setting("USER_HASH_KEY")?)))
    }

    /// Writes `line` with the metrics of the invocation.
    pub fn write(&self, Line(mut line): Line, outcome: Outcome, latency: Duration) {
        self.0.finish(&mut line, outcome, latency);
        line.extend_from_slice(b"}\n");
        // A failure to write the log must not fail the invocation.
        let _ = io::stdout().lock().write_all(&line);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_is_json_whatever_its_texts_contain() {
        let mut context = Context::default();
        context.request_id = "r".into();
        context.xray_trace_id = Some("Parent=b;Root=1-a-c; Sampled=1".into());
        let line = Line::new(Level::Error, "request")
            .text("error", "a \"quoted\"\ntext \u{1}")
            .number("status", 500)
            .context(&context);
        let Line(mut line) = line;
        line.push(b'}');
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["error"], "a \"quoted\"\ntext \u{1}");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["status"], 500);
        assert_eq!(line["aws_request_id"], "r");
        assert_eq!(line["trace_id"], json!("1-a-c"));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
