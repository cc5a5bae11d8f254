//! Runs one function alone, as Lambda would: its binary, in an environment of nothing but what it
//! is given, under an emulated Runtime API
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use lambda_host::{Function, Host, Outcome};
//! use std::time::Duration;
//!
//! let function = Function::new("target/debug/get").with_env([("NOTES_TABLE", "notes-local")]);
//! let mut host = Host::start(function).await?;
//! let invocation = host.invoke("{}", Duration::from_secs(10), None).await;
//! if let Outcome::Answer(answer) = invocation.outcome {
//!     println!("{}", String::from_utf8_lossy(&answer));
//! }
//! println!("init {:?}, duration {:?}", host.init_duration(), invocation.duration);
//! let log = host.stop().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

pub use hyper::body::Bytes;
use serde::Deserialize;

use crate::api::{Event, Report, RuntimeApi};
use crate::process::Process;

/// How long Lambda lets a function take before it asks for its first event.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A function to run. The fields that Lambda gives a default have one.
#[derive(Clone, Debug)]
pub struct Function {
    /// What to run.
    pub binary: PathBuf,
    /// With what arguments: none. For programs that run a function, such as an interpreter.
    pub arguments: Vec<OsString>,
    /// What it is called: by default the binary's name.
    pub name: String,
    /// What its environment has beside the variables that Lambda sets; those of this name come
    /// first, all but `AWS_LAMBDA_RUNTIME_API`.
    pub env: BTreeMap<String, String>,
    /// What it is told of its memory, in MB: 128. Not enforced.
    pub memory_mb: u32,
    /// What it is told of its region: eu-central-1.
    pub region: String,
    /// How long it may take to ask for its first event: 10 s.
    pub init_timeout: Duration,
}

impl Function {
    /// The function of this binary.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let binary = binary.into();
        let name = binary
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            binary,
            arguments: Vec::new(),
            name,
            env: BTreeMap::new(),
            memory_mb: 128,
            region: "eu-central-1".to_owned(),
            init_timeout: INIT_TIMEOUT,
        }
    }

    /// With these variables in its environment.
    pub fn with_env<K: Into<String>, V: Into<String>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(
            env.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// All that the process finds in its environment
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
    fn environment(&self, api: &str) -> BTreeMap<String, String> {
        let root = self.binary.parent().unwrap_or(Path::new("."));
        let mut environment: BTreeMap<_, _> = [
            ("AWS_DEFAULT_REGION", self.region.clone()),
            (
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                self.memory_mb.to_string(),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            (
                "AWS_LAMBDA_LOG_GROUP_NAME",
                format!("/aws/lambda/{}", self.name),
            ),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("LAMBDA_TASK_ROOT", root.to_string_lossy().into_owned()),
            ("TZ", ":UTC".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(self.env.clone());
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), api.to_owned());
        environment
    }
}

/// Why a function did not start. Those of its log lines that there were come with it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process can't be made, or the Runtime API can't listen.
    #[error("{binary} can't be run")]
    Unrunnable {
        /// The function's binary.
        binary: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended before it asked for an event.
    #[error("ended at init with {status}{}", .reported.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// What it told the Runtime API, if it did.
        reported: Option<FunctionError>,
        /// All lines that it wrote.
        log: Vec<String>,
    },
    /// It had not asked for an event when its time was over, and was killed.
    #[error("asked for no event within {timeout:?}")]
    TimedOut {
        /// The time it had.
        timeout: Duration,
        /// All lines that it wrote.
        log: Vec<String>,
    },
}

/// What a function tells Lambda of a failure.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionError {
    /// The kind of error.
    pub error_type: String,
    /// What happened.
    pub error_message: String,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.error_message)
    }
}

/// How one invocation went.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The id that the function was given for it.
    pub request_id: String,
    /// What came of it.
    pub outcome: Outcome,
    /// From the moment the function took the event until its answer was in.
    pub duration: Duration,
}

/// What came of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Answer(Bytes),
    /// It said that it failed.
    Error(FunctionError),
    /// It was not done at its deadline, and was killed.
    TimedOut,
    /// It ended instead of answering.
    Exited(ExitStatus),
}

/// A running function. It is killed when this is dropped.
#[derive(Debug)]
pub struct Host {
    api: RuntimeApi,
    process: Process,
    init_duration: Duration,
    max_memory: Option<u64>,
    invocations: u64,
}

