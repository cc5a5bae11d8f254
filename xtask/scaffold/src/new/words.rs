//! Replaces the words of a template by names, in the form that the place in the text needs.

use super::name::Name;

/// A word of a template, and the name that replaces it. The word has only lower-case letters.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) name: Name,
    /// Whether the word is the name of a field. In string literals, the name of a field is a member of JSON.
    pub(super) is_field: bool,
}

/// The kind of a text, which decides the form of identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    TypeScript,
    /// A path, YAML, TOML, JSON or Markdown.
    Other,
}

impl Language {
    pub(super) fn of(path: &str) -> Self {
        match path.rsplit('.').next() {
            Some("rs") => Self::Rust,
            Some("ts" | "tsx") => Self::TypeScript,
            _ => Self::Other,
        }
    }
}

/// Replaces all `words` in `text`. Earlier words win.
pub(super) fn replace(text: &str, words: &[Word], language: Language) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        replace_in_line(line, words, language, &mut result);
    }
    result
}

fn replace_in_line(line: &str, words: &[Word], language: Language, result: &mut String) {
    let mut rest = 0;
    while rest < line.len() {
        let (before, after) = line.split_at(rest);
        let found = words.iter().find_map(|word| {
            let form = Form::of(word.word, after)?;
            Some((word, form))
        });
        let Some((word, form)) = found else {
            let next = after.chars().next().map_or(1, char::len_utf8);
            result.push_str(after.get(..next).unwrap_or_default());
            rest += next;
            continue;
        };
        rest += word.word.len();
        let next = line.get(rest..).unwrap_or_default();
        result.push_str(&match form {
            Form::Screaming => word.name.screaming(),
            Form::Pascal if word.is_field && is_label(before, next, language) => {
                word.name.sentence()
            }
            Form::Pascal => word.name.pascal(),
            Form::Lower => lower(word, before, next, language),
        });
    }
}

/// The letter case of a word in a template.
enum Form {
    Lower,
    Pascal,
    Screaming,
}

impl Form {
    /// Returns the case of `word` at the beginning of `text`. `None` if the text begins with something else.
    fn of(word: &str, text: &str) -> Option<Self> {
        let found = text.get(..word.len())?;
        if !found.eq_ignore_ascii_case(word) {
            return None;
        }
        let mut upper = found.chars().map(|c| c.is_ascii_uppercase());
        match (upper.next()?, upper.all(|is_upper| is_upper)) {
            (true, true) => Some(Self::Screaming),
            (true, false) => Some(Self::Pascal),
            (false, _) => Some(Self::Lower),
        }
    }
}

/// Returns the name as a replacement for a word in lower case that stands between `before` and `after` in its line.
fn lower(word: &Word, before: &str, after: &str, language: Language) -> String {
    let name = &word.name;
    let previous = before.chars().next_back().unwrap_or(' ');
    let next = after.chars().next().unwrap_or(' ');
    let is_in_comment = before.contains("//")
        || before.trim_start().starts_with(['#', '*'])
        || before.contains(" # ");
    let is_in_string = before.matches(['"', '`']).count() % 2 == 1;
    // In a format string
    let is_captured = language == Language::Rust && previous == '{' && matches!(next, '}' | ':');
    if next.is_ascii_uppercase() || before.ends_with("${") && language == Language::TypeScript {
        name.camel()
    } else if previous == '_' || next == '_' || is_captured {
        name.snake()
    } else if previous == '-' && !before.ends_with("->") || next == '-' && !after.starts_with("->")
    {
        name.kebab().into()
    } else if previous == '/' || after.starts_with("/") || before.ends_with("path: ") {
        match word.is_field {
            true => name.camel(),
            false => name.kebab().into(),
        }
    } else if word.is_field && (is_in_string || language == Language::Other) && !is_in_comment {
        name.camel()
    } else if is_in_comment
        && previous != '`'
        && next != '`'
        && !before.ends_with("::")
        && !after.starts_with("::")
    {
        name.words()
    } else if is_in_string && !is_in_comment {
        let is_quoted = matches!(previous, '"' | '`') && matches!(next, '"' | '`' | '?');
        match is_quoted {
            true => name.kebab().into(),
            false => name.words(),
        }
    } else {
        match language {
            Language::Rust => name.snake(),
            Language::TypeScript => name.camel(),
            Language::Other => name.kebab().into(),
        }
    }
}

