//! Shows the progress and the results of xtask commands in the terminal. A command consists of steps. Each running step
//! has one line with its progress. The full output of a program is shown only if the program fails.

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
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// The progress lines of all running steps. Steps can run concurrently.
static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A running step of an xtask command. The terminal shows the step as a line with a spinner until this value is
/// dropped.
pub(crate) struct Step {
    name: String,
    bar: ProgressBar,
    started: Instant,
}

impl Step {
    /// Starts a step and shows its line. `name` is a verb phrase, such as "start the local cloud".
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

    /// Shows `what` after the name of the step. `what` is the item that the step is processing now.
    pub(crate) fn at(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Ends a successful step. A permanent line with `outcome` and the duration replaces the step's line.
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

/// Runs `work` without the lines of running steps, because a program that `work` runs shows its own progress.
pub(crate) async fn without_progress<T>(work: impl Future<Output = T>) -> T {
    LINES.set_draw_target(ProgressDrawTarget::hidden());
    let result = work.await;
    LINES.set_draw_target(ProgressDrawTarget::stderr());
    result
}

/// Runs `work` as a step, whose line shows only `name` and the duration.
pub(crate) async fn step<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let step = Step::begin(name);
    let result = work.await?;
    step.done("");
    Ok(result)
}

/// The maximum number of lines that an error message shows from the end of a failed program's output.
const SHOWN_LINES: usize = 60;

/// Returns a command that runs `program` with an empty standard input.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a command as part of a step, and shows the command's latest line of output in the step's line. Returns the
/// command's standard output.
///
/// # Errors
/// Fails if the command cannot be started or exits with an error. The message contains the last lines of the command's
/// output.
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
        .with_context(|| format!("cannot start {program}"))?;
    let mut received = output_lines(&mut child);
    let mut output = Vec::new();
    while let Some(line) = received.recv().await {
        let plain = console::strip_ansi_codes(&line.text).trim().to_owned();
        if !plain.is_empty() {
            step.at(plain);
        }
        output.push(line);
    }
    let status = child.wait().await?;
    if !status.success() {
        let from = output.len().saturating_sub(SHOWN_LINES);
        let shown: Vec<_> = output
            .iter()
            .skip(from)
            .map(|line| line.text.as_str())
            .collect();
        bail!("{program} failed ({status}):\n{}", shown.join("\n"));
    }
    Ok(output
        .into_iter()
        .filter(|line| line.is_stdout)
        .map(|line| line.text + "\n")
        .collect())
}

/// A line that a command wrote to its standard output or standard error.
struct OutputLine {
    is_stdout: bool,
    text: String,
}

/// Returns a channel that receives the lines of a child process's standard output and standard error, in the order in
/// which the lines arrive.
fn output_lines(child: &mut Child) -> mpsc::UnboundedReceiver<OutputLine> {
    let (lines, received) = mpsc::unbounded_channel();
    for (is_stdout, pipe) in [
        (true, child.stdout.take().map(boxed)),
        (false, child.stderr.take().map(boxed)),
    ] {
        let (Some(pipe), lines) = (pipe, lines.clone()) else {
            continue;
        };
        tokio::spawn(async move {
            let mut read = BufReader::new(pipe).lines();
            while let Ok(Some(text)) = read.next_line().await {
                if lines.send(OutputLine { is_stdout, text }).is_err() {
                    break;
                }
            }
        });
    }
    received
}

fn boxed(pipe: impl AsyncRead + Send + Unpin + 'static) -> Box<dyn AsyncRead + Send + Unpin> {
    Box::new(pipe)
}

/// Prints a line for the developer on standard error, above the progress lines.
pub(crate) fn say(line: impl AsRef<str>) {
    LINES.suspend(|| eprintln!("{}", line.as_ref()));
}

/// Prints a line of an xtask command's result on standard output.
pub(crate) fn print(line: impl AsRef<str>) {
    // The write fails if the reader has closed the pipe, as `head` does.
    let _ = LINES.suspend(|| writeln!(stdout(), "{}", line.as_ref()));
}

/// Prints the last line of a successful xtask command on standard error. The line says what the command did.
pub(crate) fn success(line: impl AsRef<str>) {
    say(format!("{} {}", style("✓").green(), line.as_ref()));
}

/// Prints an error and its causes on standard error.
pub(crate) fn failure(error: &anyhow::Error) {
    say(format!("{} {error:#}", style("✗").red()));
}

/// Returns `number` with its noun, which gets an "s" if `number` is not 1: "1 line", "2 lines".
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
