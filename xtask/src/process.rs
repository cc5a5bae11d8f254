//! Finds processes that an earlier xtask run started, and waits for the signals that end the
//! current xtask run.

use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Returns the process with the ID `pid`, if it runs and its command line contains `marker`.
///
/// The system reuses process IDs. The marker distinguishes a process of this project from an
/// unrelated one that has the same ID now.
pub(crate) fn running(pid: i32, marker: &str) -> Option<Pid> {
    let process = Pid::from_raw(pid)?;
    command_line(pid)?.contains(marker).then_some(process)
}

/// Returns a process's command line. `None` if the process does not exist. Empty for a zombie
/// (<https://man7.org/linux/man-pages/man5/proc_pid_cmdline.5.html>).
#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    // Reject the ID of a thread: /proc also has entries for threads other than main threads.
    if process.trim() != pid.to_string() {
        return None;
    }
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&arguments).replace('\0', " "))
}

/// Returns a process's command line. `None` if the process does not exist or is a zombie.
#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "stat=,args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_zombie = output.trim_start().starts_with('Z');
    (!is_zombie).then_some(output)
}

/// Waits for SIGINT (Ctrl-C) or SIGTERM (`cargo xtask stop`).
pub(crate) async fn shutdown_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_is_found_by_its_id_and_part_of_its_command_line() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().try_into().unwrap();
        // Until the child has replaced itself with `sleep`, it has this test's command line.
        while running(pid, "sleep 60").is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(running(pid, "sleep 61"), None);
        child.kill().unwrap();
        // The child is now a zombie, because its parent has not waited for it.
        while running(pid, "sleep").is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(running(pid, "sleep 60"), None);
    }
}
