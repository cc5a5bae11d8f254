//! Changes the files of a checkout from one generated state to another, and keeps what people changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::block::Block;
use crate::Tree;

/// Everything that a blueprint generates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rendered {
    /// The files that belong to the generated code alone.
    pub(super) files: BTreeMap<String, String>,
    /// The lines in other files.
    pub(super) blocks: Vec<Block>,
}

/// Formats the content of a file, given its path.
type Format<'a> = dyn Fn(&str, String) -> Result<String> + 'a;

/// Changes the files from the state `old` to the state `new`. Merges the changes that people made since `old` was generated. Only
/// files that differ are formatted, because a formatter takes about 0.1 s for each.
///
/// # Errors
/// Fails if something blocks a change, and lists all of it. The tree then has only some of the changes and must not be applied.
pub(super) fn change(
    tree: &mut Tree,
    old: &Rendered,
    new: &Rendered,
    format: &Format,
) -> Result<()> {
    let formatted = |path: &str, text: Option<&String>| {
        let text = text.map(|text| format(path, text.clone()));
        text.transpose()
    };
    let mut blockers = Vec::new();
    let paths = old.files.keys().chain(
        new.files
            .keys()
            .filter(|path| !old.files.contains_key(*path)),
    );
    for path in paths {
        let (before, after) = (old.files.get(path), new.files.get(path));
        if before != after {
            let (before, after) = (formatted(path, before)?, formatted(path, after)?);
            if before != after
                && let Err(error) = change_file(tree, path, before.as_ref(), after.as_ref())
            {
                blockers.push(error.to_string());
            }
        }
    }
    let key = |block: &Block| (block.path.clone(), block.key.clone());
    let mut added: BTreeMap<_, _> = new.blocks.iter().map(|block| (key(block), block)).collect();
    for block in &old.blocks {
        // Several items can need the same lines.
        let is_shared = |other: &Block| other.path == block.path && other.text == block.text;
        let changed = match added.remove(&key(block)) {
            None if new.blocks.iter().any(is_shared) => Ok(()),
            None => block.remove(tree),
            Some(same) if same.text == block.text => Ok(()),
            Some(other) => block.replace(tree, &other.text),
        };
        blockers.extend(changed.err().map(|error| error.to_string()));
    }
    // In the order of the new blocks: a block can be a place for later ones.
    for block in &new.blocks {
        if added.contains_key(&key(block)) {
            blockers.extend(block.insert(tree).err().map(|error| error.to_string()));
        }
    }
    if !blockers.is_empty() {
        bail!(
            "nothing was changed, because of this:\n{}",
            blockers.join("\n")
        );
    }
    // The formatters also sort modules and exports.
    let blocks = old.blocks.iter().chain(&new.blocks);
    let with_blocks: BTreeSet<_> = blocks.map(|block| block.path.as_str()).collect();
    let mut changed: Vec<String> = tree.changed()?.into_iter().map(Into::into).collect();
    changed.retain(|path| with_blocks.contains(path.as_str()));
    for path in changed {
        if let Some(text) = tree.text(&path)? {
            let text = format(&path, text)?;
            tree.write(path, text);
        }
    }
    Ok(())
}

fn change_file(
    tree: &mut Tree,
    path: &str,
    before: Option<&String>,
    after: Option<&String>,
) -> Result<()> {
    let current = tree.text(path)?;
    match (before, after, current) {
        (None, Some(after), None) => tree.write(path, after.as_str()),
        (_, Some(after), Some(current)) if current == *after => {}
        (None, _, Some(_)) => bail!("{path} exists already; rename or delete it first"),
        (Some(_), None, None) | (None, None, _) => {}
        (Some(before), None, Some(current)) if current == *before => tree.delete(path),
        (Some(before), None, Some(current)) => {
            bail!(
                "{path} was changed by hand, {}; restore these lines, or delete the file yourself",
                first_difference(before, &current)
            )
        }
        (Some(_), Some(_), None) => bail!("{path} was deleted; restore it from the last commit"),
        (Some(before), Some(after), Some(current)) => match diffy::merge(before, &current, after) {
            Ok(merged) => tree.write(path, merged),
            Err(_) => bail!(
                "{path} was changed by hand in the lines to change, {}; undo these changes, and make them again afterwards",
                first_difference(before, &current)
            ),
        },
    }
    Ok(())
}

/// Says which line differs first.
fn first_difference(before: &str, current: &str) -> String {
    let lines = before.lines().zip(current.lines());
    let same = lines
        .take_while(|(before, current)| before == current)
        .count();
    format!("first in line {}", same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "a\nb\nc\nd\ne\nf\ng\n";
    const NEW: &str = "a\nb\nc\nd\ne\nF\ng\n";

    fn changed(tree: &mut Tree, old: &Rendered, new: &Rendered) -> Result<()> {
        change(tree, old, new, &|_, text| Ok(text))
    }

    fn rendered(content: &str) -> Rendered {
        let files = BTreeMap::from([("file".to_owned(), content.to_owned())]);
        Rendered {
            files,
            blocks: vec![],
        }
    }

    fn tree(content: &str) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let mut tree = Tree::open(folder.path());
        tree.write("file", content);
        tree.apply().unwrap();
        (folder, tree)
    }

    #[test]
    fn changes_by_hand_are_merged() {
        let (_folder, mut tree) = tree(&OLD.replace('a', "by hand"));
        changed(&mut tree, &rendered(OLD), &rendered(NEW)).unwrap();
        assert_eq!(
            tree.text("file").unwrap().unwrap(),
            NEW.replace('a', "by hand")
        );
        changed(&mut tree, &rendered(NEW), &rendered(OLD)).unwrap();
        assert_eq!(
            tree.text("file").unwrap().unwrap(),
            OLD.replace('a', "by hand")
        );
    }

    #[test]
    fn a_conflict_and_a_changed_file_to_delete_block_everything_and_name_the_line() {
        let (_folder, mut tree) = tree(&OLD.replace('f', "by hand"));
        let conflict = changed(&mut tree, &rendered(OLD), &rendered(NEW))
            .unwrap_err()
            .to_string();
        assert!(
            conflict.contains("file was changed by hand in the lines to change, first in line 6"),
            "{conflict}"
        );
        let deleted = changed(&mut tree, &rendered(OLD), &Rendered::default())
            .unwrap_err()
            .to_string();
        assert!(
            deleted.contains("file was changed by hand, first in line 6"),
            "{deleted}"
        );
        assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
    }

    #[test]
    fn an_unchanged_file_is_deleted_and_created_again() {
        let (_folder, mut tree) = tree(OLD);
        changed(&mut tree, &rendered(OLD), &Rendered::default()).unwrap();
        assert_eq!(tree.text("file").unwrap(), None);
        changed(&mut tree, &Rendered::default(), &rendered(OLD)).unwrap();
        assert_eq!(tree.text("file").unwrap().unwrap(), OLD);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_replaced() {
        let (_folder, mut tree) = tree("other\n");
        let error = changed(&mut tree, &Rendered::default(), &rendered(OLD)).unwrap_err();
        assert!(error.to_string().contains("file exists already"), "{error}");
    }
}
