//! What the machine has to have, and what is installed into the checkout.

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

/// A program that has to be there.
struct Needed {
    name: &'static str,
    program: &'static str,
    least: (u32, u32),
    get: &'static str,
}

const NEEDED: [Needed; 3] = [
    Needed {
        name: "Node",
        program: "node",
        least: (20, 0),
        get: "Get it from https://nodejs.org, or by your system's package manager (nodejs and npm).",
    },
    Needed {
        name: "npm",
        program: "npm",
        least: (9, 0),
        get: "It comes with Node from https://nodejs.org; some systems have it as a package of its own (npm).",
    },
    Needed {
        name: "Python",
        program: "python3",
        least: (3, 10),
        get: "Get it from https://www.python.org, or by your system's package manager (python3 and python3-venv).",
    },
];

/// Checks that the machine has what is needed, and installs the pinned tools into the checkout.
///
/// # Errors
/// Says what is missing, and where to get it.
pub(crate) async fn prepare(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for needed in &NEEDED {
        match version(needed.program).await {
            Some(version) if version >= needed.least => {}
            found => {
                let (major, minor) = needed.least;
                let found = found.map_or("not found".into(), |(major, minor)| {
                    format!("found {major}.{minor}")
                });
                missing.push(format!(
                    "{} {major}.{minor} or newer is needed ({found}). {}",
                    needed.name, needed.get
                ));
            }
        }
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n  "));
    }
    // One installs, and others that begin meanwhile wait for it.
    fs::create_dir_all(workspace.target())?;
    let lock = File::create(workspace.target().join("tools.lock"))?;
    lock.lock()?;
    install_node(workspace).await?;
    install_python(workspace).await
}

/// Browsers that the tests can drive, by the names that systems give them.
const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The browser that the tests drive: what `CHROMIUM` names, or the first that the machine has.
///
/// # Errors
/// Says where to get one when there is none.
pub(crate) fn browser() -> Result<PathBuf> {
    let named = env::var("CHROMIUM").ok();
    let known = BROWSERS.map(String::from);
    let path = env::var_os("PATH").unwrap_or_default();
    for browser in named.into_iter().chain(known) {
        // An absolute path stays as it is.
        let mut places = env::split_paths(&path).map(|folder| folder.join(&browser));
        if let Some(found) = places.find(|place| place.is_file()) {
            return Ok(found);
        }
    }
    bail!(
        "Chromium or Chrome is needed to test the browser app (not found). Get it by your system's \
         package manager (chromium), or name one by the environment variable CHROMIUM."
    )
}

/// The version that a program says it has.
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
    let stamp = Stamp::of(
        root,
        &["package.json", "package-lock.json"],
        "node_modules/.installed",
    )?;
    if stamp.holds() {
        return Ok(());
    }
    let step = Step::begin("install the tools of package.json");
    let mut npm = ui::command("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=http"])
        .current_dir(root);
    run(&step, &mut npm).await?;
    stamp.set()?;
    step.done("");
    Ok(())
}

async fn install_python(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let stamp = Stamp::of(root, &["requirements.txt"], ".venv/.installed")?;
    if stamp.holds() && workspace.python().exists() {
        return Ok(());
    }
    let step = Step::begin("install the tools of requirements.txt");
    let mut venv = ui::command("python3");
    venv.args(["-m", "venv", "--clear", ".venv"])
        .current_dir(root);
    run(&step, &mut venv)
        .await
        .context("some systems have venv as a package of its own (python3-venv)")?;
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
    stamp.set()?;
    step.done("");
    Ok(())
}

/// Says what something was last made from.
struct Stamp {
    path: PathBuf,
    digest: String,
}

impl Stamp {
    fn of(root: &Path, sources: &[&str], stamp: &str) -> Result<Self> {
        let mut hash = Sha256::new();
        for source in sources {
            hash.update(
                fs::read(root.join(source)).with_context(|| format!("{source} cannot be read"))?,
            );
        }
        Ok(Self {
            path: root.join(stamp),
            digest: URL_SAFE_NO_PAD.encode(hash.finalize()),
        })
    }

    fn holds(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|digest| digest == self.digest)
    }

    fn set(&self) -> Result<()> {
        fs::write(&self.path, &self.digest)
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(parse_version("v20.11.1\n"), Some((20, 11)));
        assert_eq!(parse_version("Python 3.11.7"), Some((3, 11)));
        assert_eq!(parse_version("11.19.1"), Some((11, 19)));
        assert_eq!(parse_version("no such thing"), None);
    }
}
