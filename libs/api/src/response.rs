//! The responses to successful requests.

use http::{HeaderValue, StatusCode, header};
use lambda_http::Body;
use serde::Serialize;

use crate::Problem;

/// The maximum size of a page of a list, in bytes. Lambda's limit is 6 MB for the JSON of the whole
/// response. The body is a string in this JSON, so each quote and each backslash of the body is
/// escaped there, and counts as two bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PAGE_LIMIT: usize = 5_000_000;

/// The response to a successful request.
#[derive(Debug)]
pub struct Response(http::Response<Body>);

impl Response {
    /// Creates a response with `body`, serialized as JSON.
    ///
    /// # Errors
    /// 500 if `body` cannot be serialized.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(Problem::internal)?;
        Ok(Self::text(status, body))
    }

    /// Creates a response with status 200 and the body `body`. `body` must be JSON.
    pub fn raw_json(body: String) -> Self {
        Self::text(StatusCode::OK, body)
    }

    /// Creates a response with status 200 and the body `{"status":true}`. The original API (the
    /// notes API of the SST guide) sends the same body after a write.
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

    /// Sets the header `ETag` to `tag` in quotes. `tag` is the version of the resource.
    ///
    /// # Errors
    /// 500 if `tag` is not a valid header value.
    pub fn etag(self, tag: impl std::fmt::Display) -> Result<Self, Problem> {
        self.with(header::ETAG, format!("\"{tag}\""))
    }

    /// Sets the header `Location` to `url`. This is the URL of the created resource, relative to
    /// the URL of the request.
    ///
    /// # Errors
    /// 500 if `url` is not a valid header value.
    pub fn location(self, url: String) -> Result<Self, Problem> {
        self.with(header::LOCATION, url)
    }

    /// Sets the header `Link` to `url`. This is the URL of the next page, relative to the URL of
    /// the request. <https://www.rfc-editor.org/rfc/rfc8288>
    ///
    /// # Errors
    /// 500 if `url` is not a valid header value.
    pub fn next_page(self, url: &str) -> Result<Self, Problem> {
        self.with(header::LINK, format!("<{url}>; rel=\"next\""))
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

/// Serializes `items` as a JSON array. Leaves out the last items if the array would exceed
/// [`PAGE_LIMIT`], but never the first item. Returns the array, and the number of items in the
/// array.
///
/// # Errors
/// 500 if an item cannot be serialized.
pub(crate) fn json_array(items: &[impl Serialize]) -> Result<(String, usize), Problem> {
    let mut array = String::from("[");
    let mut size = 2;
    for (count, item) in items.iter().enumerate() {
        let item = serde_json::to_string(item).map_err(Problem::internal)?;
        // Quotes and backslashes take two bytes each in the JSON string of Lambda's response.
        let escaped = item
            .bytes()
            .filter(|byte| matches!(byte, b'"' | b'\\'))
            .count();
        size += item.len() + escaped + 1;
        if count > 0 {
            if size > PAGE_LIMIT {
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
    fn a_page_below_the_size_limit_contains_all_items() {
        assert_eq!(json_array(&[1, 2, 3]).unwrap(), ("[1,2,3]".into(), 3));
        assert_eq!(json_array(&[0_u8; 0]).unwrap(), ("[]".into(), 0));
    }

    #[test]
    fn a_page_is_cut_before_the_response_exceeds_lambdas_limit() {
        for content in ["\u{0}", "\"", "x", "😀"] {
            let items = vec![content.repeat(100_000); 100];
            let (array, count) = json_array(&items).unwrap();
            let response = serde_json::to_string(&array).unwrap();
            assert!(
                response.len() < 6_000_000,
                "{} bytes of {content:?}",
                response.len()
            );
            let read: Vec<String> = serde_json::from_str(&array).unwrap();
            assert_eq!(read.len(), count);
            assert!(count > 1);
        }
    }

    #[test]
    fn a_page_has_at_least_one_item_of_any_size() {
        let items = ["\u{0}".repeat(2_000_000), "x".into()];
        assert_eq!(json_array(&items).unwrap().1, 1);
    }
}
