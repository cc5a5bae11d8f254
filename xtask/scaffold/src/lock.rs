//! Updates the lock files of Cargo and npm.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::Tree;

/// A package manager with a lock file.
struct Manager {
    lock: &'static str,
    /// The name of the files whose changes can change the lock file.
    manifest: &'static str,
    /// The other files that the command reads.
    inputs: &'static [&'static str],
    /// The command that updates the lock file.
    command: &'static [&'static str],
}

const MANAGERS: [Manager; 2] = [
    Manager {
        lock: "Cargo.lock",
        manifest: "Cargo.toml",
        inputs: &["rust-toolchain.toml"],
        command: &["cargo", "update", "--workspace", "--quiet"],
    },
    Manager {
        lock: "package-lock.json",
        manifest: "package.json",
        inputs: &[".npmrc"],
        command: &["npm", "install", "--package-lock-only", "--ignore-scripts"],
    },
];

/// Updates `Cargo.lock` and `package-lock.json` if manifests were changed. Versions stay as they are; packages that nothing
/// needs any more go.
///
/// # Errors
/// Fails if cargo or npm cannot be run, or cannot resolve the dependencies with the packages that they have downloaded.
pub fn lock(tree: &mut Tree) -> Result<()> {
    for manager in MANAGERS {
        let suffix = format!("/{}", manager.manifest);
        let is_manifest = |path: &str| path == manager.manifest || path.ends_with(&suffix);
        if tree.changed()?.into_iter().any(is_manifest) {
            update(tree, &manager, &is_manifest)?;
        }
    }
    Ok(())
}

/// Updates a lock file in a temporary folder with the manifests of the tree.
fn update(tree: &mut Tree, manager: &Manager, is_manifest: &dyn Fn(&str) -> bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for path in tree.files()? {
        let is_input = path == manager.lock || manager.inputs.contains(&path.as_str());
        let content = if is_manifest(&path) || is_input {
            tree.read(&path)?.unwrap_or_default()
        } else if path.ends_with(".rs") {
            // Cargo finds the targets of a package by their files.
            Vec::new()
        } else {
            continue;
        };
        let file = folder.path().join(&path);
        fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
        fs::write(file, content)?;
    }
    let [program, arguments @ ..] = manager.command else {
        return Ok(());
    };
    let run = |more: &[&str]| {
        let mut command = Command::new(program);
        let command = command.args(arguments).args(more);
        let output = command.current_dir(folder.path()).output();
        output.with_context(|| format!("cannot run {program}"))
    };
    // The network is needed only if something was never downloaded.
    let mut output = run(&["--offline"])?;
    if !output.status.success() {
        output = run(&[])?;
    }
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("cannot update {}: {}", manager.lock, reason.trim());
    }
    let lock = fs::read(folder.path().join(manager.lock))?;
    tree.write(manager.lock, lock);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_dependency_goes_from_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let manifest = |name: &str, rest: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n{rest}")
        };
        let used =
            "[dependencies]\nused = { path = \"used\" }\n[workspace]\nmembers = [\"used\"]\n";
        for (path, text) in [
            ("Cargo.toml", manifest("product", used)),
            ("used/Cargo.toml", manifest("used", "")),
            ("src/main.rs", "fn main() {}\n".into()),
            ("used/src/lib.rs", String::new()),
        ] {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let status = command.args(arguments).current_dir(root).status();
            assert!(status.unwrap().success());
        };
        run("git", &["init", "--quiet"]);
        run("cargo", &["generate-lockfile", "--offline", "--quiet"]);
        let mut tree = Tree::open(root);
        lock(&mut tree).unwrap();
        assert!(tree.changed().unwrap().is_empty());
        assert!(
            tree.text("Cargo.lock")
                .unwrap()
                .unwrap()
                .contains("\"used\"")
        );
        tree.write("Cargo.toml", manifest("product", "[workspace]\n"));
        tree.delete("used/Cargo.toml");
        tree.delete("used/src/lib.rs");
        lock(&mut tree).unwrap();
        assert!(
            !tree
                .text("Cargo.lock")
                .unwrap()
                .unwrap()
                .contains("\"used\"")
        );
    }
}
