//! Conditional requests. <https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1>

use crate::Problem;

/// What the caller says the thing must still be, by the `If-Match` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// No such header: whatever it is by now.
    Absent,
    /// `*`: anything, as long as it exists.
    Any,
    /// One of these entity tags, without their quotes. A weak tag never matches, and is left out.
    Tags(Vec<String>),
}

/// More tags than this are refused: no client holds so many versions of one thing.
const MOST_TAGS: usize = 50;

impl IfMatch {
    /// Parses the header's value.
    ///
    /// # Errors
    /// 400 when it is not a list of entity tags.
    pub(crate) fn parse(header: Option<&str>) -> Result<Self, Problem> {
        let malformed = || {
            Problem::bad_request(
                "If-Match must be * or entity tags as an ETag header gave them, quotes included.",
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
            let weak = rest.starts_with("W/");
            let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
            let (tag, after) = opened
                .and_then(|tag| tag.split_once('"'))
                .ok_or_else(malformed)?;
            // Strong comparison: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
            if !weak {
                tags.push(tag.to_owned());
            }
            if tags.len() > MOST_TAGS {
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
    fn tags_are_read_without_their_quotes() {
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
    fn what_is_no_list_of_tags_is_refused() {
        for header in ["", "1", r#""1"#, r#""1" "2""#, r#""1","#, r#"*, "1""#] {
            let problem = IfMatch::parse(Some(header)).unwrap_err();
            assert_eq!(problem.status(), 400, "{header}");
        }
    }
}
