//! Copies of the checkout in which a test can change sources and run `cargo xtask`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use test_support::root;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::sync::OnceCell;
use walkdir::WalkDir;

use crate::roles;

/// The environment variable that contains the path of the xtask binary.
const XTASK_VARIABLE: &str = "SCRATCHPAD_XTASK";

/// The folder that contains the copies of the checkout. The target folder of each copy is kept for the next run of the
/// tests.
const COPIES: &str = "target/stages-test/checkouts";

/// The folders in which xtask keeps the artifacts that were built, and records what they were
/// built from.
const BUILT: &[&str] = &[
    "target/built",
    "target/lambda/packed",
    "target/stages/app", // part: web
];

/// The script that replaces `cargo` in the copies of the checkout. It runs only `cargo metadata` and fails otherwise,
/// because each test must reuse the artifacts that were built before. Compiling in a copy would take minutes.
const READ_ONLY_CARGO: &str = r#"#!/bin/sh
case "$1" in
  metadata) exec "$SCRATCHPAD_CARGO" "$@" ;;
  *) echo "compiling is not allowed in this checkout: cargo $*" >&2; exit 97 ;;
esac
"#;

/// A checkout of the project: the original, or a copy of it.
#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
    /// Whether xtask uses [`READ_ONLY_CARGO`] instead of Cargo in this checkout.
    is_read_only: bool,
}

impl Checkout {
    /// Returns a copy of the checkout with unchanged sources. The artifacts of these sources are built, and the stage dev
    /// runs them.
    pub(crate) async fn clean() -> &'static Self {
        static CLEAN: OnceCell<Checkout> = OnceCell::const_new();
        CLEAN
            .get_or_init(|| async {
                // Build the artifacts, which all copies of the checkout reuse.
                let original = Self {
                    root: root().into(),
                    is_read_only: false,
                };
                original.run("build --stage dev").await.success();
                original.run("deploy --stage dev").await.success();
                Self::copy("clean")
            })
            .await
    }

    /// Creates a copy of the checkout, calls `change` to edit the files of the copy, and commits the edits. The edits
    /// must not affect the functions' binaries.
    pub(crate) async fn changed(name: &str, change: impl FnOnce(&Self)) -> Self {
        Self::clean().await;
        let copy = Self::copy(name);
        change(&copy);
        copy.git(&[
            "commit",
            "--all",
            "--allow-empty",
            "--quiet",
            "--message",
            name,
        ]);
        copy
    }

    fn copy(name: &str) -> Self {
        let copy = Self {
            root: root().join(COPIES).join(name),
            is_read_only: true,
        };
        let target = copy.root.join("target");
        for entry in fs::read_dir(&copy.root).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                _ if path == target => {}
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        for file in files() {
            let to = copy.root.join(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root().join(&file), to).unwrap();
        }
        let installed = [
            "node_modules",
            "web/node_modules", // part: web
            ".venv",
        ];
        for installed in installed {
            if root().join(installed).exists() {
                symlink(root().join(installed), copy.root.join(installed)).unwrap();
            }
        }
        // Copy cached templates. This is safe, because xtask reuses them only if the hash of their inputs is equal.
        for stages in [
            root().join("target/stages"),
            root().join(COPIES).join("clean/target/stages"),
        ] {
            for stage in fs::read_dir(stages).into_iter().flatten() {
                let stage = stage.unwrap();
                let to = copy.root.join("target/stages").join(stage.file_name());
                for cached in fs::read_dir(stage.path()).into_iter().flatten() {
                    let from = cached.unwrap().path();
                    let to = to.join(from.file_name().unwrap());
                    if from.extension().is_some_and(|kind| kind == "json") && !to.exists() {
                        fs::create_dir_all(to.parent().unwrap()).unwrap();
                        fs::copy(from, to).unwrap();
                    }
                }
            }
        }
        // Reuse the artifacts that were built in the checkout. This is safe too, because xtask reuses them only if the hash
        // of their sources is equal.
        for folder in BUILT {
            copy.link(folder);
        }
        let cargo = copy.path("target/programs/cargo");
        fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        fs::write(&cargo, READ_ONLY_CARGO).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        copy.git(&["init", "--quiet", "--initial-branch", "tests"]);
        copy.git(&["add", "--all"]);
        copy.git(&["commit", "--quiet", "--message", "Copy the checkout"]);
        copy
    }

    /// Replaces the files in a folder of this copy by hard links to the files in the same folder of the checkout.
    fn link(&self, folder: &str) {
        for entry in WalkDir::new(root().join(folder)) {
            let entry = entry.unwrap();
            let to = self.path(entry.path().strip_prefix(root()).unwrap().to_str().unwrap());
            if entry.file_type().is_dir() {
                fs::create_dir_all(to).unwrap();
            } else {
                fs::remove_file(&to).ok();
                fs::hard_link(entry.path(), to).unwrap();
            }
        }
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args([
            "-c",
            "user.name=Tests",
            "-c",
            "user.email=tests@example.com",
        ])
        .args(arguments)
        .current_dir(&self.root);
        // These variables are set if the tests run in a git hook.
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
            git.env_remove(name);
        }
        assert!(git.status().unwrap().success(), "git {arguments:?} failed");
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Replaces `text` in a file by `replacement`. Panics if the file does not contain `text`.
    pub(crate) fn edit(&self, file: &str, text: &str, replacement: &str) {
        let path = self.path(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(text), "{file} does not contain {text:?}");
        fs::write(path, before.replace(text, replacement)).unwrap();
    }

    /// Appends a text to a file.
    pub(crate) fn append(&self, file: &str, text: &str) {
        let before = fs::read_to_string(self.path(file)).unwrap();
        fs::write(self.path(file), before + text).unwrap();
    }

    /// Restores a file to its content in the last commit.
    pub(crate) fn restore(&self, file: &str) {
        self.git(&["checkout", "--quiet", "HEAD", "--", file]);
    }

    /// Runs Cargo offline in this checkout, and returns the standard output. In offline mode, Cargo cannot resolve
    /// newer dependencies, because only the crates of Cargo.lock are downloaded.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> String {
        let mut cargo = Command::new(env!("CARGO"));
        let output = cargo
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.root);
        let output = output.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "cargo {arguments:?} failed: {errors}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Creates a command that runs xtask in this checkout. `arguments` contains the arguments, separated by spaces. If a
    /// workflow of the repository runs the command, it has the credentials of the workflow's role.
    pub(crate) fn command(&self, arguments: &str) -> AsyncCommand {
        let xtask = std::env::var(XTASK_VARIABLE).unwrap_or_else(|_| {
            panic!("{XTASK_VARIABLE} is not set to the xtask binary: run these tests with cargo xtask test --stages")
        });
        let mut command = AsyncCommand::new(xtask);
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.root)
            .env("CARGO_MANIFEST_DIR", self.path("xtask"))
            .env("AWS_CONFIG_FILE", roles::configuration_for(arguments))
            .env("NO_COLOR", "1")
            .env("USER", "tester")
            .env_remove("GITHUB_ACTOR")
            .env_remove("GITHUB_HEAD_REF")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal to the process group also reaches the child processes.
            .process_group(0)
            .kill_on_drop(true);
        if self.is_read_only {
            let programs = self.path("target/programs");
            let mut path = OsString::from(&programs);
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            command
                .env("PATH", path)
                .env("CARGO", programs.join("cargo"))
                .env("SCRATCHPAD_CARGO", env!("CARGO"));
        }
        command
    }

    /// Runs xtask in this checkout, and waits until xtask exits.
    pub(crate) async fn run(&self, arguments: &str) -> Output {
        Running::start(self, arguments).wait().await
    }
}

