//! Markers: comments that say to which parts the lines of a file belong.
//!
//! A marker is `part: NAMES` in a comment. `NAMES {` and `NAMES }` on lines of their own enclose a block; at the end of a
//! line, `NAMES` marks this line. `NAMES` is one of
//!
//! - `red`: the lines belong to this part;
//! - `red or green`: the lines go when the last of these parts is removed;
//! - `without red`: the lines are comments until this part is removed.
//!
//! Blocks may contain others. A line of several blocks goes with the first of them that goes.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result, bail, ensure};

/// The beginning and the end of a comment.
type Comment = (&'static str, &'static str);

const SLASHES: Comment = ("//", "");
const HASH: Comment = ("#", "");
const STAR: Comment = ("/*", "*/");
const JSX: Comment = ("{/*", "*/}");
const XML: Comment = ("<!--", "-->");

/// The comments of each kind of file, by the extension or, for files without one, the name.
const COMMENTS: &[(&[&str], &[Comment])] = &[
    (&["cjs", "js", "jsonc", "mjs", "rs", "ts"], &[SLASHES, STAR]),
    (&["tsx"], &[SLASHES, JSX, STAR]),
    (&["css"], &[STAR]),
    (
        &[
            "CODEOWNERS",
            "gitignore",
            "in",
            "py",
            "run",
            "toml",
            "txt",
            "yaml",
            "yml",
        ],
        &[HASH],
    ),
    (&["html", "md", "svg"], &[XML]),
];

/// The parts to which lines belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The lines belong to these parts, and go with the last of them.
    Any(Vec<String>),
    /// The lines are comments until this part is removed.
    Without(String),
}

/// What becomes of marked lines.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    Keep,
    /// The lines stay, under a marker with the remaining parts.
    Remark(Condition),
    Drop,
    Uncomment,
}

impl Condition {
    pub(super) fn parse(names: &str) -> Self {
        match names.strip_prefix("without ") {
            Some(name) => Self::Without(name.trim().into()),
            None => Self::Any(names.split(" or ").map(|name| name.trim().into()).collect()),
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Self::Any(names) => names,
            Self::Without(name) => std::slice::from_ref(name),
        }
    }

    /// Checks that the parts exist.
    pub(super) fn check(&self, known: &BTreeSet<String>) -> Result<()> {
        for name in self.names() {
            ensure!(known.contains(name), no_part(name, known));
        }
        Ok(())
    }

    pub(super) fn fate(&self, removed: &BTreeSet<String>) -> Fate {
        match self {
            Self::Without(name) if removed.contains(name) => Fate::Uncomment,
            Self::Without(_) => Fate::Keep,
            Self::Any(names) => {
                let rest = names.iter().filter(|name| !removed.contains(*name));
                let rest: Vec<_> = rest.cloned().collect();
                match rest.len() {
                    0 => Fate::Drop,
                    left if left == names.len() => Fate::Keep,
                    _ => Fate::Remark(Self::Any(rest)),
                }
            }
        }
    }
}

/// Returns the message for a name that no part has.
pub(super) fn no_part(name: &str, known: &BTreeSet<String>) -> String {
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    format!(
        "there is no part {name:?}; the parts are: {}",
        known.join(", ")
    )
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(names) => f.write_str(&names.join(" or ")),
            Self::Without(name) => write!(f, "without {name}"),
        }
    }
}

/// The marker of one line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Begin,
    End,
    Line,
}

/// A line with a marker.
struct Marked<'a> {
    before: &'a str,
    comment: Comment,
    condition: Condition,
    place: Place,
    /// What follows the marker: the end of a table's row.
    after: &'a str,
}

