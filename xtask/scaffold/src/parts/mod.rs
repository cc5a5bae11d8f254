//! Parts of the product that can be removed, such as the app.
//!
//! The table `xtask/parts.toml` has a row for each part: the files and folders that belong to it alone, and its entries in
//! files without comments. In the other files, [markers](marker) enclose its lines.

mod json;
mod marker;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::Tree;

/// The path of the table of the parts.
const TABLE: &str = "xtask/parts.toml";

/// A part of the product that can be removed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// What the part does, in a few words.
    pub description: String,
    /// The parts that make no sense without this one, and are removed with it.
    #[serde(default)]
    pub with: Vec<String>,
    /// The files and folders that belong to the part alone.
    #[serde(default)]
    paths: Vec<String>,
    /// The members of JSON files that belong to the part.
    #[serde(default)]
    json: Vec<Members>,
    /// The entries of the part in files that a command writes.
    #[serde(default)]
    generated: Vec<Entries>,
}

/// Members of a JSON file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    file: String,
    /// The paths of the members, with `.` between names. The last name can also be an element of an array of strings.
    keys: Vec<String>,
}

/// Entries of a file that a command writes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    file: String,
    /// The lines with one of these words go. In a JSON file: the elements of arrays that are, or have a member that is, a
    /// string with one of these words.
    words: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Table {
    /// The parts that were removed earlier.
    removed: BTreeSet<String>,
    #[serde(flatten)]
    parts: BTreeMap<String, Part>,
}

impl Table {
    fn read(tree: &Tree) -> Result<Self> {
        let text = tree.text(TABLE)?;
        let text = text.with_context(|| format!("{TABLE} does not exist"))?;
        toml::from_str(&text).with_context(|| format!("cannot read {TABLE}"))
    }

    fn names(&self) -> BTreeSet<String> {
        self.parts.keys().cloned().collect()
    }

    /// Returns the names of the parts and of those that are removed with them.
    fn expand(&self, names: &[impl AsRef<str>]) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open: Vec<_> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        while let Some(name) = open.pop() {
            let Some(part) = self.parts.get(&name) else {
                if self.removed.contains(&name) {
                    continue;
                }
                bail!(marker::no_part(&name, &self.names()));
            };
            if found.insert(name) {
                open.extend(part.with.iter().cloned());
            }
        }
        Ok(found)
    }
}

/// Returns the parts that can be removed, by their names.
///
/// # Errors
/// Fails if `xtask/parts.toml` cannot be read.
pub fn all(tree: &Tree) -> Result<BTreeMap<String, Part>> {
    Ok(Table::read(tree)?.parts)
}

/// Removes parts of the product: their files, their marked lines and their rows of the table. Returns the names of the removed
/// parts: without those that were removed before, and with those that make no sense without the others. The caller formats
/// the changed files and updates the lock files.
///
/// # Errors
/// Fails if there is no part with one of the names, if a marker is malformed, or if the table names a file that does not
/// exist.
pub fn remove(tree: &mut Tree, parts: &[impl AsRef<str>]) -> Result<Vec<String>> {
    let table = Table::read(tree)?;
    let names = table.expand(parts)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let files = tree.files()?;
    for part in names.iter().filter_map(|name| table.parts.get(name)) {
        part.remove_own(tree, &files)?;
    }
    let known = table.names();
    for path in tree.files()? {
        let Some(text) = tree.text(&path)? else {
            continue;
        };
        let rest = if path.ends_with(".json") {
            json::remove_marked(&path, &text, &known, &names)?
        } else {
            marker::remove(&path, &text, &known, &names)?
        };
        if rest != text {
            tree.write(path, rest);
        }
    }
    let removed: Vec<_> = table
        .removed
        .union(&names)
        .map(|name| format!("{name:?}"))
        .collect();
    let text = tree.text(TABLE)?.unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| match line.starts_with("removed = ") {
            true => format!("removed = [{}]\n", removed.join(", ")),
            false => format!("{line}\n"),
        });
    tree.write(TABLE, lines.collect::<String>());
    Ok(names.into_iter().collect())
}

impl Part {
    /// Deletes the files of the part, and its entries in files without comments. `files` are the files before the removal, of
    /// which other removed parts may have deleted some.
    fn remove_own(&self, tree: &mut Tree, files: &BTreeSet<String>) -> Result<()> {
        for path in &self.paths {
            let folder = format!("{path}/");
            let mut own = files
                .iter()
                .filter(|file| *file == path || file.starts_with(&folder))
                .peekable();
            ensure!(own.peek().is_some(), "{TABLE}: {path} does not exist");
            own.for_each(|file| tree.delete(file));
        }
        for Members { file, keys } in &self.json {
            edit(tree, files, file, |text| json::remove_members(text, keys))?;
        }
        for Entries { file, words } in &self.generated {
            let has_word = |text: &str| words.iter().any(|word| text.contains(word));
            edit(tree, files, file, |text| {
                if file.ends_with(".json") {
                    return json::remove_elements(text, &has_word);
                }
                let lines = text.split_inclusive('\n').filter(|line| !has_word(line));
                Ok(lines.collect())
            })?;
        }
        Ok(())
    }
}

