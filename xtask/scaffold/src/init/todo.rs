//! The placeholders that remain in the checkout, and what else is to do before the first deploy.

use super::checkout::{Checkout, line};

/// Something that is still to do in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo {
    /// The place, such as `serverless.yml:88`.
    pub place: String,
    /// The placeholder, or what the file shows.
    pub what: String,
    /// How to replace it.
    pub how: &'static str,
}

/// The texts that only stand for values of the product, and how to replace them.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("111111111111", "cargo xtask init --account-dev"),
    ("222222222222", "cargo xtask init --account-prod"),
    ("333333333333", "cargo xtask init --account-previews"),
    (
        "@example.com",
        "cargo xtask init --owner-email or --alarms-email",
    ),
    (
        ".example.com",
        "cargo xtask init --domain-prod or --domain-dev",
    ),
    // part: billing {
    (
        "pk_test_example",
        "cargo xtask init --stripe-key-dev, --stripe-key-previews or --stripe-key-prod",
    ),
    // part: billing }
    (
        "@example/",
        "write the teams or people who review these files",
    ),
    ("example/", "cargo xtask init --repository"),
    ("1000001", "cargo xtask init --repository-owner-id"),
    ("2000002", "cargo xtask init --repository-id"),
];

/// Whether a placeholder in a file has an effect. In other files, it is an example or a test's value.
fn is_read(path: &str) -> bool {
    path == "serverless.yml" || path == "SECURITY.md" || path.starts_with(".github/")
}

/// Returns the placeholders in the files that have an effect, in the order of files and lines.
pub(crate) fn placeholders(checkout: &Checkout) -> Vec<Todo> {
    let mut found = Vec::new();
    for (path, text) in checkout.files.iter().filter(|(path, _)| is_read(path)) {
        let mut taken: Vec<(usize, usize)> = Vec::new();
        let mut places = Vec::new();
        for (placeholder, how) in PLACEHOLDERS {
            for (at, _) in text.match_indices(placeholder) {
                let end = at + placeholder.len();
                // A later row can be a part of an earlier one: `example/` of `@example/`.
                if taken.iter().any(|(from, to)| *from <= at && end <= *to) {
                    continue;
                }
                taken.push((at, end));
                let place = format!("{path}:{}", line(text, at));
                let what = word(text, at).to_owned();
                places.push((at, Todo { place, what, how }));
            }
        }
        places.sort_by_key(|(at, _)| *at);
        found.extend(places.into_iter().map(|(_, todo)| todo));
    }
    found
}

/// What the change of an answer does not reach: the key of the answer, the file, what it shows, and how to replace it.
const UNREACHED: [(&str, &str, &str, &str); 2] = [
    (
        "name",
        "web/README.md",
        "the screenshots show the earlier name",
        "UPDATE_SCREENSHOTS=1 cargo xtask test --e2e",
    ),
    (
        "region",
        "bench/prices.toml",
        "AWS's prices in the earlier region",
        "write the prices of the new region, which cargo xtask cost uses",
    ),
];

/// Returns what the change of answers does not reach.
pub(crate) fn unreached(checkout: &Checkout, changed: impl Fn(&'static str) -> bool) -> Vec<Todo> {
    let applies = |file: &str| checkout.files.iter().any(|(path, _)| path == file);
    let rows = UNREACHED.into_iter();
    let rows = rows.filter(|(key, file, ..)| changed(key) && applies(file));
    let todo = rows.map(|(_, file, what, how)| Todo {
        place: file.to_owned(),
        what: what.to_owned(),
        how,
    });
    todo.collect()
}

/// Returns the word of `text` that contains the byte `at`. Spaces, quotes, parentheses and commas separate words.
fn word(text: &str, at: usize) -> &str {
    let is_end = |c: char| c.is_whitespace() || "\"'`(),".contains(c);
    let mut before = text[..at].char_indices().rev();
    let before = before.find(|(_, c)| is_end(*c));
    let start = before.map_or(0, |(at, c)| at + c.len_utf8());
    let end = text[at..]
        .find(is_end)
        .map_or(text.len(), |length| at + length);
    &text[start..end]
}