impl<'a> Marked<'a> {
    /// Finds the marker of a line. `None` if the line has none.
    fn find(line: &'a str, comments: &[Comment]) -> Result<Option<Self>> {
        let found = comments.iter().find_map(|comment| {
            let mut starts = line.match_indices(comment.0);
            let marker = starts.find_map(|(at, opening)| {
                let inner = line.get(at + opening.len()..)?.trim_start();
                Some((at, inner.strip_prefix("part:")?))
            });
            marker.map(|(at, inner)| (*comment, at, inner))
        });
        let Some((comment, at, inner)) = found else {
            return Ok(None);
        };
        let before = line.get(..at).unwrap_or_default();
        let (inner, after) = if comment.1.is_empty() {
            (inner, "")
        } else {
            let Some(parts) = inner.split_once(comment.1) else {
                bail!("the comment must end on the same line");
            };
            parts
        };
        let inner = inner.trim();
        let (names, place) = match (inner.strip_suffix(" {"), inner.strip_suffix(" }")) {
            (Some(names), _) => (names, Place::Begin),
            (_, Some(names)) => (names, Place::End),
            _ => (inner, Place::Line),
        };
        let is_alone = before.trim().is_empty();
        ensure!(
            (place == Place::Line) != is_alone,
            "a marker on a line of its own begins a block with {{ or ends it with }}; one without a brace follows the line's \
             code"
        );
        ensure!(
            after.trim().is_empty() || (place == Place::Line && after.trim() == "|"),
            "nothing may follow a marker"
        );
        Ok(Some(Self {
            before,
            comment,
            condition: Condition::parse(names),
            place,
            after,
        }))
    }

    /// Returns the line with another condition.
    fn with(&self, condition: &Condition) -> String {
        let brace = match self.place {
            Place::Begin => " {",
            Place::End => " }",
            Place::Line => "",
        };
        let (open, close) = self.comment;
        let space = if close.is_empty() { "" } else { " " };
        let Self { before, after, .. } = self;
        format!("{before}{open} part: {condition}{brace}{space}{close}{after}")
    }
}

/// Returns the lines of code in a line that is a comment. `None` if it is no comment.
fn uncomment(line: &str, comments: &[Comment]) -> Option<String> {
    let indentation = line.len() - line.trim_start().len();
    let (indentation, code) = line.split_at_checked(indentation)?;
    let code = code.trim_end();
    if code.is_empty() {
        return Some(String::new());
    }
    let inner = comments
        .iter()
        .find_map(|(open, close)| code.strip_prefix(open)?.strip_suffix(close))?;
    let inner = inner.strip_prefix(' ').unwrap_or(inner).trim_end();
    Some(format!("{indentation}{inner}"))
}

/// Returns the comments of a file. `None` if files of this kind have no comments.
fn comments(path: &str) -> Option<&'static [Comment]> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = name.rsplit('.').next().unwrap_or(name);
    let found = COMMENTS.iter().find(|(kinds, _)| kinds.contains(&kind));
    found.map(|(_, comments)| *comments)
}