/// Whether a word with an upper-case first letter is a text that people read, not an identifier.
fn is_label(before: &str, after: &str, language: Language) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_alone = !before.ends_with(is_name) && !after.starts_with(is_name);
    let ends_a_literal = before.ends_with(['"', '`', '>']) && after.starts_with(['"', '`', '<']);
    is_alone && ends_a_literal && language == Language::TypeScript
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [Word; 3] {
        let word = |word, name: &str, is_field| Word {
            word,
            name: name.parse().unwrap(),
            is_field,
        };
        [
            word("specimens", "book-reviews", false),
            word("specimen", "book-review", false),
            word("epithet", "short-title", true),
        ]
    }

    fn check(language: Language, cases: &[(&str, &str)]) {
        for (template, expected) in cases {
            assert_eq!(replace(template, &words(), language), *expected);
        }
    }

    #[test]
    fn a_name_has_the_form_of_an_identifier_in_rust() {
        check(
            Language::Rust,
            &[
                (
                    "use crate::specimens::Specimen;",
                    "use crate::book_reviews::BookReview;",
                ),
                (
                    "let specimen_id = specimen.id;",
                    "let book_review_id = book_review.id;",
                ),
                (
                    "const SPECIMENS: &str = \"SPECIMENS_TABLE\";",
                    "const BOOK_REVIEWS: &str = \"BOOK_REVIEWS_TABLE\";",
                ),
                (
                    "format!(\"./specimens/{id}\")",
                    "format!(\"./book-reviews/{id}\")",
                ),
                (
                    "List::of(\"specimens\", user)",
                    "List::of(\"book-reviews\", user)",
                ),
                ("json!({\"specimenId\": 1})", "json!({\"bookReviewId\": 1})"),
                (
                    "\"You have no specimen with this id.\"",
                    "\"You have no book review with this id.\"",
                ),
                (
                    "/// The id of a specimen, see [`specimens`].",
                    "/// The id of a book review, see [`book_reviews`].",
                ),
                ("//! `GET /specimens/{id}`", "//! `GET /book-reviews/{id}`"),
                (
                    "named(\"museum-specimens-create\")",
                    "named(\"museum-book-reviews-create\")",
                ),
                ("format!(\"{specimen:?}\")", "format!(\"{book_review:?}\")"),
                ("pub epithet: Text<200>,", "pub short_title: Text<200>,"),
                (
                    "fields.required(\"epithet\", value)",
                    "fields.required(\"shortTitle\", value)",
                ),
                (
                    "/// The epithet of the specimen.",
                    "/// The short title of the book review.",
                ),
            ],
        );
    }

    #[test]
    fn a_name_has_the_form_of_an_identifier_in_typescript_and_yaml() {
        check(
            Language::TypeScript,
            &[
                (
                    "const specimens = await list();",
                    "const bookReviews = await list();",
                ),
                (
                    "import x from \"./specimens.ts\";",
                    "import x from \"./book-reviews.ts\";",
                ),
                (
                    "<Field label=\"Epithet\" value={epithet} />",
                    "<Field label=\"Short title\" value={shortTitle} />",
                ),
            ],
        );
        check(
            Language::Other,
            &[
                (
                    "- http: { method: get, path: specimens }",
                    "- http: { method: get, path: book-reviews }",
                ),
                (
                    "specimensTable: x # the specimens",
                    "bookReviewsTable: x # the book reviews",
                ),
            ],
        );
    }
}