/// Returns the paths of the source files in the checkout, relative to the checkout.
fn files() -> BTreeSet<PathBuf> {
    let list = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let listed = Command::new("git").args(list).current_dir(root()).output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        let names = String::from_utf8(listed.stdout).unwrap();
        let names = names.split_terminator('\0').map(PathBuf::from);
        return names.filter(|name| root().join(name).is_file()).collect();
    }
    let excluded = [".git", ".venv", "cdk.out", "node_modules", "target"];
    let entries = WalkDir::new(root()).into_iter();
    let entries =
        entries.filter_entry(|entry| !excluded.iter().any(|name| entry.file_name() == *name));
    let files = entries
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_owned();
    files.map(|file| relative(file.path())).collect()
}

/// A running xtask process.
#[derive(Debug)]
pub(crate) struct Running {
    arguments: String,
    child: Child,
}

impl Running {
    pub(crate) fn start(checkout: &Checkout, arguments: &str) -> Self {
        Self::spawn(checkout.command(arguments), arguments)
    }

    pub(crate) fn spawn(mut command: AsyncCommand, arguments: &str) -> Self {
        Self {
            arguments: arguments.into(),
            child: command.spawn().unwrap(),
        }
    }

    /// Sends a signal to the xtask process and its child processes.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        // The process may have exited.
        let Some(id) = self.child.id() else { return };
        let group = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
        rustix::process::kill_process_group(group, signal).ok();
    }

    /// Whether the xtask process has exited.
    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the xtask process exits. Returns what it printed.
    pub(crate) async fn wait(mut self) -> Output {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let (out, err) = tokio::join!(text(out.unwrap()), text(err.unwrap()));
        let status = self.child.wait().await.unwrap();
        roles::check_calls(&self.arguments);
        Output {
            command: format!("cargo xtask {}", self.arguments),
            succeeded: status.success(),
            text: err + &out,
        }
    }
}

async fn text(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The result of an xtask command that has exited.
#[derive(Debug)]
pub(crate) struct Output {
    command: String,
    pub(crate) succeeded: bool,
    /// The text on standard error, followed by the text on standard output.
    text: String,
}

impl Output {
    /// Returns the text that the command printed. Panics if the command failed.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.succeeded, "{} failed:\n{}", self.command, self.text);
        self.text
    }

    /// Returns the text that the command printed. Panics if the command succeeded.
    #[track_caller]
    pub(crate) fn failure(self) -> String {
        assert!(
            !self.succeeded,
            "{} succeeded:\n{}",
            self.command, self.text
        );
        self.text
    }

    /// Returns the text that the command printed, whether the command succeeded or failed.
    pub(crate) fn text(self) -> String {
        self.text
    }
}