/// Removes the lines of the parts `removed` from the text of a file. `known` has the names of all parts, also of those.
///
/// # Errors
/// Fails if a marker is malformed, names an unknown part, or has no counterpart. The message names the file and the line.
pub(super) fn remove(
    path: &str,
    text: &str,
    known: &BTreeSet<String>,
    removed: &BTreeSet<String>,
) -> Result<String> {
    let Some(comments) = comments(path) else {
        return Ok(text.into());
    };
    if !text.contains("part:") {
        return Ok(text.into());
    }
    let mut lines = Lines::default();
    let mut blocks: Vec<(usize, Condition)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let marked = Marked::find(line, comments).with_context(|| format!("{path}:{number}"))?;
        let fates = || blocks.iter().map(|(_, condition)| condition.fate(removed));
        let drops = fates().any(|fate| fate == Fate::Drop);
        let is_without =
            |(_, condition): &(_, Condition)| matches!(condition, Condition::Without(_));
        let Some(marked) = marked else {
            if blocks.iter().any(is_without) {
                let Some(code) = uncomment(line, comments) else {
                    bail!("{path}:{number}: a line of a block with `without` must be a comment");
                };
                let is_shown = fates().any(|fate| fate == Fate::Uncomment);
                lines.add(drops, if is_shown { code } else { line.into() });
            } else {
                lines.add(drops, line);
            }
            continue;
        };
        marked
            .condition
            .check(known)
            .with_context(|| format!("{path}:{number}"))?;
        if blocks.iter().any(is_without) && marked.place != Place::End {
            bail!("{path}:{number}: a block with `without` cannot contain markers");
        }
        let fate = marked.condition.fate(removed);
        if marked.place == Place::End {
            match blocks.pop() {
                Some((_, condition)) if condition == marked.condition => {}
                _ => bail!("{path}:{number}: this marker ends a block that does not begin"),
            }
        }
        match (fate, marked.place) {
            (Fate::Keep, _) => lines.add(drops, line),
            (Fate::Remark(condition), _) => lines.add(drops, marked.with(&condition)),
            (Fate::Drop, _) | (Fate::Uncomment, Place::Begin | Place::End) => lines.drop(),
            (Fate::Uncomment, Place::Line) => {
                let Some(code) = uncomment(marked.before, comments) else {
                    bail!(
                        "{path}:{number}: a line that is marked with `without` must be a comment"
                    );
                };
                lines.add(drops, code);
            }
        }
        if marked.place == Place::Begin {
            blocks.push((number, marked.condition));
        }
    }
    if let Some((number, condition)) = blocks.first() {
        bail!("{path}:{number}: the block `part: {condition}` does not end");
    }
    Ok(lines.text())
}

/// The lines that stay. Of two blank lines that a removal brings together, it keeps one.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    /// Whether lines were removed after the last line that is not blank.
    is_cut: bool,
}

impl Lines {
    fn add(&mut self, drops: bool, line: impl Into<String>) {
        if drops {
            return self.drop();
        }
        let line = line.into();
        let is_blank = line.trim().is_empty();
        if is_blank && self.is_cut && self.ends_blank() {
            return;
        }
        self.is_cut &= is_blank;
        self.lines.push(line);
    }

    fn drop(&mut self) {
        self.is_cut = true;
    }

    fn ends_blank(&self) -> bool {
        self.lines.last().is_none_or(|line| line.trim().is_empty())
    }

    fn text(mut self) -> String {
        while self.is_cut && !self.lines.is_empty() && self.ends_blank() {
            self.lines.pop();
        }
        self.lines
            .into_iter()
            .map(|line| line + "\n")
            .collect::<String>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Removes parts from a text in which `@` stands for the beginning of a marker.
    fn without(path: &str, text: &str, removed: &[&str]) -> Result<String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known = names(&["red", "green", "blue"]);
        remove(path, &text.replace('@', "part:"), &known, &names(removed))
            .map(|text| text.replace("part:", "@"))
    }

    #[test]
    fn blocks_and_marked_lines_go_with_their_part() {
        let text = "a();\n// @ blue {\nb();\n// @ blue }\nc(); // @ blue\nd(); // @ green\n";
        let rest = without("a.rs", text, &["blue"]).unwrap();
        assert_eq!(rest, "a();\nd(); // @ green\n");
        assert_eq!(without("a.rs", text, &[]).unwrap(), text);
        assert_eq!(without("a.csv", text, &["blue"]).unwrap(), text);
    }

    #[test]
    fn each_kind_of_file_has_its_comments() {
        for (path, marked) in [
            ("a.yml", "  # @ blue {\nx\n  # @ blue }"),
            ("a.toml", "x # @ blue"),
            (".gitignore", "x # @ blue"),
            (".ci/run", "x # @ blue"),
            (".github/CODEOWNERS", "x # @ blue"),
            ("a.css", "x /* @ blue */"),
            ("a.tsx", "{/* @ blue { */}\nx\n{/* @ blue } */}"),
            ("a.md", "<!-- @ blue { -->\nx\n<!-- @ blue } -->"),
            ("a.md", "| x <!-- @ blue --> |"),
            ("a.md", "| x | <!-- @ blue -->"),
        ] {
            let text = format!("1\n{marked}\n2\n");
            assert_eq!(without(path, &text, &["blue"]).unwrap(), "1\n2\n", "{path}");
            assert_eq!(without(path, &text, &["green"]).unwrap(), text, "{path}");
        }
    }