impl Host {
    /// Starts a function and waits until it asks for its first event.
    ///
    /// # Errors
    ///
    /// When it doesn't come to that.
    pub async fn start(function: Function) -> Result<Self, StartError> {
        let unrunnable = |source| StartError::Unrunnable {
            binary: function.binary.clone(),
            source,
        };
        let mut api = RuntimeApi::bind(&function.name, &function.region)
            .await
            .map_err(unrunnable)?;
        let environment = function.environment(api.address());
        let started = Instant::now();
        let mut process = Process::spawn(&function.binary, &function.arguments, environment)
            .map_err(unrunnable)?;

        let timeout = function.init_timeout;
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let mut reported = None;
        loop {
            tokio::select! {
                biased;
                report = api.report() => match report {
                    Report::Next { at } => {
                        let init_duration = at.duration_since(started);
                        let max_memory = process.max_memory();
                        return Ok(Self { api, process, init_duration, max_memory, invocations: 0 });
                    }
                    Report::InitError(error) => reported = Some(error),
                    Report::Taken { .. } | Report::Done { .. } => {}
                },
                status = process.ended() => {
                    let status = status.map_err(unrunnable)?;
                    return Err(StartError::Exited { status, reported, log: process.stop().await });
                }
                () = &mut deadline => {
                    return Err(StartError::TimedOut { timeout, log: process.stop().await });
                }
            }
        }
    }

    /// Gives the function one event and waits for what comes of it, at most until `deadline` from
    /// now; then it is killed, as Lambda does, and further invocations find it exited.
    ///
    /// `trace_header` is what the function gets as `Lambda-Runtime-Trace-Id`, such as
    /// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    pub async fn invoke(
        &mut self,
        event: impl Into<Bytes>,
        deadline: Duration,
        trace_header: Option<&str>,
    ) -> Invocation {
        self.invocations += 1;
        let request_id = format!("00000000-0000-4000-8000-{:012x}", self.invocations);
        let mut taken = Instant::now();
        self.api.offer(Event {
            request_id: request_id.clone(),
            payload: event.into(),
            deadline: SystemTime::now() + deadline,
            trace_header: trace_header.map(str::to_owned),
        });
        let over = tokio::time::sleep(deadline);
        tokio::pin!(over);
        let (outcome, done) = loop {
            tokio::select! {
                biased;
                report = self.api.report() => match report {
                    Report::Taken { at } => taken = at,
                    Report::Done { request_id: id, outcome, at } if id == request_id => break (outcome, at),
                    Report::Next { .. } | Report::InitError(_) | Report::Done { .. } => {}
                },
                status = self.process.ended() => {
                    // A process that was started can be waited for
                    let status = status.unwrap_or_default();
                    break (Outcome::Exited(status), Instant::now());
                }
                () = &mut over => {
                    self.process.kill();
                    break (Outcome::TimedOut, Instant::now());
                }
            }
        };
        self.max_memory = self.max_memory.max(self.process.max_memory());
        Invocation {
            request_id,
            outcome,
            duration: done.saturating_duration_since(taken),
        }
    }

    /// Waits until the function, having answered, asks for the next event. Until then it may still be
    /// at work, and what it has used is not final. Returns whether it asked within `timeout`.
    pub async fn idle(&mut self, timeout: Duration) -> bool {
        let asked = async { while !matches!(self.api.report().await, Report::Next { .. }) {} };
        let asked = tokio::time::timeout(timeout, asked).await.is_ok();
        self.max_memory = self.max_memory.max(self.process.max_memory());
        asked
    }

    /// The time for which the process has been on a CPU until now, all threads together; none where
    /// the system can't say.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.process.cpu_time()
    }

    /// How long it took from the start of the process until it asked for its first event.
    pub fn init_duration(&self) -> Duration {
        self.init_duration
    }

    /// The most memory that the process has had resident up to the latest answer, in bytes; none
    /// where the system can't say.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory
    }

    /// The lines that the function has written so far to its output and its error output, as far
    /// as they have come through.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Ends the function and gives all lines that it wrote.
    pub async fn stop(self) -> Vec<String> {
        self.process.stop().await
    }

    /// Asks the function to end, as SIGTERM does, and waits until it has, at most for `timeout`: what
    /// runs it may have something left to write. Gives all lines that it wrote.
    pub async fn terminate(self, timeout: Duration) -> Vec<String> {
        self.process.terminate(timeout).await
    }
}
