//! The log: one JSON object a line on standard output, a constant message and fields.

use std::str::FromStr;

use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{StartError, setting};

/// Our own crates that log or take part in traces. The SDK's and hyper's spans and events stay
/// out: they cost more than the work they report.
const OURS: [&str; 8] = [
    "api",
    "billing",
    "dynamodb",
    "function",
    "idempotency",
    "notes",
    "notify",
    "secrets",
];

/// Installs the log at the level that the setting `LOG_LEVEL` says, and tracing where Lambda has it
/// on.
///
/// # Errors
/// Names the setting that is missing or malformed. It is logged all the same, at `info`.
pub(crate) fn install() -> Result<(), StartError> {
    let level = setting::<LogLevel>("LOG_LEVEL");
    let most = level.as_ref().map_or(Level::INFO, |level| level.0);
    let ours = |level: Level| Targets::new().with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_filter(ours(most));
    let (traces, malformed) = match xray::layer(ours(Level::INFO)) {
        Ok(traces) => (Some(traces), None),
        Err(error) => (None, Some(error)),
    };
    tracing_subscriber::registry()
        .with(traces)
        .with(lines)
        .init();
    level?;
    malformed.map_or(Ok(()), |error| Err(error.into()))
}

struct LogLevel(Level);

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(level: &str) -> Result<Self, Self::Err> {
        Ok(Self(match level {
            "error" => Level::ERROR,
            "warn" => Level::WARN,
            "info" => Level::INFO,
            "debug" => Level::DEBUG,
            "trace" => Level::TRACE,
            _ => return Err("it must be error, warn, info, debug or trace"),
        }))
    }
}
