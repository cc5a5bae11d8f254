//! The lines that generated code adds to files that it does not own, such as a row of a table.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::Tree;

/// Whole lines in a file that existed before. The lines are found again by their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The path of the file.
    pub(super) path: String,
    /// Distinguishes the block from the others of the file.
    pub(super) key: String,
    pub(super) place: Place,
    /// The lines. Ends with a line break.
    pub(super) text: String,
    /// Whether other commands change the values in these lines. They are then found by the texts before ` = `.
    pub(super) has_changing_values: bool,
}

/// The place of a block in its file. All texts are the beginnings of lines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Place {
    /// Among the lines that begin with `prefix`, in alphabetical order. The lines follow the first line that begins with `after`.
    Sorted { after: String, prefix: String },
    /// After the lines that begin with `prefix`, which follow the first line that begins with `after`.
    Last { after: String, prefix: String },
    /// Directly after each line that begins with this text.
    AfterEach(String),
    /// Directly before the first line that begins with `before`, after the first line that begins with `after`.
    Before { after: String, before: String },
    /// At the end of the file.
    End,
}

impl Block {
    /// Adds the block to its file, unless the file contains it already.
    ///
    /// # Errors
    /// Fails if the file does not exist or has no such place.
    pub(super) fn insert(&self, tree: &mut Tree) -> Result<()> {
        let text = self.file(tree)?;
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        if self.find(&lines).is_some()
            || self.has_changing_values && lines.iter().any(|line| self.has_key(line))
        {
            return Ok(());
        }
        let positions = self.positions(&lines);
        if positions.is_empty() {
            bail!(
                "{}: cannot find the place for {}: {:?}",
                self.path,
                self.key,
                self.place
            );
        }
        let mut result = String::with_capacity(text.len() + self.text.len());
        for (number, line) in lines.iter().enumerate() {
            if positions.contains(&number) {
                result.push_str(&self.text);
            }
            result.push_str(line);
        }
        if positions.contains(&lines.len()) {
            result.push_str(&self.text);
        }
        tree.write(&self.path, result);
        Ok(())
    }

    /// Removes the block from its file.
    ///
    /// # Errors
    /// Fails if the file does not contain the block exactly as it was added.
    pub(super) fn remove(&self, tree: &mut Tree) -> Result<()> {
        self.replace(tree, "")
    }

    /// Replaces the block by another text.
    ///
    /// # Errors
    /// Fails if the file does not contain the block exactly as it was added.
    pub(super) fn replace(&self, tree: &mut Tree, new: &str) -> Result<()> {
        let text = self.file(tree)?;
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let length = self.text.lines().count();
        let mut is_changed = false;
        if self.has_changing_values {
            let before = lines.len();
            lines.retain(|line| !self.has_key(line));
            is_changed = lines.len() < before;
        }
        while let Some(first) = self.find(&lines) {
            let replacement = (!new.is_empty()).then_some(new);
            lines.splice(first..first + length, replacement);
            is_changed = true;
        }
        if !is_changed {
            bail!(
                "{}: these lines of {} were changed by hand, so they cannot be found:\n{}",
                self.path,
                self.key,
                self.text.trim_end()
            );
        }
        tree.write(&self.path, lines.concat());
        Ok(())
    }

    /// Returns the number of the line at which the block begins. A block of a section of TOML is not found in other sections,
    /// which can have the same lines.
    fn find(&self, lines: &[&str]) -> Option<usize> {
        let wanted: Vec<&str> = self.text.split_inclusive('\n').collect();
        let (start, length) = match &self.place {
            Place::Sorted { after, .. } if after.starts_with('[') => {
                let start = lines.iter().position(|line| line.starts_with(after))? + 1;
                let rest = lines.iter().skip(start);
                (
                    start,
                    rest.take_while(|line| !line.starts_with('[')).count(),
                )
            }
            _ => (0, lines.len()),
        };
        let section = lines.get(start..start + length)?;
        let mut windows = section.windows(wanted.len().max(1));
        windows
            .position(|window| window == wanted)
            .map(|number| start + number)
    }

    /// Whether the block has a line with the same key, the text before ` = `.
    fn has_key(&self, line: &str) -> bool {
        let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
        let wanted = key(line);
        wanted.is_some() && self.text.lines().any(|line| key(line) == wanted)
    }

    fn file(&self, tree: &Tree) -> Result<String> {
        let text = tree.text(&self.path)?;
        text.with_context(|| format!("the file {} is missing", self.path))
    }

