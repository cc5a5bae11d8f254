//! Makes the checkout another product: changes its name, prefix, accounts, domains, prices and the other answers of
//! [`QUESTIONS`].
//!
//! An answer that many files contain is a word: `product.json` has its current value, and init replaces it in all files. A new
//! value is accepted only if it does not occur in the checkout yet, so that init can replace it again later. The other answers
//! are values in `serverless.yml` or `prices.json`, where everything else reads them.

mod checkout;
mod places;
mod questions;
mod rules;
mod todo;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

pub use checkout::Answers;
use checkout::PRICES; // part: billing
use checkout::{Checkout, PRODUCT, changeable};
use places::{in_json, in_yaml};
use questions::Place;
pub use questions::{QUESTIONS, Question};
pub use todo::Todo;
use words::{Word, replace_reversibly};

use crate::tree::Tree;

/// The file with the tables of stages and accounts.
const TABLES: &str = "serverless.yml";

/// The owner of repositories and the parent of domains that stand for real ones. Values with them follow the prefix.
const PLACEHOLDERS: [&str; 2] = ["example/", ".example.com"];

/// The product that a checkout contains, and its current answers.
#[derive(Debug)]
pub struct Product {
    checkout: Checkout,
    current: Answers,
}

/// A replacement that a change makes, and how often.
#[derive(Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The text before.
    pub old: String,
    /// The text after.
    pub new: String,
    /// The number of places.
    pub places: usize,
    /// The number of files.
    pub files: usize,
}

/// What changed answers change.
#[derive(Debug, Default)]
pub struct Change {
    /// The replaced texts.
    pub replacements: Vec<Replacement>,
    /// What happens to stages that are deployed already: the key of an answer, and the consequence.
    pub deployed: Vec<(&'static str, &'static str)>,
    /// What the change does not reach.
    pub todo: Vec<Todo>,
}

impl Product {
    /// Reads the current answers.
    ///
    /// # Errors
    /// Fails if the files with the answers are missing or malformed, or if they contradict each other, because somebody changed
    /// one of them by hand. The message says where, and how to continue.
    pub fn open(tree: &Tree) -> Result<Self> {
        let product = tree.text(PRODUCT)?.context("no file product.json")?;
        let product: BTreeMap<String, String> = serde_json::from_str(&product).context(PRODUCT)?;
        let tables = tree.text(TABLES)?.context("no file serverless.yml")?;
        let prices = tree.text(PRICES)?; // part: billing
        let mut current = Answers::new();
        for question in QUESTIONS {
            let answer = match question.place {
                Place::Everywhere { table } => {
                    let answer = product.get(question.key);
                    let answer =
                        answer.with_context(|| format!("product.json: no {}", question.key))?;
                    agrees(question.key, answer, &tables, table)?;
                    Some(answer.clone())
                }
                Place::Table(paths) => in_tables(question.key, &tables, paths)?,
                // part: billing {
                Place::Prices(key) => prices.as_deref().map(|text| price(text, key)).transpose()?,
                // part: billing }
            };
            if let Some(answer) = answer {
                current.insert(question.key, answer);
            }
        }
        let checkout = Checkout::read(tree)?;
        Ok(Self { checkout, current })
    }

    /// The current answers. A question without an answer does not apply, because its part of the product is removed.
    pub fn current(&self) -> &Answers {
        &self.current
    }

    /// Adds the answers that `given` lacks: the current ones. A repository or a domain that stands
    /// for a real one and contains the prefix follows a new prefix.
    pub fn complete(&self, given: &Answers) -> Answers {
        let mut answers = self.current.clone();
        if let (Some(old), Some(new)) = (self.current.get("prefix"), given.get("prefix")) {
            for answer in answers.values_mut() {
                if PLACEHOLDERS
                    .iter()
                    .any(|placeholder| answer.contains(placeholder))
                {
                    let (old, new) = (old.clone(), new.clone());
                    *answer = words::replace(answer, &[Word { old, new }]);
                }
            }
        }
        answers.extend(given.clone());
        answers
    }

    /// Checks an answer to a question. `answers` has the other answers.
    ///
    /// # Errors
    /// Fails with a message for the person who answers if the answer does not follow the rule of the question, or if the
    /// checkout contains it already.
    pub fn check(
        &self,
        question: &Question,
        answer: &str,
        answers: &Answers,
    ) -> Result<(), String> {
        let key = question.key;
        if self
            .current
            .get(key)
            .is_some_and(|current| current == answer)
        {
            return Ok(());
        }
        let mut answers = answers.clone();
        answers.insert(key, answer.to_owned());
        (question.rule)(&self.checkout, &answers, answer)?;
        if let Place::Everywhere { .. } = question.place {
            let texts = spellings(&answer.to_ascii_lowercase());
            let words = self.words(&self.current);
            if let Some(place) = self.checkout.place_of(&texts, &words) {
                return Err(format!(
                    "must not occur in the checkout yet, so that it can be changed again; it is in {place}"
                ));
            }
        }
        Ok(())
    }

