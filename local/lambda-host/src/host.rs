//! Starts a function and invokes it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;

use crate::api::{Event, Report, RuntimeApi};
use crate::function::Function;
use crate::outcome::{FunctionError, Invocation, Outcome};
use crate::process::Process;

/// The reason why a function did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process cannot be spawned, or the Runtime API cannot listen on a port.
    #[error("cannot start the program {binary}")]
    Spawn {
        /// The path of the program in [`Function::binary`].
        binary: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The process exited before it requested an event.
    #[error("the function exited during init with {status}{}", .reported.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Exited {
        /// The exit status of the process.
        status: ExitStatus,
        /// The error that the function reported to the Runtime API. None if it reported no error.
        reported: Option<FunctionError>,
        /// All lines that the function wrote to stdout and stderr.
        log: Vec<String>,
    },
    /// The function did not request an event within [`Function::init_timeout`], and was killed.
    #[error("the function requested no event within {timeout:?}")]
    TimedOut {
        /// The value of [`Function::init_timeout`].
        timeout: Duration,
        /// All lines that the function wrote to stdout and stderr.
        log: Vec<String>,
    },
}

/// A running function. The function's process is killed when this value is dropped.
#[derive(Debug)]
pub struct Host {
    api: RuntimeApi,
    process: Process,
    init_duration: Duration,
    max_memory: Option<u64>,
    invocations: u64,
}

impl Host {
    /// Starts a function and waits until it requests its first event.
    ///
    /// # Errors
    ///
    /// Fails if the process cannot be spawned, exits, or requests no event within
    /// [`Function::init_timeout`].
    pub async fn start(function: Function) -> Result<Self, StartError> {
        let spawn_error = |source| StartError::Spawn {
            binary: function.binary.clone(),
            source,
        };
        let mut api = RuntimeApi::bind(&function.name, &function.region)
            .await
            .map_err(spawn_error)?;
        let environment = function.environment(api.address());
        let started = Instant::now();
        let mut process = Process::spawn(&function.binary, &function.arguments, environment)
            .map_err(spawn_error)?;

        let timeout = function.init_timeout;
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let mut reported = None;
        loop {
            tokio::select! {
                biased;
                report = api.report() => match report {
                    Report::Ready { at } => {
                        let init_duration = at.duration_since(started);
                        let max_memory = process.max_memory();
                        return Ok(Self { api, process, init_duration, max_memory, invocations: 0 });
                    }
                    Report::InitError(error) => reported = Some(error),
                    Report::Received { .. } | Report::Completed { .. } => {}
                },
                status = process.wait() => {
                    let status = status.map_err(spawn_error)?;
                    return Err(StartError::Exited { status, reported, log: process.stop().await });
                }
                () = &mut deadline => {
                    return Err(StartError::TimedOut { timeout, log: process.stop().await });
                }
            }
        }
    }

    /// Sends the function one event and waits for the result. As in Lambda, a function that does
    /// not respond within `deadline` is killed. Later invocations then return [`Outcome::Exited`].
    ///
    /// `trace_header` is the value of the header `Lambda-Runtime-Trace-Id`, such as
    /// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    pub async fn invoke(
        &mut self,
        event: impl Into<Bytes>,
        deadline: Duration,
        trace_header: Option<&str>,
    ) -> Invocation {
        self.invocations += 1;
        let request_id = format!("00000000-0000-4000-8000-{:012x}", self.invocations);
        let mut received = Instant::now();
        self.api.send(Event {
            request_id: request_id.clone(),
            payload: event.into(),
            deadline: SystemTime::now() + deadline,
            trace_header: trace_header.map(str::to_owned),
        });
        let timeout = tokio::time::sleep(deadline);
        tokio::pin!(timeout);
        let (outcome, completed) = loop {
            tokio::select! {
                biased;
                report = self.api.report() => match report {
                    Report::Received { at } => received = at,
                    Report::Completed { request_id: id, outcome, at } if id == request_id => break (outcome, at),
                    Report::Ready { .. } | Report::InitError(_) | Report::Completed { .. } => {}
                },
                status = self.process.wait() => {
                    // `wait` does not fail for a child process.
                    let status = status.unwrap_or_default();
                    break (Outcome::Exited(status), Instant::now());
                }
                () = &mut timeout => {
                    self.process.kill();
                    break (Outcome::TimedOut, Instant::now());
                }
            }
        };
        self.max_memory = self.max_memory.max(self.process.max_memory());
        Invocation {
            request_id,
            outcome,
            duration: completed.saturating_duration_since(received),
        }
    }

    /// Waits until the function requests the next event. Between its response and this request, the
    /// function may still use CPU and memory. Returns true if the function requests the event
    /// within `timeout`, and false otherwise.
    pub async fn wait_until_idle(&mut self, timeout: Duration) -> bool {
        let ready = async { while !matches!(self.api.report().await, Report::Ready { .. }) {} };
        let is_ready = tokio::time::timeout(timeout, ready).await.is_ok();
        self.max_memory = self.max_memory.max(self.process.max_memory());
        is_ready
    }

    /// The CPU time that all threads of the process have used so far. None if the operating system
    /// does not report it.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.process.cpu_time()
    }

    /// The time from the start of the process until it requested its first event.
    pub fn init_duration(&self) -> Duration {
        self.init_duration
    }

    /// The peak resident memory of the process, in bytes. It is measured at the end of init, of
    /// each invocation and of each call of [`Host::wait_until_idle`]. None if the operating system
    /// does not report it.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory
    }

    /// The lines that the function has written to stdout and stderr. The latest lines may be
    /// missing, because a background task reads them.
    pub fn log(&self) -> Vec<String> {
        self.process.log()
    }

    /// Kills the function and returns all lines that it wrote to stdout and stderr.
    pub async fn stop(self) -> Vec<String> {
        self.process.stop().await
    }

    /// Sends SIGTERM to the function, waits at most `timeout` until it exits, and then kills it. If
    /// the process is a program that runs the function, such as a profiler, it can write its
    /// results during the wait. Returns all lines that the process wrote to stdout and stderr.
    pub async fn terminate(self, timeout: Duration) -> Vec<String> {
        self.process.terminate(timeout).await
    }
}