    /// Returns the numbers of the lines before which the block is to be inserted.
    fn positions(&self, lines: &[&str]) -> Vec<usize> {
        let first = |from: usize, start: &str| {
            let mut rest = lines.iter().enumerate().skip(from);
            rest.find(|(_, line)| line.starts_with(start))
                .map(|(number, _)| number)
        };
        match &self.place {
            Place::End => vec![lines.len()],
            Place::AfterEach(start) => {
                let found = lines
                    .iter()
                    .enumerate()
                    .filter(|(_, line)| line.starts_with(start));
                found.map(|(number, _)| number + 1).collect()
            }
            Place::Before { after, before } => {
                let found = first(0, after).and_then(|number| first(number + 1, before));
                found.into_iter().collect()
            }
            Place::Sorted { after, prefix } | Place::Last { after, prefix } => {
                // An empty `after` is before the first line.
                let head = if after.is_empty() {
                    Some(0)
                } else {
                    first(0, after).map(|number| number + 1)
                };
                let Some(start) = head.and_then(|head| first(head, prefix)) else {
                    return Vec::new();
                };
                let is_sorted = matches!(self.place, Place::Sorted { .. });
                let group = lines.iter().enumerate().skip(start);
                let mut later = group.skip_while(|(_, line)| {
                    let is_in_group = line.starts_with(prefix) && !line.trim().is_empty();
                    is_in_group && !(is_sorted && ***line > *self.text)
                });
                vec![later.next().map_or(lines.len(), |(number, _)| number)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "head\nmod access;\nmod notes;\n\na: 1\nrow x\na: 2\nrow y\nend\n";

    fn block(place: Place, text: &str) -> Block {
        Block {
            path: "file".into(),
            key: "books".into(),
            place,
            text: text.into(),
            has_changing_values: false,
        }
    }

    fn places() -> [(Block, &'static str); 4] {
        let sorted = Place::Sorted {
            after: String::new(),
            prefix: "mod ".into(),
        };
        let before = Place::Before {
            after: "a: 2".into(),
            before: "end".into(),
        };
        [
            (
                block(sorted, "mod books;\n"),
                "head\nmod access;\nmod books;\nmod notes;\n\na: 1\nrow x\na: 2\nrow y\nend\n",
            ),
            (
                block(Place::AfterEach("a: ".into()), "row b\n"),
                "head\nmod access;\nmod notes;\n\na: 1\nrow b\nrow x\na: 2\nrow b\nrow y\nend\n",
            ),
            (
                block(before, "1\n2\n"),
                "head\nmod access;\nmod notes;\n\na: 1\nrow x\na: 2\nrow y\n1\n2\nend\n",
            ),
            (
                block(Place::End, "z\n"),
                "head\nmod access;\nmod notes;\n\na: 1\nrow x\na: 2\nrow y\nend\nz\n",
            ),
        ]
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(folder.path());
        tree.write("file", FILE);
        (folder, tree)
    }

    #[test]
    fn a_block_is_inserted_once_and_removed_again() {
        for (block, expected) in places() {
            let (_folder, mut tree) = tree();
            for _ in 0..2 {
                block.insert(&mut tree).unwrap();
                assert_eq!(tree.text("file").unwrap().unwrap(), expected);
            }
            block.remove(&mut tree).unwrap();
            assert_eq!(tree.text("file").unwrap().unwrap(), FILE);
        }
    }

    #[test]
    fn blocks_are_removed_in_any_order() {
        let blocks = places().map(|(block, _)| block);
        for skip in 0..blocks.len() {
            let (_folder, mut tree) = tree();
            blocks
                .iter()
                .for_each(|block| block.insert(&mut tree).unwrap());
            for block in blocks.iter().cycle().skip(skip).take(blocks.len()) {
                block.remove(&mut tree).unwrap();
            }
            assert_eq!(tree.text("file").unwrap().unwrap(), FILE);
        }
    }

    #[test]
    fn a_line_of_a_section_is_independent_of_the_same_line_in_other_sections() {
        let (_folder, mut tree) = tree();
        let manifest = "[build-dependencies]\nserde = 1\n\n[dependencies]\napi = 1\n\n[dev-dependencies]\nserde = 1\n";
        tree.write("file", manifest);
        let place = Place::Sorted {
            after: "[dependencies]".into(),
            prefix: String::new(),
        };
        let block = block(place, "serde = 1\n");
        block.insert(&mut tree).unwrap();
        let text = tree.text("file").unwrap().unwrap();
        assert_eq!(text, manifest.replace("api = 1\n", "api = 1\nserde = 1\n"));
        block.remove(&mut tree).unwrap();
        assert_eq!(tree.text("file").unwrap().unwrap(), manifest);
        block.remove(&mut tree).unwrap_err();
    }

    #[test]
    fn a_block_with_changing_values_is_found_by_its_keys() {
        let (_folder, mut tree) = tree();
        let block = Block {
            has_changing_values: true,
            ..block(Place::End, "books = 1\nbooks-tls = 2\n")
        };
        block.insert(&mut tree).unwrap();
        let measured = tree
            .text("file")
            .unwrap()
            .unwrap()
            .replace("books = 1", "books = 9");
        tree.write("file", measured.as_str());
        block.insert(&mut tree).unwrap();
        assert_eq!(tree.text("file").unwrap().unwrap(), measured);
        block.remove(&mut tree).unwrap();
        assert_eq!(tree.text("file").unwrap().unwrap(), FILE);
    }

    #[test]
    fn a_changed_block_is_not_removed() {
        let (_folder, mut tree) = tree();
        let [(block, after), ..] = places();
        tree.write("file", after.replace("mod books;", "pub mod books;"));
        let error = block.remove(&mut tree).unwrap_err().to_string();
        assert!(
            error.contains("file: these lines of books were changed by hand"),
            "{error}"
        );
    }
}
