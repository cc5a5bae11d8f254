//! Copies of the checkout, whose sources can be changed, and the tool run in them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::root;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command as AsyncCommand};
use tokio::sync::OnceCell;
use walkdir::WalkDir;

/// Where the tool is.
const XTASK: &str = "SCRATCHPAD_XTASK";

/// Where the copies are, below target/: what they were made into before is kept with them.
const COPIES: &str = "target/stages-test/checkouts";

/// The copies have no binaries, and what has to be compiled would take minutes. Whoever compiles in one has not found
/// what was built before, and that is a failure.
const ONLY_READS: &str = r#"#!/bin/sh
case "$1" in
  metadata) exec "$SCRATCHPAD_CARGO" "$@" ;;
  *) echo "nothing is to be compiled here: cargo $*" >&2; exit 97 ;;
esac
"#;

/// A checkout of the project.
#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
    /// Whether nothing may be compiled in it.
    only_reads: bool,
}

impl Checkout {
    /// The sources as they are. Everything that they give has been built, and is known in the account.
    pub(crate) async fn clean() -> &'static Self {
        static CLEAN: OnceCell<Checkout> = OnceCell::const_new();
        CLEAN
            .get_or_init(|| async {
                // Built here, and known by dev's release to all.
                let own = Self {
                    root: root().into(),
                    only_reads: false,
                };
                own.run("deploy --stage dev").await.did();
                Self::copy("clean")
            })
            .await
    }

    /// The sources with changes, of which none is one of functions' sources.
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
            only_reads: true,
        };
        let kept = copy.root.join("target");
        for entry in fs::read_dir(&copy.root).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                _ if path == kept => {}
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        for file in files() {
            let to = copy.root.join(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(root().join(&file), to).unwrap();
        }
        for installed in ["node_modules", "web/node_modules", ".venv"] {
            if root().join(installed).exists() {
                symlink(root().join(installed), copy.root.join(installed)).unwrap();
            }
        }
        // What the templates were made from is kept with them: they are taken for the same manifests alone.
        for stages in [
            root().join("target/stages"),
            root().join(COPIES).join("clean/target/stages"),
        ] {
            for stage in fs::read_dir(stages).into_iter().flatten() {
                let stage = stage.unwrap();
                let from = stage.path().join("templates.json");
                let to = copy.root.join("target/stages").join(stage.file_name());
                if from.exists() && !to.join("templates.json").exists() {
                    fs::create_dir_all(&to).unwrap();
                    fs::copy(from, to.join("templates.json")).unwrap();
                }
            }
        }
        let cargo = copy.path("target/programs/cargo");
        fs::create_dir_all(cargo.parent().unwrap()).unwrap();
        fs::write(&cargo, ONLY_READS).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        copy.git(&["init", "--quiet", "--initial-branch", "tests"]);
        copy.git(&["add", "--all"]);
        copy.git(&["commit", "--quiet", "--message", "As it is"]);
        copy
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
        // Not those of a hook that these may run in.
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
            git.env_remove(name);
        }
        assert!(git.status().unwrap().success(), "git {arguments:?}");
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Replaces a text in a file, which must have it.
    pub(crate) fn edit(&self, file: &str, text: &str, by: &str) {
        let path = self.path(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(text), "{file} has no {text:?}");
        fs::write(path, before.replace(text, by)).unwrap();
    }

    /// Adds a text at the end of a file.
    pub(crate) fn append(&self, file: &str, text: &str) {
        let before = fs::read_to_string(self.path(file)).unwrap();
        fs::write(self.path(file), before + text).unwrap();
    }

    /// Makes a file what the last commit has.
    pub(crate) fn restore(&self, file: &str) {
        self.git(&["checkout", "--quiet", "HEAD", "--", file]);
    }

    /// Runs Cargo in this checkout and returns its output. It is offline, so it resolves no newer dependencies: only the
    /// index entries of Cargo.lock and the crates of this platform are downloaded.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> String {
        let mut cargo = Command::new(env!("CARGO"));
        let output = cargo
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.root);
        let output = output.output().unwrap();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {arguments:?}: {failed}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The tool with arguments, which have no spaces in them.
    pub(crate) fn command(&self, arguments: &str) -> AsyncCommand {
        let tool = std::env::var(XTASK).unwrap_or_else(|_| {
            panic!("{XTASK} names no tool: run these by cargo xtask test --stages")
        });
        let mut command = AsyncCommand::new(tool);
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.root)
            .env("CARGO_MANIFEST_DIR", self.path("xtask"))
            .env("NO_COLOR", "1")
            .env("USER", "tester")
            .env_remove("GITHUB_ACTOR")
            .env_remove("GITHUB_HEAD_REF")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // It is killed with all that it started.
            .process_group(0)
            .kill_on_drop(true);
        if self.only_reads {
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

    /// Runs the tool to its end.
    pub(crate) async fn run(&self, arguments: &str) -> Told {
        Running::start(self, arguments).end().await
    }
}

/// The files of the checkout, by their paths in it.
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
    let apart = [".git", ".venv", "cdk.out", "node_modules", "target"];
    let entries = WalkDir::new(root()).into_iter();
    let entries =
        entries.filter_entry(|entry| !apart.iter().any(|apart| entry.file_name() == *apart));
    let files = entries
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    let below = |path: &Path| path.strip_prefix(root()).unwrap().to_owned();
    files.map(|file| below(file.path())).collect()
}

/// The tool at work.
#[derive(Debug)]
pub(crate) struct Running {
    arguments: String,
    child: Child,
}

impl Running {
    pub(crate) fn start(checkout: &Checkout, arguments: &str) -> Self {
        Self::of(checkout.command(arguments), arguments)
    }

    pub(crate) fn of(mut command: AsyncCommand, arguments: &str) -> Self {
        Self {
            arguments: arguments.into(),
            child: command.spawn().unwrap(),
        }
    }

    /// Sends a signal to it and to all that it started.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        // It may be over.
        let Some(id) = self.child.id() else { return };
        let group = rustix::process::Pid::from_raw(id.try_into().unwrap()).unwrap();
        rustix::process::kill_process_group(group, signal).ok();
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Told {
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let (out, err) = tokio::join!(text(out.unwrap()), text(err.unwrap()));
        let status = self.child.wait().await.unwrap();
        Told {
            what: format!("cargo xtask {}", self.arguments),
            succeeded: status.success(),
            said: err + &out,
        }
    }
}

async fn text(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the tool told when it was done.
#[derive(Debug)]
pub(crate) struct Told {
    what: String,
    pub(crate) succeeded: bool,
    said: String,
}

impl Told {
    /// What it said, if it did what it should.
    #[track_caller]
    pub(crate) fn did(self) -> String {
        assert!(self.succeeded, "{} failed:\n{}", self.what, self.said);
        self.said
    }

    /// What it said, if it did not.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.succeeded, "{} succeeded:\n{}", self.what, self.said);
        self.said
    }

    /// What it said, whether it did or not.
    pub(crate) fn said(self) -> String {
        self.said
    }
}
