//! A line of a log: its fields, and how it is shown.

use aws_smithy_types::date_time::{DateTime, Format};
use console::{Style, style};
use serde_json::{Map, Value};

/// The source of the lines of the access log.
pub(super) const GATEWAY: &str = "gateway";

/// A line of a log, as CloudWatch returns it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// When CloudWatch says that the line was written, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// The name of the function, or [`GATEWAY`].
    pub(super) source: String,
    /// The log stream. An instance of a function writes to one stream.
    pub(super) stream: String,
    pub(super) message: String,
}

/// The fields of a line that are shown at the beginning, or whose values other lines show.
const SHOWN_ELSEWHERE: [&str; 21] = [
    "_aws",
    "timestamp",
    "level",
    "message",
    "target",
    "method",
    "route",
    "status",
    "duration_ms",
    "aws_request_id",
    "trace_id",
    "error",
    "Stage",
    "RouteGroup",
    "FunctionName",
    "Version",
    "Latency",
    "Requests",
    "latency_ms",
    "integration_latency_ms",
    "time",
];

/// The names under which a line may have the time of its event. The access log has the time at which the gateway received
/// the request, in milliseconds since the Unix epoch.
const TIMES: [&str; 2] = ["timestamp", "time"];

/// The lines with which Lambda reports what it does with an instance.
const PLATFORM: [&str; 6] = [
    "START",
    "END",
    "REPORT",
    "INIT_START",
    "INIT_REPORT",
    "EXTENSION",
];

/// How a line or a call is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    Normal,
    /// A refusal, such as a response with a status of 4xx or a condition that was false.
    Refused,
    /// A failure.
    Failed,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Normal => Style::new(),
            Self::Refused => Style::new().yellow(),
            Self::Failed => Style::new().red(),
        }
    }
}

/// A parsed line of a log.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// In microseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) source: String,
    fields: Map<String, Value>,
    /// The whole line, if it is not JSON.
    text: String,
}

impl Line {
    pub(super) fn parse(record: &Record) -> Self {
        let fields = serde_json::from_str::<Map<String, Value>>(&record.message);
        let text = match fields {
            Ok(_) => String::new(),
            Err(_) => record.message.clone(),
        };
        let fields = fields.unwrap_or_default();
        // A function's own time is more precise. Some clouds give all lines of an invocation the same time.
        let at = TIMES.iter().find_map(|name| time(fields.get(*name)?));
        Self {
            at: at.unwrap_or(record.at * 1000),
            source: record.source.clone(),
            fields,
            text,
        }
    }

    /// The texts of a field that has one text, or a list of them.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match self.fields.get(name) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            value => value.and_then(Value::as_str).into_iter().collect(),
        }
    }

    /// The text of a field. Empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let text = self.fields.get(name).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.fields.get(name)? {
            // API Gateway writes all values as texts.
            Value::String(text) => text.parse().ok(),
            value => value.as_f64(),
        }
    }

    /// Whether the line is one with which Lambda reports what it does.
    pub(super) fn is_platform(&self) -> bool {
        let first = self.text.split([' ', ':', '\t']).next().unwrap_or_default();
        PLATFORM.contains(&first)
    }

    /// Whether the line is Lambda's report about an invocation.
    pub(super) fn is_report(&self) -> bool {
        self.text.starts_with("REPORT ")
    }

    /// Lambda's ID of the invocation, if the line names it.
    pub(super) fn invocation(&self) -> Option<&str> {
        let field = self.text("aws_request_id");
        // API Gateway writes - if it invoked no function.
        if !["", "-"].contains(&field) {
            return Some(field);
        }
        let (_, rest) = self.text.split_once("RequestId: ")?;
        rest.split_whitespace().next()
    }

    /// The ID of the trace, without the other parts of a trace header.
    pub(super) fn trace(&self) -> Option<&str> {
        let mut parts = self.text("trace_id").split(';');
        let root = parts.next().unwrap_or_default();
        let root = root.strip_prefix("Root=").unwrap_or(root);
        (!root.is_empty()).then_some(root)
    }

    /// The duration in milliseconds of what the line is about.
    pub(super) fn duration(&self) -> Option<f64> {
        self.number("duration_ms")
            .or_else(|| self.number("Latency"))
            .or_else(|| self.number("latency_ms"))
    }

    /// Whether the line counts the metric `name`.
    pub(super) fn counts(&self, name: &str) -> bool {
        self.number(name).is_some_and(|value| value > 0.0)
    }

    /// Whether the line is the one that a function writes at the end of an invocation.
    pub(super) fn is_last(&self) -> bool {
        self.fields.contains_key("_aws") && self.fields.contains_key("Requests")
            || ["request", "event handled", "event failed"].contains(&self.text("message"))
    }

    pub(super) fn tone(&self) -> Tone {
        let status = self.number("status").unwrap_or_default();
        let is_crash = |text: &str| {
            [
                "Task timed out",
                "Runtime exited",
                "Status: timeout",
                "Status: error",
                "panicked",
            ]
            .iter()
            .any(|sign| text.contains(sign))
        };
        if self.text("level") == "ERROR"
            || status >= 500.0
            || self.counts("Faults")
            || is_crash(&self.text)
        {
            Tone::Failed
        } else if status >= 400.0 || self.text("level") == "WARN" {
            Tone::Refused
        } else {
            Tone::Normal
        }
    }

    /// What the line says, on one line.
    pub(super) fn what(&self) -> String {
        if !self.text.is_empty() {
            return self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        let mut parts = Vec::new();
        let message = self.text("message");
        for name in ["method", "route"] {
            parts.push(self.text(name).to_owned());
        }
        if parts.iter().all(String::is_empty) {
            parts.push(message.to_owned());
        }
        if let Some(status) = self.number("status") {
            parts.push(format!("{status:.0}"));
        }
        let error = self.text("error");
        // API Gateway writes - if there is no value.
        if !["", "-"].contains(&error) {
            parts.push(error.to_owned());
        }
        for (name, value) in &self.fields {
            let is_zero = value.as_f64() == Some(0.0);
            if SHOWN_ELSEWHERE.contains(&name.as_str())
                || is_zero
                || *value == ""
                || *value == "-"
                || value.is_null()
            {
                continue;
            }
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            parts.push(format!("{name}={value}"));
        }
        parts.retain(|part| !part.is_empty());
        // A value must not break the line.
        parts.join(" ").replace(['\n', '\r'], " ")
    }
}

