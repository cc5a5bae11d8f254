//! Checks rules for the whole repository that the compiler does not check: no import cycles, no
//! calls to a higher layer, one name for each function, and documents whose links and test names
//! exist.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // in helpers, which clippy does not count as tests

mod documents;
mod imports;
mod layers;
mod log;
mod names;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(1)
        .unwrap()
        .to_owned()
}

/// The files in the folder `below` of the repository and its subfolders whose extension is in
/// `extensions`, sorted by path.
fn files(below: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let skipped = ["target", "node_modules", ".git", ".venv", "dist"];
    let entries = walkdir::WalkDir::new(root().join(below))
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !skipped.contains(&entry.file_name().to_string_lossy().as_ref()));
    entries
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extensions.contains(&extension.to_string_lossy().as_ref()))
        })
        .collect()
}
