//! Replaces words in texts, so that the replacement can be undone.

use std::ops::Range;

/// A text to replace, and the text that replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) old: String,
    pub(crate) new: String,
}

impl Word {
    /// The word that undoes this one.
    fn reversed(&self) -> Self {
        Self {
            old: self.new.clone(),
            new: self.old.clone(),
        }
    }
}

/// Whether a character belongs to a word. `_` does, so that the name `ACME` is not found in the environment variable
/// `ACME_STAGE`.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns where `text` contains `word` as a whole word: without a letter, digit or `_` before or after it. A `_` at the end
/// of `word` is followed by the rest of an identifier.
pub(crate) fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let is_start_of_identifier = word.ends_with('_');
    text.match_indices(word).filter_map(move |(at, found)| {
        let end = at + found.len();
        let before = text[..at].chars().next_back().is_some_and(is_part);
        let after = text[end..].chars().next().is_some_and(is_part);
        (!before && (is_start_of_identifier || !after)).then_some(at..end)
    })
}

/// Returns where `text` contains one of `words`, without overlaps. Of two words that begin at the same place, the longer one
/// counts.
pub(crate) fn matches<'a>(text: &str, words: &'a [Word]) -> Vec<(Range<usize>, &'a Word)> {
    let mut found: Vec<_> = words
        .iter()
        .flat_map(|word| places(text, &word.old).map(move |place| (place, word)))
        .collect();
    found.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
    let mut end = 0;
    found.retain(|(place, _)| {
        let is_free = place.start >= end;
        if is_free {
            end = place.end;
        }
        is_free
    });
    found
}

/// Returns the places of `text` that [`replace`] would change.
pub(crate) fn occupied(text: &str, words: &[Word]) -> Vec<Range<usize>> {
    let found = matches(text, words);
    found.into_iter().map(|(place, _)| place).collect()
}

/// Replaces all words in one pass, so that the new text of one word is not changed by another word.
pub(crate) fn replace(text: &str, words: &[Word]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for (place, word) in matches(text, words) {
        replaced.push_str(&text[end..place.start]);
        replaced.push_str(&word.new);
        end = place.end;
    }
    replaced.push_str(&text[end..]);
    replaced
}

/// Replaces all words.
///
/// # Errors
/// Fails with the number of a line of `text` if the replacement could not be undone, because the line already contains the
/// new text of a word.
pub(crate) fn replace_reversibly(text: &str, words: &[Word]) -> Result<String, usize> {
    let replaced = replace(text, words);
    let reversed: Vec<Word> = words.iter().map(Word::reversed).collect();
    let undone = replace(&replaced, &reversed);
    if undone == text {
        return Ok(replaced);
    }
    let same = text.lines().zip(undone.lines());
    Err(1 + same.take_while(|(before, after)| before == after).count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(words: &[(&str, &str)]) -> Vec<Word> {
        let word = |(old, new): &(&str, &str)| Word {
            old: (*old).into(),
            new: (*new).into(),
        };
        words.iter().map(word).collect()
    }

    #[test]
    fn whole_words_are_replaced_in_one_pass() {
        let words = words(&[
            ("old", "new"),
            ("OLD_", "NEW_"),
            ("old.example", "older.example"),
            ("x/old", "y/old"),
        ]);
        let text = "old-dev x/old dev.old.example OLD_STAGE older sold old_x old";
        let replaced = "new-dev y/old dev.older.example NEW_STAGE older sold old_x new";
        assert_eq!(replace(text, &words), replaced);
    }

    #[test]
    fn a_replacement_that_cannot_be_undone_is_refused_with_its_line() {
        let words = words(&[("old", "new")]);
        assert_eq!(
            replace_reversibly("old\nnewer\n", &words).unwrap(),
            "new\nnewer\n"
        );
        assert_eq!(replace_reversibly("old\na new one\n", &words), Err(2));
    }
}
