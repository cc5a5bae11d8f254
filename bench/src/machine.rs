//! Determines the date and the machine of a benchmark run, for the report.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use crate::report::Machine;

/// Today's date as YYYY-MM-DD in UTC.
///
/// # Errors
/// Fails if the system's time cannot be formatted.
pub(crate) fn today() -> Result<String> {
    let now = DateTime::from(SystemTime::now()).fmt(Format::DateTime)?;
    let (day, _) = now
        .split_once('T')
        .context("the system time, formatted as a date-time, has no T after the date")?;
    Ok(day.to_owned())
}

/// Returns the CPU model, the number of cores, the operating system and the versions of rustc and Node. A text that
/// cannot be determined is "unknown", and a number of cores that cannot be determined is 0.
pub(crate) fn machine() -> Machine {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']).to_owned());
    let cores = std::thread::available_parallelism();
    Machine {
        cpu: model.unwrap_or_else(unknown),
        cores: cores.map_or(0, std::num::NonZero::get),
        system: output_of("uname", &["-sr"]),
        rustc: output_of("rustc", &["--version"]),
        node: output_of("node", &["--version"]),
    }
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(unknown, |text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".into()
}
