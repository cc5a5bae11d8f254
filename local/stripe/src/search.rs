//! Search queries (<https://docs.stripe.com/search#search-query-language>). Only equality clauses
//! on `metadata["key"]` and `status`, combined with AND, are supported.

use serde_json::Value;

use crate::error::ApiError;
use crate::json::str_field;

/// A search query: at least one clause. All clauses must match.
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
        let mut remaining = query.trim();
        loop {
            let (clause, rest) = clause(remaining)?;
            clauses.push(clause);
            let Some(next) = next_clause(rest)? else {
                return Ok(Self(clauses));
            };
            remaining = next;
        }
    }

    /// Whether the PaymentIntent object `intent` matches all clauses of the query.
    pub(crate) fn matches(&self, intent: &Value) -> bool {
        self.0.iter().all(|clause| match clause {
            Clause::Status(status) => str_field(intent, "status") == status,
            Clause::Metadata { key, value } => intent
                .get("metadata")
                .and_then(|metadata| metadata.get(key))
                .is_some_and(|found| found == value),
        })
    }
}

/// Parses the clause at the start of `query`. Returns the clause and the rest of the query.
fn clause(query: &str) -> Result<(Clause, &str), ApiError> {
    let end = query
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(query.len());
    let (field, rest) = query.split_at(end);
    match field {
        "metadata" => {
            let (key, rest) = quoted(rest.strip_prefix('[').ok_or_else(syntax_error)?)?;
            let (value, rest) = equal_to(rest.strip_prefix(']').ok_or_else(syntax_error)?)?;
            Ok((Clause::Metadata { key, value }, rest))
        }
        "status" => {
            let (status, rest) = equal_to(rest)?;
            Ok((Clause::Status(status), rest))
        }
        "amount" | "created" | "currency" | "customer" => Err(unsupported("other fields")),
        "" if query.starts_with('-') => Err(unsupported("negated clauses")),
        "" => Err(syntax_error()),
        other => Err(ApiError::invalid(format!(
            "Field `{other}` is an unsupported search field for resource `payment_intents`. See \
             https://stripe.com/docs/search#query-fields-for-payment-intents for a list of \
             supported fields."
        ))
        .param("query")),
    }
}

/// Parses `:"value"` at the start of `query`. Returns the value and the rest of the query.
fn equal_to(query: &str) -> Result<(String, &str), ApiError> {
    match query.chars().next() {
        Some(':') => quoted(&query[1..]),
        Some('~' | '<' | '>') => Err(unsupported("comparisons other than equality")),
        _ => Err(syntax_error()),
    }
}

/// Parses a string in single or double quotes at the start of `query`. In the string, a backslash
/// escapes the next character. Returns the string and the rest of the query.
fn quoted(query: &str) -> Result<(String, &str), ApiError> {
    let mut characters = query.char_indices();
    let quote = match characters.next() {
        Some((_, quote @ ('"' | '\''))) => quote,
        _ => return Err(syntax_error()),
    };
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            end if end == quote => return Ok((value, &query[at + 1..])),
            other => value.push(other),
        }
    }
    Err(syntax_error())
}

/// Skips the `AND` or the whitespace between two clauses. Returns the rest of the query, or None at
/// the end of the query.
fn next_clause(rest: &str) -> Result<Option<&str>, ApiError> {
    let next = rest.trim_start();
    if next.is_empty() {
        return Ok(None);
    }
    if next.len() == rest.len() {
        return Err(syntax_error());
    }
    match next.split_once(char::is_whitespace) {
        Some((word, next)) if word.eq_ignore_ascii_case("and") => Ok(Some(next.trim_start())),
        Some((word, _)) if word.eq_ignore_ascii_case("or") => Err(unsupported("OR")),
        _ => Ok(Some(next)),
    }
}

fn syntax_error() -> ApiError {
    ApiError::invalid(
        "We were unable to parse your search query. Try using the format \
         `metadata[\"key\"]:\"value\"` to query for metadata or key:\"value\" to query for other \
         fields.",
    )
    .param("query")
}

fn unsupported(what: &str) -> ApiError {
    ApiError::invalid(format!(
        "The Stripe test double searches only by metadata and status. It does not support {what}."
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
    fn an_intent_matches_if_all_clauses_match() {
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
    fn an_invalid_or_unsupported_query_is_an_error() {
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
