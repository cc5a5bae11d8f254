//! The names of services, resources, routes, jobs and subscribers.

use std::fmt;
use std::str::FromStr;

use heck::{
    ToKebabCase, ToLowerCamelCase, ToShoutySnakeCase, ToSnakeCase, ToTitleCase, ToUpperCamelCase,
};
use serde::{Deserialize, Serialize};

/// A name of one or more words, such as `book-reviews`. It is written in the form that each language uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let kebab = text.to_kebab_case();
        let mut words = kebab.split('-');
        if text.is_empty()
            || !text.chars().all(is_valid)
            || !words.all(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        {
            return Err(format!(
                "the name `{text}` must have only letters, digits and single hyphens, and each of its words must begin \
                 with a letter, for example `book-reviews`"
            ));
        }
        Ok(Self(kebab))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Name {
    /// `book-reviews`
    pub(super) fn kebab(&self) -> &str {
        &self.0
    }

    /// `book_reviews`
    pub(super) fn snake(&self) -> String {
        self.0.to_snake_case()
    }

    /// `bookReviews`
    pub(super) fn camel(&self) -> String {
        self.0.to_lower_camel_case()
    }

    /// `BookReviews`
    pub(super) fn pascal(&self) -> String {
        self.0.to_upper_camel_case()
    }

    /// `BOOK_REVIEWS`
    pub(super) fn screaming(&self) -> String {
        self.0.to_shouty_snake_case()
    }

    /// `book reviews`
    pub(super) fn words(&self) -> String {
        self.0.replace('-', " ")
    }

    /// `Book reviews`
    pub(super) fn sentence(&self) -> String {
        let words = self.words();
        let (first, rest) = words.split_at(words.len().min(1));
        first.to_title_case() + rest
    }

    /// Returns the name of two names, one after the other.
    pub(super) fn join(&self, other: &Self) -> Self {
        Self(format!("{self}-{other}"))
    }

    /// Returns the name with its last word in the singular.
    pub(super) fn singular(&self) -> Self {
        Self(pluralizer::pluralize(&self.0, 1, false))
    }

    /// Returns the name with its last word in the plural.
    pub(super) fn plural(&self) -> Self {
        Self(pluralizer::pluralize(&self.0, 2, false))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_has_the_form_of_each_language() {
        for text in ["book-reviews", "book_reviews", "bookReviews", "BookReviews"] {
            let name = name(text);
            assert_eq!(name.kebab(), "book-reviews");
            assert_eq!(name.snake(), "book_reviews");
            assert_eq!(name.camel(), "bookReviews");
            assert_eq!(name.pascal(), "BookReviews");
            assert_eq!(name.screaming(), "BOOK_REVIEWS");
            assert_eq!(name.words(), "book reviews");
            assert_eq!(name.sentence(), "Book reviews");
        }
    }

    #[test]
    fn a_malformed_name_is_rejected() {
        for text in [
            "",
            "1book",
            "book review",
            "bücher",
            "book.s",
            "a/b",
            "-",
            "book-2",
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.contains("must have only letters"), "{error}");
        }
    }

    #[test]
    fn singular_and_plural_are_english() {
        for (one, many) in [
            ("book", "books"),
            ("movie", "movies"),
            ("category", "categories"),
            ("box", "boxes"),
            ("branch", "branches"),
            ("class", "classes"),
            ("key", "keys"),
            ("book-review", "book-reviews"),
        ] {
            assert_eq!(name(one).plural(), name(many));
            assert_eq!(name(many).singular(), name(one));
        }
    }
}
