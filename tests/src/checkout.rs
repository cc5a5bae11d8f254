//! Copies of this checkout, in which tests run commands that change the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::workspace::root;

/// A copy of this checkout with one commit. It shares the installed tools, and has a copy of what Cargo has compiled.
#[derive(Debug)]
pub struct Checkout(PathBuf);

/// What Cargo has compiled: the dependencies do not have to be compiled again in a copy.
const COMPILED: [&str; 3] = ["deps", ".fingerprint", "build"];

impl Checkout {
    /// Copies this checkout to `target/NAME/checkout`, without ignored files. Replaces an earlier copy.
    pub fn new(name: &str) -> Self {
        let folder = root().join("target").join(name).join("checkout");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        let arguments = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ];
        let files = Command::new("git")
            .args(arguments)
            .current_dir(root())
            .output()
            .unwrap();
        for file in String::from_utf8(files.stdout)
            .unwrap()
            .split_terminator('\0')
        {
            // git also lists files that are deleted on disk only.
            if root().join(file).is_file() {
                let copy = folder.join(file);
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::copy(root().join(file), copy).unwrap();
            }
        }
        for tools in ["node_modules", ".venv"] {
            std::os::unix::fs::symlink(root().join(tools), folder.join(tools)).unwrap();
        }
        let compiled = folder.join("target/debug");
        fs::create_dir_all(&compiled).unwrap();
        let parts = COMPILED.map(|part| root().join("target/debug").join(part));
        let copied = Command::new("cp")
            .arg("-a")
            .args(parts)
            .arg(&compiled)
            .status();
        assert!(copied.unwrap().success());
        let checkout = Self(folder);
        for command in [
            "git init --quiet --initial-branch main",
            "git config user.name Tester && git config user.email tester@example.com",
            "git add --all && git commit --quiet --message 'Copy the checkout'",
        ] {
            checkout.succeeds(command);
        }
        checkout
    }

    /// The root folder of the copy.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Runs a shell command in the root folder, without the environment variables that this test has from Cargo and xtask, and
    /// with those that earlier commands have exported.
    pub fn run(&self, command: &str) -> Output {
        let mut shell = Command::new("bash");
        let script = format!(
            "set -o allexport; [ -f target/environment ] && . target/environment\n{command}\ncode=$?; export -p > target/environment; exit $code"
        );
        shell
            .args(["-c", &script])
            .current_dir(&self.0)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("SCRATCHPAD_")
            {
                shell.env_remove(name);
            }
        }
        shell.env("NO_COLOR", "1");
        shell.output().unwrap()
    }

    /// Runs a shell command, which must succeed. Returns what it printed, stdout before stderr.
    pub fn succeeds(&self, command: &str) -> String {
        let output = self.run(command);
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(
            output.status.success(),
            "{command} failed:\n{}",
            text.concat()
        );
        text.concat()
    }
}