    /// Makes the changes for new answers.
    ///
    /// # Errors
    /// Fails if answers are invalid: the message lists all of them, and `tree` has no changes. Fails if a file cannot be
    /// read.
    pub fn change(&self, tree: &mut Tree, given: &Answers) -> Result<Change> {
        let answers = self.complete(given);
        let mut problems = String::new();
        for (key, answer) in &answers {
            let known = QUESTIONS.iter().find(|question| question.key == *key);
            let question = known.with_context(|| format!("there is no question {key}"))?;
            if !self.current.contains_key(key) {
                bail!("{key} does not apply, because its part of the product is removed");
            }
            if let Err(problem) = self.check(question, answer, &answers) {
                write!(problems, "\n  --{key} {answer}: {problem}")?;
            }
        }
        if !problems.is_empty() {
            bail!("nothing was changed, because of invalid answers:{problems}");
        }
        let changed = |key: &&str| self.current.get(key) != answers.get(key);
        if !answers.keys().any(changed) {
            return Ok(Change::default());
        }
        let mut after = tree.clone();
        let mut change = self.replace_words(&mut after, &answers)?;
        self.write_values(&mut after, &answers, &mut change)?;
        let questions = QUESTIONS.iter().filter(|question| changed(&question.key));
        change.deployed = questions
            .map(|question| (question.key, question.deployed))
            .collect();
        change.todo = todo::unreached(&self.checkout, |key| changed(&key));
        *tree = after;
        Ok(change)
    }

    /// Returns the words that change from the current answers to `answers`, and those that stay.
    fn words(&self, answers: &Answers) -> Vec<Word> {
        let mut words = Vec::new();
        for question in QUESTIONS {
            if let (Place::Everywhere { .. }, Some(old)) =
                (question.place, self.current.get(question.key))
            {
                let new = answers.get(question.key).unwrap_or(old);
                let word = |old: String, new: String| Word { old, new };
                words.push(word(old.clone(), new.clone()));
                if question.key == "prefix" {
                    words.push(word(variables(old), variables(new)));
                }
            }
        }
        words
    }

    /// Replaces the words in all files and in their paths, and writes product.json.
    fn replace_words(&self, tree: &mut Tree, answers: &Answers) -> Result<Change> {
        let words = self.words(answers);
        let mut change = Change::default();
        for word in words.iter().filter(|word| word.old != word.new) {
            let (old, new) = (word.old.clone(), word.new.clone());
            change.replacements.push(Replacement {
                old,
                new,
                places: 0,
                files: 0,
            });
        }
        for (path, text) in &self.checkout.files {
            let blocked = |line: usize| {
                anyhow!(
                    "nothing was changed, because the change could not be undone: {path}:{line} already contains one of \
                     the new answers"
                )
            };
            let mut replaced = String::with_capacity(text.len());
            let mut end = 0;
            for part in changeable(path, text) {
                replaced.push_str(&text[end..part.start]);
                end = part.end;
                let before = checkout::line(text, part.start) - 1;
                let new = replace_reversibly(&text[part], &words);
                replaced.push_str(&new.map_err(|line| blocked(before + line))?);
            }
            replaced.push_str(&text[end..]);
            let new_path = replace_reversibly(path, &words).map_err(blocked)?;
            if replaced == *text && new_path == *path {
                continue;
            }
            let found = words::matches(text, &words);
            for replacement in &mut change.replacements {
                let places = found.iter().filter(|(_, word)| word.old == replacement.old);
                let places = places.count();
                replacement.places += places;
                replacement.files += usize::from(places > 0);
            }
            if new_path != *path {
                if tree.read(&new_path)?.is_some() {
                    bail!("nothing was changed, because the file {new_path} exists already");
                }
                tree.delete(path.as_str());
            }
            tree.write(new_path, replaced);
        }
        let mut product = tree.text(PRODUCT)?.context("no file product.json")?;
        for question in QUESTIONS {
            if let (Place::Everywhere { .. }, Some(answer)) =
                (question.place, answers.get(question.key))
            {
                let place = in_json(&product, question.key)?;
                product.replace_range(place, &format!("\"{answer}\""));
            }
        }
        tree.write(PRODUCT, product);
        Ok(change)
    }

