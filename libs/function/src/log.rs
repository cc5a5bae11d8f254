//! The log of a function: one JSON object per line on standard output. Each object has a constant
//! message, and fields that contain the variable values.

use std::str::FromStr;

use tracing::Level;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{error::StartError, settings::setting};

/// The prefixes of the `tracing` targets whose spans and events are disabled, because they would cost more time than the work
/// that they report: those of dependencies, and of libs/aws and libs/xray. A test of the repository's rules checks that all
/// dependencies of functions that use `tracing` are listed.
const DISABLED_TARGETS: &[&str] = &[
    "aws",
    "hyper",
    "lambda_runtime",
    "stripe", // part: billing
    "tower",
    "xray",
];

/// Installs the log with the level in the environment variable `LOG_LEVEL`. Also installs X-Ray
/// tracing if Lambda has enabled it.
///
/// # Errors
/// Fails if an environment variable is missing or malformed. Installs the log nevertheless, so that
/// the caller can log the error. If `LOG_LEVEL` is missing or malformed, the level is `info`.
pub(crate) fn install() -> Result<(), StartError> {
    let level = setting::<LogLevel>("LOG_LEVEL");
    let max_level = level.as_ref().map_or(Level::INFO, |level| level.0);
    let own_crates = |level: Level| {
        let disabled = DISABLED_TARGETS.iter().copied();
        let disabled = disabled.map(|target| (target, LevelFilter::OFF));
        Targets::new().with_default(level).with_targets(disabled)
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_filter(own_crates(max_level));
    let (traces, malformed) = match xray::layer(own_crates(Level::INFO)) {
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
