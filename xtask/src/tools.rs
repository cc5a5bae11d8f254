//! Checks the programs that must be on the machine, and installs the pinned tools into the checkout.
//!
//! A C compiler is needed too, but this module does not check it: without a C compiler, Cargo could not have built
//! xtask.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{
    ui::{self, Step, run},
    workspace::Workspace,
};

/// A program that must be on the machine, and its minimum version.
struct Requirement {
    name: &'static str,
    program: &'static str,
    minimum: (u32, u32),
    how_to_get: &'static str,
}

const REQUIREMENTS: [Requirement; 3] = [
    Requirement {
        name: "Node",
        program: "node",
        minimum: (20, 0),
        how_to_get: "Get it from https://nodejs.org, or install nodejs and npm with your system's package manager.",
    },
    Requirement {
        name: "npm",
        program: "npm",
        minimum: (9, 0),
        how_to_get: "It is part of Node from https://nodejs.org. Some systems have a separate package: npm.",
    },
    Requirement {
        name: "Python",
        program: "python3",
        minimum: (3, 10),
        how_to_get: "Get it from https://www.python.org, or install python3 and python3-venv with your system's package manager.",
    },
];

/// Checks that the machine has all required programs, and installs the tools of package.json and requirements.txt
/// into the checkout.
///
/// # Errors
/// Fails if a program is missing or too old, or if a tool cannot be installed. The message names all missing programs
/// and says where to get them.
pub(crate) async fn prepare(workspace: &Workspace) -> Result<()> {
    check_requirements(workspace).await?;
    // If several processes prepare the tools at once, one installs them and the others wait.
    fs::create_dir_all(workspace.target())?;
    let lock = File::create(workspace.target().join("tools.lock"))?;
    lock.lock()?;
    install_node(workspace).await?;
    install_python(workspace).await
}

/// Checks that the machine has all required programs.
///
/// # Errors
/// Fails if a program is missing or too old. The error message names each such program, and says where to get it.
pub(crate) async fn check_requirements(workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    for requirement in &REQUIREMENTS {
        problems.extend(problem(requirement).await);
    }
    if problems.is_empty() && !python_is_installed(workspace)? && !has_venv().await {
        problems.push(
            "the Python modules venv and ensurepip are needed (not found). \
             Install python3-venv with your system's package manager."
                .into(),
        );
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n  "));
    }
    Ok(())
}

/// Returns a message if a required program is missing or too old. `None` if the program is recent enough.
async fn problem(requirement: &Requirement) -> Option<String> {
    let found = version(requirement.program).await;
    if found.is_some_and(|version| version >= requirement.minimum) {
        return None;
    }
    let found = found.map_or("not found".into(), |(major, minor)| {
        format!("found {major}.{minor}")
    });
    let (major, minor) = requirement.minimum;
    Some(format!(
        "{} {major}.{minor} or newer is needed ({found}). {}",
        requirement.name, requirement.how_to_get
    ))
}

/// Whether Python can create a virtual environment. On Debian, this needs the package `python3-venv` in addition to
/// `python3`.
async fn has_venv() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]);
    let output = python.stdin(Stdio::null()).output().await;
    output.is_ok_and(|output| output.status.success())
}

/// Returns the path of the program `name`. The error message contains `purpose`, which needs the program, and
/// `package`, the operating system's package that contains the program.
///
/// # Errors
/// Fails if the program is not in `PATH`. The message says how to install the program.
pub(crate) fn find_program(name: &str, purpose: &str, package: &str) -> Result<PathBuf> {
    find_in_path(name).with_context(|| {
        format!(
            "{name} is needed for {purpose} (not found). Install {package} with your system's package manager."
        )
    })
}

// part: billing or web {
/// The program names and paths of the browsers that the tests can use.
const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
// part: billing or web }

// part: billing or web {
/// Returns the path of the browser for the tests: the browser that the environment variable `CHROMIUM` names, or else
/// the first browser of [`BROWSERS`] that exists.
///
/// # Errors
/// Fails if no browser exists. The message says where to get a browser.
pub(crate) fn find_browser() -> Result<PathBuf> {
    let named = env::var("CHROMIUM").ok();
    let known = BROWSERS.map(String::from);
    let mut names = named.into_iter().chain(known);
    names.find_map(|name| find_in_path(&name)).context(
        "Chromium or Chrome is needed for tests (not found). Install chromium with \
         your system's package manager, or set the environment variable CHROMIUM to the path of a browser.",
    )
}
// part: billing or web }

