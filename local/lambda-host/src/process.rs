//! Starts and stops the process of a function, and reads its output, CPU time and memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The maximum time to wait for the last lines of output after the process has exited. These lines
/// arrive immediately unless a child process of the function keeps the output open.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// A running process, and the lines that it has written to stdout and stderr.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn spawn(
        binary: &Path,
        arguments: &[OsString],
        environment: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = Arc::default();
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|output| read_lines(output, &log)));
        readers.extend(child.stderr.take().map(|output| read_lines(output, &log)));
        Ok(Self {
            child,
            log,
            readers,
        })
    }

    /// Waits until the process exits.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub(crate) fn kill(&mut self) {
        // Fails only if the process has exited.
        let _ = self.child.start_kill();
    }

    /// Sends SIGTERM to the process, waits at most `timeout` until the process exits, and then
    /// kills it. Returns all lines that the process wrote to stdout and stderr.
    pub(crate) async fn terminate(mut self, timeout: Duration) -> Vec<String> {
        if let Some(pid) = self.pid() {
            // Fails only if the process has exited.
            let _ = kill_process(pid, Signal::TERM);
            let _ = tokio::time::timeout(timeout, self.child.wait()).await;
        }
        self.stop().await
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id()?.try_into().ok()?)
    }

    /// The CPU time that all threads of the process have used so far. None if the process has
    /// exited.
    #[cfg(target_os = "linux")]
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        // With nix, because rustix has no clock_getcpuclockid.
        let pid = nix::unistd::Pid::from_raw(self.child.id()?.try_into().ok()?);
        let clock = nix::time::ClockId::pid_cpu_clock_id(pid).ok()?;
        clock.now().ok().map(Duration::from)
    }

    /// Always None, because only Linux has a clock for the CPU time of another process.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        None
    }

    /// Kills the process and returns all lines that it wrote to stdout and stderr.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        let _ = self.child.kill().await;
        let readers = std::mem::take(&mut self.readers);
        let _ = tokio::time::timeout(LAST_LINES_TIMEOUT, async {
            for reader in readers {
                let _ = reader.await;
            }
        })
        .await;
        self.log()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The peak resident memory of the process, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn max_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        parse_kilobytes(peak.trim().strip_suffix(" kB")?)
    }

    /// The current resident memory of the process, in bytes. `ps` does not report the peak.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn max_memory(&self) -> Option<u64> {
        let id = self.child.id()?.to_string();
        let output = std::process::Command::new("ps")
            .args(["-o", "rss=", "-p", &id])
            .output()
            .ok()?;
        parse_kilobytes(std::str::from_utf8(&output.stdout).ok()?.trim())
    }
}

/// Parses a number of kilobytes and returns the number of bytes. None if the text is not a number.
fn parse_kilobytes(number: &str) -> Option<u64> {
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// Starts a task that appends the lines of `output` to `log` until `output` ends.
fn read_lines(
    output: impl AsyncRead + Send + Unpin + 'static,
    log: &Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
            line.clear();
        }
    })
}