    #[test]
    fn lines_of_two_parts_go_with_the_last_one_in_any_order() {
        let text = "// @ red or green {\na\n// @ red or green }\nb // @ red or green\n";
        let rest = without("a.rs", text, &["red"]).unwrap();
        assert_eq!(rest, "// @ green {\na\n// @ green }\nb // @ green\n");
        assert_eq!(without("a.rs", &rest, &["green"]).unwrap(), "");
        assert_eq!(without("a.rs", text, &["green", "red"]).unwrap(), "");
    }

    #[test]
    fn a_block_in_another_goes_with_the_first_that_goes() {
        let text = "1\n\n# @ blue {\na\n\n# @ green {\nb\n# @ green }\n\nc\n# @ blue }\n\n2\n";
        assert_eq!(without("a.py", text, &["blue"]).unwrap(), "1\n\n2\n");
        let rest = without("a.py", text, &["green"]).unwrap();
        assert_eq!(rest, "1\n\n# @ blue {\na\n\nc\n# @ blue }\n\n2\n");
        assert_eq!(without("a.py", &rest, &["blue"]).unwrap(), "1\n\n2\n");
    }

    #[test]
    fn comments_become_code_when_a_part_goes() {
        let text =
            "// @ without blue {\n  // a\n\n  // b\n// @ without blue }\n// c // @ without blue\n";
        assert_eq!(without("a.ts", text, &["green"]).unwrap(), text);
        assert_eq!(without("a.ts", text, &["blue"]).unwrap(), "  a\n\n  b\nc\n");
        let text = "<!-- @ without blue { -->\n<!-- a -->\n<!-- @ without blue } -->\n";
        assert_eq!(without("a.md", text, &["blue"]).unwrap(), "a\n");
    }

    #[test]
    fn malformed_markers_are_refused_with_their_line() {
        for (text, reason) in [
            (
                "a\n// @ blue {\nb\n",
                "a.rs:2: the block `@ blue` does not end",
            ),
            (
                "// @ blue }\n",
                "a.rs:1: this marker ends a block that does not begin",
            ),
            ("// @ blue {\n// @ green }\n", "a.rs:2: this marker ends"),
            (
                "a // @ bleu\n",
                "a.rs:1: there is no part \"bleu\"; the parts are: blue, green, red",
            ),
            ("a // @ blue or\n", "a.rs:1: there is no part \"blue or\""),
            ("// @ blue\n", "a.rs:1: a marker on a line of its own"),
            ("a // @ blue {\n", "a.rs:1: a marker on a line of its own"),
            ("a /* @ blue */ b\n", "a.rs:1: nothing may follow"),
            ("a /* @ blue\n", "a.rs:1: the comment must end"),
            (
                "// @ without blue {\na\n// @ without blue }\n",
                "a.rs:2: a line of a block",
            ),
            ("a // @ without blue\n", "a.rs:1: a line that is marked"),
        ] {
            let removed: &[&str] = if text.starts_with("a // @ without") {
                &["blue"]
            } else {
                &[]
            };
            let error = without("a.rs", text, removed).unwrap_err();
            let error = format!("{error:#}").replace("part:", "@");
            assert!(error.starts_with(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_removal_brings_no_blank_lines_together() {
        let text = "1\n\n# @ blue {\na\n# @ blue }\n\n2\n\n# @ blue {\nb\n# @ blue }\n";
        assert_eq!(without("a.py", text, &["blue"]).unwrap(), "1\n\n2\n");
        // Two blank lines that were there stay.
        let text = "1\n\n\n2 # @ blue\n3\n";
        assert_eq!(without("a.py", text, &["blue"]).unwrap(), "1\n\n\n3\n");
    }
}
