//! Parses the header `If-Match` of conditional requests.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1>

use crate::Problem;

/// The precondition of a write, from the request's `If-Match` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// The request has no `If-Match`, so the write has no precondition.
    Absent,
    /// The header is `*`: the write requires only that the resource exists.
    Any,
    /// The resource's entity tag must be in this list. The tags are stored without their quotes.
    /// Weak tags (`W/"1"`) are dropped, because a weak tag never matches.
    Tags(Vec<String>),
}

/// The maximum number of strong tags in an `If-Match` header. No client needs to name more versions
/// of one resource.
const MAX_TAGS: usize = 50;

impl IfMatch {
    /// Parses the value of an `If-Match` header. Returns [`IfMatch::Absent`] for None.
    ///
    /// # Errors
    /// 400 if the value is neither `*` nor a list of entity tags, or has more than [`MAX_TAGS`]
    /// strong tags.
    pub(crate) fn parse(header: Option<&str>) -> Result<Self, Problem> {
        let malformed = || {
            Problem::bad_request(
                "If-Match must be * or a list of values from ETag headers, with their quotes.",
            )
        };
        let Some(header) = header else {
            return Ok(Self::Absent);
        };
        let mut rest = header.trim();
        if rest == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        loop {
            let is_weak = rest.starts_with("W/");
            let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let (tag, after) = opened
                .and_then(|tag| tag.split_once('"'))
                .ok_or_else(malformed)?;
            // Strong comparison: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
            if !is_weak {
                tags.push(tag.to_owned());
            }
            if tags.len() > MAX_TAGS {
                return Err(malformed());
            }
            match after.trim_start() {
                "" => return Ok(Self::Tags(tags)),
                more => rest = more.strip_prefix(',').ok_or_else(malformed)?.trim_start(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_parsed_without_quotes() {
        for (header, tags) in [
            (r#""1""#, vec!["1"]),
            (r#" "1" , "2,3" "#, vec!["1", "2,3"]),
            (r#"W/"1", "2""#, vec!["2"]),
            (r#"W/"1""#, vec![]),
        ] {
            let tags = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(
                IfMatch::parse(Some(header)).unwrap(),
                IfMatch::Tags(tags),
                "{header}"
            );
        }
        assert_eq!(IfMatch::parse(Some("*")).unwrap(), IfMatch::Any);
        assert_eq!(IfMatch::parse(None).unwrap(), IfMatch::Absent);
    }

    #[test]
    fn a_header_that_is_not_a_list_of_tags_is_refused() {
        for header in ["", "1", r#""1"#, r#""1" "2""#, r#""1","#, r#"*, "1""#] {
            let problem = IfMatch::parse(Some(header)).unwrap_err();
            assert_eq!(problem.status(), 400, "{header}");
        }
    }
}
