//! Formats changed files as `cargo xtask lint` requires it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, bail};

use crate::Tree;

/// Formats the changed files of Rust, TypeScript, JavaScript, CSS and JSON. Imports are sorted, too.
///
/// # Errors
/// Fails if rustfmt, or Biome in `node_modules`, cannot be run, or cannot parse a file.
pub fn format(tree: &mut Tree) -> Result<()> {
    let changed: Vec<_> = tree.changed()?.into_iter().map(str::to_owned).collect();
    let mut texts = Vec::new();
    for path in changed {
        if let Some(text) = tree.text(&path)? {
            texts.push((path, text));
        }
    }
    // Each file takes a process of about 0.1 s.
    let root = tree.root().to_owned();
    let (open, done) = (Mutex::new(texts.into_iter()), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        loop {
            let next = open.lock().ok().and_then(|mut open| open.next());
            let Some((path, text)) = next else {
                return Ok(());
            };
            if let Some(formatted) = formatted(&root, &path, &text)?
                && let Ok(mut done) = done.lock()
            {
                done.push((path, formatted));
            }
        }
    };
    thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|_| bail!("a worker panicked"))
        };
        workers.into_iter().try_for_each(join)
    })?;
    for (path, text) in done.into_inner().unwrap_or_default() {
        tree.write(path, text);
    }
    Ok(())
}

/// Returns the formatted text of a file. `None` if files of this kind have no formatter.
fn formatted(root: &Path, path: &str, text: &str) -> Result<Option<String>> {
    let mut command = match path.rsplit('.').next() {
        Some("rs") => {
            let mut rustfmt = Command::new("rustfmt");
            rustfmt
                .args(["--edition", "2024", "--config-path"])
                .arg(root);
            rustfmt
        }
        Some("cjs" | "css" | "js" | "json" | "jsonc" | "mjs" | "ts" | "tsx") => {
            let mut biome = Command::new(root.join("node_modules/.bin/biome"));
            biome.args(["check", "--write", "--linter-enabled=false"]);
            // Biome prints files that it ignores as they are.
            biome.arg(format!("--stdin-file-path={path}"));
            biome
        }
        _ => return Ok(None),
    };
    let program = command.get_program().to_owned();
    let child = command
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.with_context(|| format!("cannot run {}", program.display()))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let text = text.to_owned();
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    let is_written = writer.join().is_ok_and(|written| written.is_ok());
    if !output.status.success() || !is_written {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("cannot format {path}: {}", reason.trim());
    }
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn changed_files_are_formatted_by_their_kind() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut tree = Tree::open(root);
        tree.write("libs/new.rs", "mod  other;\nfn  a(){}\n");
        tree.write("notes.txt", "a  b\n");
        tree.delete("README.md");
        format(&mut tree).unwrap();
        let text = |path: &str| tree.text(path).unwrap().unwrap();
        assert_eq!(text("libs/new.rs"), "mod other;\nfn a() {}\n");
        assert_eq!(text("notes.txt"), "a  b\n");
        tree.write("libs/new.rs", "fn {");
        let error = format(&mut tree).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot format libs/new.rs: error"),
            "{error}"
        );
    }
}
