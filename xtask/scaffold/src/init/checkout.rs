//! What the checks of answers and the replacement of words know about a checkout.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};

use super::words::{Word, occupied};
use crate::tree::Tree;

/// Answers, by the key of their question.
pub type Answers = BTreeMap<&'static str, String>;

/// The file with the answers that are words of many files.
pub(crate) const PRODUCT: &str = "product.json";

// part: billing {
/// The file with the prices.
pub(crate) const PRICES: &str = "services/billing-api/prices.json";

/// The currencies that Stripe charges, with the minimum of a charge, in the minor unit.
const MINIMUMS: &str = "services/billing-api/minimums.json";
// part: billing }

/// The heading of the section of README.md that names the product that this one is a copy of.
const ORIGIN: &str = "\n## Origin\n";

/// The texts of a checkout.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// The files whose words are replaced, with their text.
    pub(crate) files: Vec<(String, String)>,
    /// The names of all Lambda functions.
    pub(crate) functions: Vec<String>,
    // part: billing {
    /// The minimum amounts of a charge by currency, in the minor unit. Empty if the part has been removed.
    pub(crate) minimums: BTreeMap<String, u64>,
    /// The maximum number of notes in a purchase.
    pub(crate) limit: u64,
    // part: billing }
}

impl Checkout {
    /// Reads all text files that git tracks or would track.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or is malformed.
    pub(crate) fn read(tree: &Tree) -> Result<Self> {
        let paths = tree.files()?;
        let functions = paths.iter().filter_map(|path| function(path));
        let functions = functions.map(Into::into).collect();
        let mut files = Vec::new();
        for path in paths {
            if !keeps_its_words(&path)
                && let Some(text) = tree.text(&path)?
            {
                files.push((path, text));
            }
        }
        // part: billing {
        let minimums = match tree.text(MINIMUMS)? {
            Some(text) => serde_json::from_str(&text).context(MINIMUMS)?,
            None => BTreeMap::new(),
        };
        let limit = match tree.text(PRICES)? {
            Some(text) => {
                let prices: serde_json::Value = serde_json::from_str(&text).context(PRICES)?;
                prices
                    .get("limit")
                    .and_then(serde_json::Value::as_u64)
                    .context("prices.json: no limit")?
            }
            None => 0,
        };
        // part: billing }
        Ok(Self {
            files,
            functions,
            minimums, // part: billing
            limit,    // part: billing
        })
    }

    /// Returns a place, such as `README.md:7`, that has one of `texts` as a whole word in any letter case. Ignores the places
    /// of `words`, because they are replaced. `texts` are in lower case.
    pub(crate) fn place_of(&self, texts: &[String], words: &[Word]) -> Option<String> {
        let is_part = |c: char| c.is_alphanumeric();
        for (path, text) in &self.files {
            let lower = text.to_ascii_lowercase();
            for wanted in texts {
                let mut found = lower.match_indices(wanted.as_str()).filter(|(at, _)| {
                    let before = lower[..*at].chars().next_back().is_some_and(is_part);
                    let after = lower[at + wanted.len()..].chars().next();
                    !before && !after.is_some_and(is_part)
                });
                let Some((first, _)) = found.next() else {
                    continue;
                };
                let replaced = occupied(text, words);
                let kept = changeable(path, text);
                let counts = |at: usize| {
                    let is_in = |place: &Range<usize>| place.contains(&at);
                    kept.iter().any(is_in) && !replaced.iter().any(is_in)
                };
                let mut places = [first].into_iter().chain(found.map(|(at, _)| at));
                if let Some(at) = places.find(|at| counts(*at)) {
                    return Some(format!("{path}:{}", line(text, at)));
                }
            }
        }
        None
    }
}

/// Returns the number of the line at an offset.
pub(crate) fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Whether a file keeps its words. License files name the authors, product.json is written from the answers, and the sources of
/// this module and their tests contain answers as examples.
fn keeps_its_words(path: &str) -> bool {
    path.starts_with("LICENSE")
        || path == PRODUCT
        || path.starts_with("xtask/scaffold/src/init/")
        || path.starts_with("xtask/scaffold/tests/init")
}

/// Returns the parts of a text whose words are replaced. The statement of origin keeps its words, and so do code blocks with
/// the command `cargo xtask init`, because they contain answers as examples.
pub(crate) fn changeable(path: &str, text: &str) -> Vec<Range<usize>> {
    let end = match path {
        "README.md" => text.find(ORIGIN).unwrap_or(text.len()),
        _ => text.len(),
    };
    if !path.ends_with(".md") {
        return std::iter::once(0..end).collect();
    }
    let fences: Vec<usize> = text[..end]
        .match_indices("\n```")
        .map(|(at, _)| at)
        .collect();
    let mut parts = Vec::new();
    let mut start = 0;
    for block in fences.chunks_exact(2) {
        if let [from, to] = *block
            && text[from..to].contains("cargo xtask init")
        {
            parts.push(start..from);
            start = to;
        }
    }
    parts.push(start..end);
    parts
}

/// Returns the name of the function whose crate has the file `path` as its entry point.
fn function(path: &str) -> Option<&str> {
    let path = path
        .strip_prefix("services/")?
        .strip_suffix("/src/main.rs")?;
    path.split_once('/').map(|(_, name)| name)
}