/// Edits a file that is one of `files`, unless it has been deleted.
fn edit(
    tree: &mut Tree,
    files: &BTreeSet<String>,
    file: &str,
    change: impl Fn(&str) -> Result<String>,
) -> Result<()> {
    ensure!(files.contains(file), "{TABLE}: {file} does not exist");
    if let Some(text) = tree.text(file)? {
        let rest = change(&text).with_context(|| format!("{TABLE}: {file}"))?;
        tree.write(file, rest);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// A checkout with three parts, in whose files `@` stands for the beginning of a marker.
    fn checkout() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let git = Command::new("git")
            .args(["init", "--quiet"])
            .current_dir(folder.path())
            .status();
        assert!(git.unwrap().success());
        let table = r##"
removed = []

# @ red {
[red]
description = "red things"
with = ["green"] # @ green
paths = [
  "red",
  "blue/red.ts", # @ blue
]
generated = [{ file = "report.json", words = ["red-"] }]
# @ red }

# @ green {
[green]
description = "green things"
paths = ["green.rs"]
# @ green }

# @ blue {
[blue]
description = "blue things"
paths = ["blue"]
json = [{ file = "package.json", keys = ["workspaces.blue"] }]
# @ blue }
"##;
        for (path, text) in [
            (TABLE, table),
            ("red/a.rs", ""),
            ("red/b/c.rs", ""),
            ("red.rs", ""),
            ("main.rs", "mod red; // @ red\nmod green; // @ green\n"),
            ("green.rs", ""),
            (
                "package.json",
                "{ \"workspaces\": [\"bench\", \"blue\"] }\n",
            ),
            (
                "report.json",
                "[{ \"function\": \"notes-get\" }, { \"function\": \"red-list\" }]\n",
            ),
            ("topic.yml", "# @ red or blue {\na: 1\n# @ red or blue }\n"),
            ("blue/app.ts", ""),
            ("blue/red.ts", ""),
        ] {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text.replace('@', "part:")).unwrap();
        }
        let tree = Tree::open(folder.path());
        (folder, tree)
    }

    /// The files of a tree with their contents.
    fn content(tree: &Tree) -> Vec<(String, String)> {
        let files = tree.files().unwrap().into_iter();
        files
            .map(|path| (path.clone(), tree.text(&path).unwrap().unwrap()))
            .collect()
    }

    #[test]
    fn a_part_goes_with_its_files_its_lines_its_row_and_its_dependents() {
        let (_folder, mut tree) = checkout();
        let removed = remove(&mut tree, &["red"]).unwrap();
        assert_eq!(removed, ["green", "red"]);
        let files: Vec<_> = tree.files().unwrap().into_iter().collect();
        assert_eq!(
            files,
            [
                "blue/app.ts",
                "main.rs",
                "package.json",
                "red.rs",
                "report.json",
                "topic.yml",
                TABLE
            ]
        );
        let text = |path: &str| tree.text(path).unwrap().unwrap();
        assert_eq!(text("main.rs"), "");
        assert_eq!(text("report.json"), "[{ \"function\": \"notes-get\" }]\n");
        assert_eq!(text("topic.yml"), "# part: blue {\na: 1\n# part: blue }\n");
        assert!(text(TABLE).contains("removed = [\"green\", \"red\"]"));
        assert_eq!(
            all(&tree).unwrap().into_keys().collect::<Vec<_>>(),
            ["blue"]
        );
    }

    #[test]
    fn the_order_of_removals_makes_no_difference() {
        let (_folder, tree) = checkout();
        let after = |removals: &[&[&str]]| {
            let mut tree = tree.clone();
            for parts in removals {
                remove(&mut tree, parts).unwrap();
            }
            content(&tree)
        };
        let expected = after(&[&["red", "green", "blue"]]);
        assert_eq!(after(&[&["blue"], &["green"], &["red"]]), expected);
        assert_eq!(after(&[&["red"], &["blue"]]), expected);
        assert_eq!(after(&[&["green"], &["blue", "red"]]), expected);
    }

    #[test]
    fn removing_a_part_again_changes_nothing() {
        let (_folder, mut tree) = checkout();
        remove(&mut tree, &["blue"]).unwrap();
        let once = content(&tree);
        assert!(remove(&mut tree, &["blue"]).unwrap().is_empty());
        assert_eq!(content(&tree), once);
    }

    #[test]
    fn an_unknown_part_is_refused_with_the_names_of_the_parts() {
        let (_folder, mut tree) = checkout();
        let error = remove(&mut tree, &["blue", "pink"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no part \"pink\"; the parts are: blue, green, red"
        );
        assert!(tree.changed().unwrap().is_empty());
    }

    #[test]
    fn an_outdated_row_is_refused() {
        let (folder, mut tree) = checkout();
        fs::remove_file(folder.path().join("green.rs")).unwrap();
        let error = remove(&mut tree, &["green"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "xtask/parts.toml: green.rs does not exist"
        );
    }
}