/// Finds a program in the folders of `PATH`. An absolute path is returned unchanged if the file exists.
fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Joining an absolute path returns that path.
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(name));
    candidates.find(|candidate| candidate.is_file())
}

/// Returns the major and minor version that `program --version` prints. `None` if the program cannot be run or prints
/// no version.
async fn version(program: &str) -> Option<(u32, u32)> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = digits.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

async fn install_node(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let stamp = InstallStamp::new(
        root,
        &["package.json", "package-lock.json"],
        "node_modules/.installed",
    )?;
    if stamp.is_current() {
        return Ok(());
    }
    remove_link(&root.join("node_modules"))?;
    let step = Step::begin("install the tools of package.json");
    let mut npm = ui::command("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=http"])
        .current_dir(root);
    run(&step, &mut npm).await?;
    stamp.write()?;
    step.done("");
    Ok(())
}

async fn install_python(workspace: &Workspace) -> Result<()> {
    if python_is_installed(workspace)? {
        return Ok(());
    }
    let root = workspace.root();
    remove_link(&root.join(".venv"))?;
    let step = Step::begin("install the tools of requirements.txt");
    let mut venv = ui::command("python3");
    venv.args(["-m", "venv", "--clear", ".venv"])
        .current_dir(root);
    run(&step, &mut venv).await?;
    let mut pip = ui::command(workspace.python());
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        "requirements.txt",
    ]);
    run(&step, pip.current_dir(root)).await?;
    python_stamp(workspace)?.write()?;
    step.done("");
    Ok(())
}

/// Removes a symbolic link to the tools of another checkout, so that installing other tools does not delete those.
///
/// # Errors
/// Fails if the link cannot be removed.
fn remove_link(folder: &Path) -> Result<()> {
    if folder.is_symlink() {
        fs::remove_file(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// Whether the tools of the current requirements.txt are installed.
fn python_is_installed(workspace: &Workspace) -> Result<bool> {
    Ok(python_stamp(workspace)?.is_current() && workspace.python().exists())
}

fn python_stamp(workspace: &Workspace) -> Result<InstallStamp> {
    InstallStamp::new(workspace.root(), &["requirements.txt"], ".venv/.installed")
}

/// A file that contains the hash of the manifests, such as package.json, from which the tools were installed. `digest`
/// is the hash of the current manifests.
struct InstallStamp {
    path: PathBuf,
    digest: String,
}

impl InstallStamp {
    /// Hashes the current manifests. The paths in `manifests` and the path `stamp` are relative to `root`.
    fn new(root: &Path, manifests: &[&str], stamp: &str) -> Result<Self> {
        let mut hash = Sha256::new();
        for manifest in manifests {
            hash.update(
                fs::read(root.join(manifest)).with_context(|| format!("cannot read {manifest}"))?,
            );
        }
        Ok(Self {
            path: root.join(stamp),
            digest: URL_SAFE_NO_PAD.encode(hash.finalize()),
        })
    }

    /// Whether the tools were installed from the current manifests.
    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|digest| digest == self.digest)
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.digest)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_parsed_from_the_output_of_node_python_and_npm() {
        assert_eq!(parse_version("v20.11.1\n"), Some((20, 11)));
        assert_eq!(parse_version("Python 3.11.7"), Some((3, 11)));
        assert_eq!(parse_version("11.19.1"), Some((11, 19)));
        assert_eq!(parse_version("no such thing"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_tools_of_another_checkout_is_removed_and_they_stay() {
        let folder = tempfile::tempdir().unwrap();
        let [tools, link] = ["tools", "node_modules"].map(|name| folder.path().join(name));
        fs::create_dir(&tools).unwrap();
        std::os::unix::fs::symlink(&tools, &link).unwrap();
        for _ in 0..2 {
            remove_link(&link).unwrap();
            remove_link(&tools).unwrap();
        }
        assert!(tools.is_dir() && !link.exists());
    }

    #[test]
    fn missing_program_error_says_how_to_get_it() {
        let error = find_program("no-such-program", "this test", "no-such-package").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-program is needed for this test (not found). \
             Install no-such-package with your system's package manager."
        );
    }
}
