use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long the last lines have to come through when the process has ended. They come at once,
/// unless it left a process behind that holds its output open.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A function's process and what it writes.
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
        readers.extend(child.stdout.take().map(|output| read(output, &log)));
        readers.extend(child.stderr.take().map(|output| read(output, &log)));
        Ok(Self {
            child,
            log,
            readers,
        })
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub(crate) fn kill(&mut self) {
        // Fails only for one that has ended
        let _ = self.child.start_kill();
    }

    /// Asks the process to end, and waits for it at most for `timeout`.
    pub(crate) async fn terminate(mut self, timeout: Duration) -> Vec<String> {
        if let Some(pid) = self.pid() {
            // Fails only for one that has ended
            let _ = signal::kill(pid, signal::SIGTERM);
            let _ = tokio::time::timeout(timeout, self.child.wait()).await;
        }
        self.stop().await
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id()?.try_into().ok().map(Pid::from_raw)
    }

    /// The time that the process has been on a CPU, all threads together.
    #[cfg(target_os = "linux")]
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let clock = nix::time::ClockId::pid_cpu_clock_id(self.pid()?).ok()?;
        clock.now().ok().map(Duration::from)
    }

    /// Other systems have no clock for it.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        None
    }

    /// Ends the process and waits for its last lines.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        let _ = self.child.kill().await;
        let readers = std::mem::take(&mut self.readers);
        let _ = tokio::time::timeout(LAST_LINES, async {
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

    /// The most memory the process has had resident, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn max_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        kilobytes(peak.trim().strip_suffix(" kB")?)
    }

    /// The memory the process has resident now, in bytes: all that `ps` can say.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn max_memory(&self) -> Option<u64> {
        let id = self.child.id()?.to_string();
        let output = std::process::Command::new("ps")
            .args(["-o", "rss=", "-p", &id])
            .output()
            .ok()?;
        kilobytes(std::str::from_utf8(&output.stdout).ok()?.trim())
    }
}

fn kilobytes(number: &str) -> Option<u64> {
    number.parse::<u64>().ok()?.checked_mul(1024)
}

fn read(
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
