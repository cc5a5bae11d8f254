//! Formats the changed files of a tree.

use std::{sync::Mutex, thread};

use anyhow::{Result, bail};

use crate::{Tree, format};

/// Formats the changed files of a tree as `cargo xtask lint` requires it.
///
/// # Errors
/// Fails if a formatter is missing or rejects a file.
pub fn format_changes(tree: &mut Tree) -> Result<()> {
    let changed: Vec<_> = tree.changed()?.into_iter().map(str::to_owned).collect();
    let mut texts = Vec::new();
    for path in changed {
        if let Some(text) = tree.text(&path)? {
            texts.push((path, text));
        }
    }
    // A formatter takes about 0.1 s for each file.
    let root = tree.root().to_owned();
    let (open, done) = (Mutex::new(texts.into_iter()), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        loop {
            let next = open.lock().ok().and_then(|mut open| open.next());
            let Some((path, text)) = next else {
                return Ok(());
            };
            let formatted = format(&root, &path, text)?;
            if let Ok(mut done) = done.lock() {
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
        format_changes(&mut tree).unwrap();
        let text = |path: &str| tree.text(path).unwrap().unwrap();
        assert_eq!(text("libs/new.rs"), "mod other;\nfn a() {}\n");
        assert_eq!(text("notes.txt"), "a  b\n");
        tree.write("libs/new.rs", "fn {");
        let error = format_changes(&mut tree).unwrap_err().to_string();
        assert!(error.contains("libs/new.rs"), "{error}");
    }
}
