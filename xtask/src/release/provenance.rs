//! The user who runs the command that creates a release, and the commit that the release is built from.

use std::{env, path::Path, process::Command};

/// Returns the name of the user who runs this command: the GitHub user in a workflow, or else the operating system's
/// user.
pub(crate) fn actor() -> String {
    ["GITHUB_ACTOR", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| env::var(name).ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".into())
}

/// The commit that is checked out in a working tree.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// The commit's hash. `None` if `git` fails, for example outside of a Git repository.
    pub(crate) hash: Option<String>,
    /// The name of the branch. `None` if the name is not known, for example outside of a Git repository.
    pub(crate) branch: Option<String>,
    /// Whether the working tree has uncommitted changes. False if `git` fails.
    pub(crate) dirty: bool,
}

impl Commit {
    /// Reads the commit of the working tree at `root` with `git`. In a workflow for a pull request, reads the branch
    /// from the environment variable `GITHUB_HEAD_REF`.
    pub(crate) fn read(root: &Path) -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(arguments)
                .current_dir(root)
                .output()
                .ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(text)
        };
        // In a workflow for a pull request, HEAD is detached, so Git does not know the branch.
        let branch = env::var("GITHUB_HEAD_REF")
            .ok()
            .filter(|branch| !branch.is_empty());
        Self {
            hash: git(&["rev-parse", "HEAD"]),
            branch: branch.or_else(|| git(&["rev-parse", "--abbrev-ref", "HEAD"])),
            dirty: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
        }
    }
}
