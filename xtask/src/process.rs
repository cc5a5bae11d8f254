//! Processes of earlier runs.

use std::process::Command;

use rustix::process::Pid;

/// The process of that number, if it still is the one whose command line has `mark` in it: process
/// numbers are given out again.
pub(crate) fn running(pid: i32, mark: &str) -> Option<Pid> {
    let process = Pid::from_raw(pid)?;
    let pid = pid.to_string();
    let shown = Command::new("ps")
        .args(["-o", "stat=,args=", "-p", &pid])
        .output()
        .ok()?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    // A dead process stays until its parent asks for it.
    let dead = shown.trim_start().starts_with('Z');
    (!dead && shown.contains(mark)).then_some(process)
}