    /// Writes the answers that are values in serverless.yml and in prices.json.
    fn write_values(&self, tree: &mut Tree, answers: &Answers, change: &mut Change) -> Result<()> {
        for question in QUESTIONS {
            let (Some(old), Some(new)) =
                (self.current.get(question.key), answers.get(question.key))
            else {
                continue;
            };
            if old == new {
                continue;
            }
            let mut places = 0;
            let (file, value, paths) = match question.place {
                Place::Everywhere { .. } => continue,
                Place::Table(paths) => (TABLES, new.clone(), paths),
                // part: billing {
                Place::Prices("tiers") => (
                    PRICES,
                    tiers_json(new).context("no prices")?,
                    &["tiers"][..],
                ),
                Place::Prices(_) => (PRICES, format!("\"{new}\""), &["currency"][..]),
                // part: billing }
            };
            let mut text = tree
                .text(file)?
                .with_context(|| format!("no file {file}"))?;
            for path in paths {
                let place = match file {
                    TABLES => in_yaml(&text, &path.split('.').collect::<Vec<_>>()),
                    _ => Some(in_json(&text, path)?),
                };
                if let Some(place) = place {
                    text.replace_range(place, &value);
                    places += 1;
                }
            }
            tree.write(file, text);
            let (old, new) = (old.clone(), new.clone());
            change.replacements.push(Replacement {
                old,
                new,
                places,
                files: 1,
            });
        }
        Ok(())
    }
}

/// Returns the placeholders that remain in a checkout.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn to_do(tree: &Tree) -> Result<Vec<Todo>> {
    Ok(todo::placeholders(&Checkout::read(tree)?))
}

/// Returns the beginning of the names of environment variables: `MY_SHOP_` for `my-shop`.
fn variables(prefix: &str) -> String {
    prefix.to_ascii_uppercase().replace('-', "_") + "_"
}

/// Returns the ways in which a text could occur: with hyphens, underscores or spaces.
fn spellings(text: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned()];
    for separator in ["-", "_", " "] {
        let spelling = text.replace(['-', ' '], separator);
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// Checks that serverless.yml has the answer that product.json has.
fn agrees(key: &str, answer: &str, tables: &str, path: &str) -> Result<()> {
    let keys: Vec<&str> = path.split('.').collect();
    // Without a domain, a row lacks the key.
    let Some(place) = in_yaml(tables, &keys) else {
        return Ok(());
    };
    let line = checkout::line(tables, place.start);
    let found = &tables[place];
    if found == answer {
        return Ok(());
    }
    bail!(
        "serverless.yml:{line} has {found} as {path}, but product.json has {answer}, which other files may still contain. Write \
         {answer} into serverless.yml again, and then run cargo xtask init --{key} {found}, which changes all files"
    )
}

/// Returns the value that serverless.yml has at all of `paths`. `None` if it has none of them.
fn in_tables(key: &str, tables: &str, paths: &[&str]) -> Result<Option<String>> {
    let mut found: Option<(&str, &str)> = None;
    for path in paths {
        let keys: Vec<&str> = path.split('.').collect();
        let Some(place) = in_yaml(tables, &keys) else {
            continue;
        };
        let value = &tables[place];
        match found {
            Some((other, first)) if first != value => bail!(
                "serverless.yml has {first} as {other}, but {value} as {path}. cargo xtask init --{key} would lose one of \
                 them. Write the same value twice"
            ),
            _ => found = Some((path, value)),
        }
    }
    Ok(found.map(|(_, value)| value.to_owned()))
}

// part: billing {
/// Returns the answer that prices.json has.
fn price(text: &str, key: &str) -> Result<String> {
    let value: Value = serde_json::from_str(&text[in_json(text, key)?])?;
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let tiers = value.as_array().context("prices.json: no tiers")?;
    let tiers = tiers
        .iter()
        .map(|tier| format!("{}:{}", tier["from"], tier["each"]));
    Ok(tiers.collect::<Vec<_>>().join(","))
}

/// Returns prices such as `1:400,11:200` as the JSON of prices.json.
fn tiers_json(prices: &str) -> Option<String> {
    let tiers = rules::tiers(prices)?;
    let tiers = tiers
        .iter()
        .map(|(from, each)| format!("{{ \"from\": {from}, \"each\": {each} }}"));
    Some(format!("[{}]", tiers.collect::<Vec<_>>().join(", ")))
}
// part: billing }
