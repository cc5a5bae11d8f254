//! What the developer sees: a line per step, alive while the step works, and commands whose output
//! is shown when they fail.

use std::{
    ffi::OsStr,
    future::Future,
    io::{Write as _, stdout},
    process::Stdio,
    sync::LazyLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    sync::mpsc,
};

/// The lines of all steps at work: some work side by side.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// One step at work.
pub(crate) struct Step {
    name: String,
    bar: ProgressBar,
    started: Instant,
}

impl Step {
    /// Begins a step.
    pub(crate) fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        let bar = LINES.add(ProgressBar::new_spinner());
        if bar.is_hidden() {
            eprintln!("… {name}");
        }
        if let Ok(spinner) =
            ProgressStyle::with_template("{spinner:.cyan} {prefix} {msg:.dim} {elapsed:.dim}")
        {
            bar.set_style(spinner);
        }
        bar.set_prefix(name.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            name,
            bar,
            started: Instant::now(),
        }
    }

    /// Says what the step is at.
    pub(crate) fn at(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Ends a step that did what it should.
    pub(crate) fn done(self, outcome: &str) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f32();
        let outcome = if outcome.is_empty() {
            String::new()
        } else {
            format!(" {outcome}")
        };
        say(format!(
            "{} {}{outcome} {}",
            style("✓").green(),
            self.name,
            style(format!("{seconds:.1} s")).dim()
        ));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Runs a step whose work says nothing in between.
pub(crate) async fn step<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let step = Step::begin(name);
    let result = work.await?;
    step.done("");
    Ok(result)
}

/// Lines of a failed command that are shown.
const SHOWN: usize = 60;

/// A command that asks nothing.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a command as part of a step. Returns its standard output.
///
/// # Errors
/// With the end of its output when it fails.
pub(crate) async fn run(step: &Step, command: &mut Command) -> Result<String> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let (lines, mut received) = mpsc::unbounded_channel();
    for (is_stdout, pipe) in [
        (true, child.stdout.take().map(boxed)),
        (false, child.stderr.take().map(boxed)),
    ] {
        let (Some(pipe), lines) = (pipe, lines.clone()) else {
            continue;
        };
        tokio::spawn(async move {
            let mut read = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = read.next_line().await {
                if lines.send((is_stdout, line)).is_err() {
                    break;
                }
            }
        });
    }
    drop(lines);
    let mut all = Vec::new();
    while let Some((is_stdout, line)) = received.recv().await {
        let plain = console::strip_ansi_codes(&line).trim().to_owned();
        if !plain.is_empty() {
            step.at(plain);
        }
        all.push((is_stdout, line));
    }
    let status = child.wait().await?;
    if !status.success() {
        let from = all.len().saturating_sub(SHOWN);
        let shown: Vec<_> = all
            .iter()
            .skip(from)
            .map(|(_, line)| line.as_str())
            .collect();
        bail!("{program} failed ({status}):\n{}", shown.join("\n"));
    }
    Ok(all
        .into_iter()
        .filter(|(is_stdout, _)| *is_stdout)
        .map(|(_, line)| line + "\n")
        .collect())
}

fn boxed(pipe: impl AsyncRead + Send + Unpin + 'static) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(pipe)
}

/// Says that the developer can go on.
pub(crate) fn say(line: impl AsRef<str>) {
    LINES.suspend(|| eprintln!("{}", line.as_ref()));
}

/// A line of what was asked for, on standard output.
pub(crate) fn print(line: impl AsRef<str>) {
    // Whoever reads it may have read enough.
    let _ = LINES.suspend(|| writeln!(stdout(), "{}", line.as_ref()));
}

/// Says why nothing more is done.
pub(crate) fn failure(error: &anyhow::Error) {
    say(format!("{} {error:#}", style("✗").red()));
}
