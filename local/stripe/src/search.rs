//! What is searched for (<https://docs.stripe.com/search#search-query-language>): clauses on
//! `metadata["key"]` and `status` that all hold. Of the language no more is taken.

use serde_json::Value;

use crate::error::ApiError;
use crate::ledger::text;

/// Clauses that an intent has to meet, at least one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Query(Vec<Clause>);

#[derive(Debug, PartialEq, Eq)]
enum Clause {
    Metadata { key: String, value: String },
    Status(String),
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut clauses = Vec::new();
        let mut left = query.trim();
        loop {
            let (clause, rest) = clause(left)?;
            clauses.push(clause);
            let Some(next) = next(rest)? else {
                return Ok(Self(clauses));
            };
            left = next;
        }
    }

    /// Whether an intent, as the API shows it, is one of those searched for.
    pub(crate) fn matches(&self, intent: &Value) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Status(status) => text(intent, "status") == status,
            Clause::Metadata { key, value } => intent
                .get("metadata")
                .and_then(|metadata| metadata.get(key))
                .is_some_and(|found| found == value),
        })
    }
}

/// Takes a clause from the beginning of `query`.
fn clause(query: &str) -> Result<(Clause, &str), ApiError> {
    let end = query
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(query.len());
    let (field, rest) = query.split_at(end);
    match field {
        "metadata" => {
            let (key, rest) = quoted(rest.strip_prefix('[').ok_or_else(unreadable)?)?;
            let (value, rest) = compared(rest.strip_prefix(']').ok_or_else(unreadable)?)?;
            Ok((Clause::Metadata { key, value }, rest))
        }
        "status" => {
            let (status, rest) = compared(rest)?;
            Ok((Clause::Status(status), rest))
        }
        "amount" | "created" | "currency" | "customer" => Err(beyond("other fields")),
        "" if query.starts_with('-') => Err(beyond("clauses that must not hold")),
        "" => Err(unreadable()),
        other => Err(ApiError::invalid(format!(
            "Field `{other}` is an unsupported search field for resource `payment_intents`. See \
             https://stripe.com/docs/search#query-fields-for-payment-intents for a list of \
             supported fields."
        ))
        .param("query")),
    }
}

/// Takes what a field is to be equal to.
fn compared(query: &str) -> Result<(String, &str), ApiError> {
    match query.chars().next() {
        Some(':') => quoted(&query[1..]),
        Some('~' | '<' | '>') => Err(beyond("comparisons other than equality")),
        _ => Err(unreadable()),
    }
}

/// Takes a text in quotes of either kind, in which a backslash has the next character stand for
/// itself.
fn quoted(query: &str) -> Result<(String, &str), ApiError> {
    let mut characters = query.char_indices();
    let quote = match characters.next() {
        Some((_, quote @ ('"' | '\''))) => quote,
        _ => return Err(unreadable()),
    };
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            end if end == quote => return Ok((value, &query[at + 1..])),
            other => value.push(other),
        }
    }
    Err(unreadable())
}

/// What comes after the word, or the space alone, that joins two clauses; none at the end.
fn next(rest: &str) -> Result<Option<&str>, ApiError> {
    let next = rest.trim_start();
    if next.is_empty() {
        return Ok(None);
    }
    if next.len() == rest.len() {
        return Err(unreadable());
    }
    match next.split_once(char::is_whitespace) {
        Some((word, next)) if word.eq_ignore_ascii_case("and") => Ok(Some(next.trim_start())),
        Some((word, _)) if word.eq_ignore_ascii_case("or") => Err(beyond("OR")),
        _ => Ok(Some(next)),
    }
}

fn unreadable() -> ApiError {
    ApiError::invalid(
        "We were unable to parse your search query. Try using the format \
         `metadata[\"key\"]:\"value\"` to query for metadata or key:\"value\" to query for other \
         fields.",
    )
    .param("query")
}

fn beyond(what: &str) -> ApiError {
    ApiError::invalid(format!(
        "The double searches by metadata and status alone: it knows no {what}."
    ))
    .param("query")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(query: &str) -> bool {
        let intent = json!({
            "status": "succeeded",
            "metadata": {"purchaseId": "1", "it's": "a \"b\" \\ é"},
        });
        Query::parse(query).unwrap().matches(&intent)
    }

    #[test]
    fn an_intent_is_found_when_all_clauses_hold() {
        for query in [
            "metadata['purchaseId']:'1'",
            "  metadata[\"purchaseId\"]:\"1\"  ",
            "status:'succeeded'",
            "metadata['purchaseId']:'1' AND status:'succeeded'",
            "status:'succeeded' and metadata['purchaseId']:'1'",
            "status:'succeeded'  metadata['purchaseId']:'1'",
            r#"metadata['it\'s']:"a \"b\" \\ é""#,
            r#"metadata["it's"]:'a "b" \\ é'"#,
        ] {
            assert!(matches(query), "{query}");
        }
        for query in [
            "metadata['purchaseId']:'2'",
            "metadata['purchaseId']:''",
            "metadata['userId']:'1'",
            "status:'canceled'",
            "metadata['purchaseId']:'1' AND status:'canceled'",
        ] {
            assert!(!matches(query), "{query}");
        }
    }

    #[test]
    fn a_query_that_is_none_is_refused_and_no_panic() {
        for query in [
            "",
            " ",
            "é",
            "1",
            "status",
            "status:",
            "status:succeeded",
            "status:'succeeded",
            "status:'succeeded\\",
            "status:\"succeeded'",
            "status:'a'status:'b'",
            "status:'a' AND",
            "status:'a' AND ",
            "status:'a' OR status:'b'",
            "status~'succ'",
            "-status:'a'",
            "metadata:'a'",
            "metadata['a']",
            "metadata['a':'b'",
            "metadata[a]:'b'",
            "amount>100",
            "colour:'red'",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }
}
