//! What a handler answers.

use http::{HeaderValue, StatusCode, header};
use lambda_http::Body;
use serde::Serialize;

use crate::Problem;

/// Bytes of JSON that one page of a list may have. Lambda's own limit is 6 MB for the answer after
/// the body was quoted as a string once more.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PAGE_LIMIT: usize = 5_000_000;

/// A successful answer.
#[derive(Debug)]
pub struct Response(http::Response<Body>);

impl Response {
    /// An answer with a JSON body.
    ///
    /// # Errors
    /// 500 when `body` cannot be written as JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(Problem::internal)?;
        Ok(Self::text(status, body))
    }

    /// 200 with a body that is JSON already.
    pub fn raw_json(body: String) -> Self {
        Self::text(StatusCode::OK, body)
    }

    /// 200 with `{"status":true}`, as the original API says that it is done.
    pub fn done() -> Self {
        Self::raw_json(r#"{"status":true}"#.into())
    }

    fn text(status: StatusCode, body: String) -> Self {
        let mut response = http::Response::new(Body::Text(body));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Self(response)
    }

    /// Says which version of a thing this is.
    ///
    /// # Errors
    /// 500 when the tag cannot stand in a header.
    pub fn etag(self, tag: impl std::fmt::Display) -> Result<Self, Problem> {
        self.with(header::ETAG, format!("\"{tag}\""))
    }

    /// Says where the thing that was made is, relative to the request's address.
    ///
    /// # Errors
    /// 500 when the address cannot stand in a header.
    pub fn location(self, address: String) -> Result<Self, Problem> {
        self.with(header::LOCATION, address)
    }

    /// Says where the next page is, relative to the request's address.
    /// <https://www.rfc-editor.org/rfc/rfc8288>
    ///
    /// # Errors
    /// 500 when the address cannot stand in a header.
    pub fn next_page(self, address: &str) -> Result<Self, Problem> {
        self.with(header::LINK, format!("<{address}>; rel=\"next\""))
    }

    fn with(mut self, name: header::HeaderName, value: String) -> Result<Self, Problem> {
        let value = HeaderValue::try_from(value).map_err(Problem::internal)?;
        self.0.headers_mut().insert(name, value);
        Ok(self)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn into_http(self) -> http::Response<Body> {
        self.0
    }
}

/// Writes as many of `items` as one answer can carry, at least one, as a JSON array. Also returns
/// how many these are.
///
/// # Errors
/// 500 when an item cannot be written as JSON.
pub(crate) fn json_array(items: &[impl Serialize]) -> Result<(String, usize), Problem> {
    let mut array = String::from("[");
    let mut carried = 2;
    for (count, item) in items.iter().enumerate() {
        let item = serde_json::to_string(item).map_err(Problem::internal)?;
        // Quotes and backslashes double when Lambda quotes the body.
        let doubled = item
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'))
            .count();
        carried += item.len() + doubled + 1;
        if count > 0 {
            if carried > PAGE_LIMIT {
                array.push(']');
                return Ok((array, count));
            }
            array.push(',');
        }
        array.push_str(&item);
    }
    array.push(']');
    Ok((array, items.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_fits_is_carried_whole() {
        assert_eq!(json_array(&[1, 2, 3]).unwrap(), ("[1,2,3]".into(), 3));
        assert_eq!(json_array(&[0_u8; 0]).unwrap(), ("[]".into(), 0));
    }

    #[test]
    fn a_page_is_cut_before_the_answer_passes_lambdas_limit() {
        for content in ["\u{0}", "\"", "x", "😀"] {
            let items = vec![content.repeat(100_000); 100];
            let (array, count) = json_array(&items).unwrap();
            let answer = serde_json::to_string(&array).unwrap();
            assert!(
                answer.len() < 6_000_000,
                "{} bytes of {content:?}",
                answer.len()
            );
            let read: Vec<String> = serde_json::from_str(&array).unwrap();
            assert_eq!(read.len(), count);
            assert!(count > 1);
        }
    }

    #[test]
    fn one_item_is_carried_whatever_its_size() {
        let items = ["\u{0}".repeat(2_000_000), "x".into()];
        assert_eq!(json_array(&items).unwrap().1, 1);
    }
}