/// Parses the time in a field: a text in the format of RFC 3339, or milliseconds since the Unix epoch. Returns
/// microseconds since the Unix epoch.
fn time(value: &Value) -> Option<u64> {
    let millis = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    if let Some(millis) = millis {
        return millis.checked_mul(1000);
    }
    let time = DateTime::from_str(value.as_str()?, Format::DateTimeWithOffset).ok()?;
    u64::try_from(time.as_nanos() / 1000).ok()
}

/// Formats a row of the output. `at` is in microseconds since the Unix epoch, and `duration` in milliseconds.
pub(super) fn row(
    at: u64,
    duration: Option<f64>,
    source: &str,
    width: usize,
    what: &str,
    tone: Tone,
) -> String {
    let duration = duration.map(|duration| match duration {
        0.0..100.0 => format!("{duration:.1} ms"),
        _ => format!("{duration:.0} ms"),
    });
    format!(
        "{}  {:>9}  {}  {}",
        style(clock_time(at)).dim(),
        duration.unwrap_or_default(),
        style(format!("{source:width$}")).cyan(),
        tone.style().apply_to(what)
    )
}

/// Formats a time in UTC with milliseconds. `at` is in microseconds since the Unix epoch.
fn clock_time(at: u64) -> String {
    let seconds = i64::try_from(at / 1_000_000).unwrap_or(i64::MAX);
    let time = DateTime::from_secs(seconds).fmt(Format::DateTime);
    let time = time.unwrap_or_default();
    let time = time.trim_end_matches('Z').replacen('T', " ", 1);
    format!("{time}.{:03}", at / 1000 % 1000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(source: &str, message: &str) -> Line {
        Line::parse(&Record {
            at: 1_763_632_801_999,
            source: source.into(),
            stream: "s".into(),
            message: message.into(),
        })
    }

    #[test]
    fn a_request_shows_its_route_status_cause_and_ids_but_not_its_metrics_format() {
        let request = line(
            "notes-create",
            &json!({
                "_aws": {"Timestamp": 1}, "timestamp": "2025-11-20T10:00:01.999123Z", "level": "ERROR", "message": "request",
                "method": "POST", "route": "/notes", "status": 503, "duration_ms": 812, "request_id": "r1",
                "aws_request_id": "a1", "trace_id": "1-5759e988-bd862e3fe1be46a994272793", "note_id": "n1",
                "error": "DynamoDB did not respond", "Requests": 1, "Faults": 1, "ColdStarts": 0, "Stage": "dev",
            })
            .to_string(),
        );
        assert_eq!(
            request.what(),
            "POST /notes 503 DynamoDB did not respond Faults=1 note_id=n1 request_id=r1"
        );
        assert_eq!(request.tone(), Tone::Failed);
        assert_eq!(request.invocation(), Some("a1"));
        assert_eq!(request.trace(), Some("1-5759e988-bd862e3fe1be46a994272793"));
        let row = row(
            request.at,
            request.duration(),
            "notes-create",
            20,
            &request.what(),
            Tone::Normal,
        );
        let row = console::strip_ansi_codes(&row).into_owned();
        assert!(
            row.starts_with(
                "2025-11-20 10:00:01.999     812 ms  notes-create          POST /notes 503"
            ),
            "{row}"
        );
    }

    #[test]
    fn lines_of_lambda_name_the_invocation() {
        let start = line("notes-get", "START RequestId: a1 Version: $LATEST");
        assert_eq!(
            (start.invocation(), start.is_platform()),
            (Some("a1"), true)
        );
        let timeout = line(
            "notes-get",
            "REPORT RequestId: a1\tDuration: 10000.00 ms\tStatus: timeout",
        );
        assert_eq!(timeout.invocation(), Some("a1"));
        assert_eq!((timeout.is_report(), timeout.tone()), (true, Tone::Failed));
        let other = line("notes-get", "thread 'main' panicked at\nsrc/main.rs");
        assert_eq!((other.is_platform(), other.tone()), (false, Tone::Failed));
        assert_eq!(other.what(), "thread 'main' panicked at src/main.rs");
    }

    #[test]
    fn values_of_the_access_log_are_texts() {
        let access = line(
            GATEWAY,
            &json!({
                "time": "1763632801500", "request_id": "r1", "method": "GET", "route": "/notes", "status": "403",
                "latency_ms": "3", "aws_request_id": "-",
            })
            .to_string(),
        );
        assert_eq!(access.at, 1_763_632_801_500_000);
        assert_eq!(access.duration(), Some(3.0));
        assert_eq!(access.tone(), Tone::Refused);
        assert_eq!(access.invocation(), None);
    }
}
