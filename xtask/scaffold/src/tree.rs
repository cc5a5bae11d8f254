//! The files of a checkout with changes that are not written yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use similar::TextDiff;

/// The files of a checkout, with changes that are only in memory until [`Tree::apply`] writes them. Paths are relative to the
/// root of the checkout, with `/` between folders.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
    /// The new contents of the changed files. `None` for a file to delete.
    changes: BTreeMap<String, Option<Vec<u8>>>,
}

impl Tree {
    /// Opens the checkout in the folder `root`.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            changes: BTreeMap::new(),
        }
    }

    /// The root folder of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the content of a file, with its changes. `None` if the file does not exist.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.changes.get(path) {
            Some(changed) => Ok(changed.clone()),
            None => self.stored(path),
        }
    }

    /// Returns the text of a file, with its changes. `None` if the file does not exist or is not UTF-8.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let content = self.read(path)?;
        Ok(content.and_then(|content| String::from_utf8(content).ok()))
    }

    /// Creates a file, or replaces its content.
    pub fn write(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.changes.insert(path.into(), Some(content.into()));
    }

    /// Deletes a file.
    pub fn delete(&mut self, path: impl Into<String>) {
        self.changes.insert(path.into(), None);
    }

    /// Returns the paths of all files that git tracks or would track, with the changes: without deleted files, and with new
    /// ones.
    ///
    /// # Errors
    /// Fails if git fails, for example because the folder is not a checkout.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let git = git.current_dir(&self.root).output();
        let git = git.context("cannot run git")?;
        if !git.status.success() {
            let reason = String::from_utf8_lossy(&git.stderr);
            bail!("git ls-files failed: {}", reason.trim());
        }
        let names = String::from_utf8(git.stdout)?;
        let mut files: BTreeSet<String> = names.split_terminator('\0').map(Into::into).collect();
        // git also lists files that are deleted on disk only.
        files.retain(|path| self.root.join(path).symlink_metadata().is_ok());
        for (path, content) in &self.changes {
            match content {
                Some(_) => files.insert(path.clone()),
                None => files.remove(path),
            };
        }
        Ok(files)
    }

    /// Returns the paths of the files that [`Tree::apply`] would create, change or delete.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn changed(&self) -> Result<Vec<&str>> {
        let mut changed = Vec::new();
        for (path, content) in &self.changes {
            if self.stored(path)? != *content {
                changed.push(path.as_str());
            }
        }
        Ok(changed)
    }

    /// Returns the changes as a unified diff, which `git apply` accepts if all files are text.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn diff(&self) -> Result<String> {
        let mut diff = String::new();
        for path in self.changed()? {
            let (before, after) = (self.stored(path)?, self.read(path)?);
            let name = |side: &str, content: &Option<Vec<u8>>| match content {
                Some(_) => format!("{side}/{path}"),
                None => "/dev/null".into(),
            };
            let (old, new) = (name("a", &before), name("b", &after));
            writeln!(diff, "diff --git a/{path} b/{path}")?;
            match (before.is_none(), after.is_none()) {
                (true, _) => writeln!(diff, "new file mode 100644")?,
                (_, true) => writeln!(diff, "deleted file mode 100644")?,
                _ => {}
            }
            let text = |content: Option<Vec<u8>>| String::from_utf8(content.unwrap_or_default());
            match (text(before), text(after)) {
                (Ok(before), Ok(after)) => {
                    let lines = TextDiff::from_lines(&before, &after);
                    let unified = lines.unified_diff().header(&old, &new).to_string();
                    diff.push_str(&unified);
                }
                _ => writeln!(diff, "Binary files {old} and {new} differ")?,
            }
        }
        Ok(diff)
    }

    /// Writes all changes to the checkout. Deletes the folders that become empty.
    ///
    /// # Errors
    /// Fails if a file cannot be written or deleted. Earlier changes then stay written.
    pub fn apply(&mut self) -> Result<()> {
        for (path, content) in std::mem::take(&mut self.changes) {
            let file = self.root.join(&path);
            match content {
                Some(content) if self.stored(&path)?.as_ref() != Some(&content) => {
                    let folder = file.parent().unwrap_or(&self.root);
                    let written =
                        fs::create_dir_all(folder).and_then(|()| fs::write(&file, content));
                    written.with_context(|| format!("cannot write {}", file.display()))?;
                }
                Some(_) => {}
                None => {
                    match fs::remove_file(&file) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(error)
                                .with_context(|| format!("cannot delete {}", file.display()));
                        }
                        _ => {}
                    }
                    let folders = file
                        .ancestors()
                        .skip(1)
                        .take_while(|folder| *folder != self.root);
                    // remove_dir fails if the folder is not empty.
                    let _ = folders
                        .map(fs::remove_dir)
                        .take_while(Result::is_ok)
                        .count();
                }
            }
        }
        Ok(())
    }

    /// Returns the content of a file on disk.
    fn stored(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let file = self.root.join(path);
        match fs::read(&file) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checkout() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let git = Command::new("git")
            .args(["init", "--quiet"])
            .current_dir(folder.path())
            .status();
        assert!(git.unwrap().success());
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/one.txt"), "one\ntwo\n").unwrap();
        let tree = Tree::open(folder.path());
        (folder, tree)
    }

    #[test]
    fn changes_are_written_all_at_once() {
        let (folder, mut tree) = checkout();
        tree.delete("a/one.txt");
        tree.write("b/c/two.txt", "2\n");
        assert!(folder.path().join("a/one.txt").exists());
        assert_eq!(tree.text("a/one.txt").unwrap(), None);
        assert_eq!(tree.text("b/c/two.txt").unwrap().unwrap(), "2\n");
        assert_eq!(
            tree.files().unwrap(),
            BTreeSet::from(["b/c/two.txt".to_owned()])
        );
        tree.apply().unwrap();
        assert!(!folder.path().join("a").exists(), "an empty folder stays");
        assert_eq!(
            fs::read_to_string(folder.path().join("b/c/two.txt")).unwrap(),
            "2\n"
        );
        assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn the_diff_has_new_changed_and_deleted_files_and_git_applies_it() {
        let (folder, mut tree) = checkout();
        fs::write(folder.path().join("old.txt"), "old\n").unwrap();
        tree.write("a/one.txt", "one\n2\n");
        tree.write("new.txt", "new\n");
        tree.delete("old.txt");
        tree.write("same.txt", "same\n");
        fs::write(folder.path().join("same.txt"), "same\n").unwrap();
        let diff = tree.diff().unwrap();
        assert!(diff.contains("-two\n+2\n"), "{diff}");
        assert!(!diff.contains("same.txt"), "{diff}");
        let patch = folder.path().join("patch");
        fs::write(&patch, &diff).unwrap();
        let git = Command::new("git")
            .arg("apply")
            .arg(&patch)
            .current_dir(folder.path())
            .status();
        assert!(git.unwrap().success());
        assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
    }
}
