//! Requests, signed as AWS wants them, and their answers.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
pub use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;

/// Who signs a request, and for which service of AWS.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The signer's credentials.
    pub credentials: Credentials,
    /// The region in which the signature holds.
    pub region: String,
    /// The service for which it does.
    pub service: &'static str,
}

/// A request under way.
#[derive(Debug)]
#[must_use = "it goes out with send()"]
pub struct Request {
    client: Client,
    request: reqwest::Request,
    signer: Option<Signer>,
    time: SystemTime,
}

impl Request {
    /// A request that nobody signs.
    pub fn new(client: &Client, method: Method, url: Url) -> Self {
        Self {
            client: client.clone(),
            request: reqwest::Request::new(method, url),
            signer: None,
            time: SystemTime::now(),
        }
    }

    /// Signed by `signer`, just before it goes out.
    pub fn signed_by(mut self, signer: &Signer) -> Self {
        self.signer = Some(signer.clone());
        self
    }

    /// Signed as if it were that moment.
    pub fn signed_at(mut self, time: SystemTime) -> Self {
        self.time = time;
        self
    }

    /// With a header, in place of what it was before.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(value).unwrap();
        self.request.headers_mut().insert(name, value);
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = Some(body.into().into());
        self
    }

    /// With a JSON body, declared as such.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Signs and sends it.
    pub async fn send(self) -> Answer {
        self.send_altered(|_| ()).await
    }

    /// Signs it, lets `alter` change it behind the signature's back, and sends it.
    pub async fn send_altered(mut self, alter: impl FnOnce(&mut reqwest::Request)) -> Answer {
        if let Some(signer) = self.signer.take() {
            self.sign(&signer);
        }
        alter(&mut self.request);
        let (method, url) = (self.request.method().clone(), self.request.url().clone());
        let answer = self.client.execute(self.request).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await;
        let body = body.unwrap_or_else(|error| panic!("{method} {url}: {error:?}"));
        Answer {
            url,
            status,
            headers,
            body: body.into(),
        }
    }

    fn sign(&mut self, signer: &Signer) {
        let identity = signer.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&signer.region)
            .name(signer.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = self.request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let body = self.request.body().and_then(|body| body.as_bytes());
        let signable = SignableRequest::new(
            self.request.method().as_str(),
            self.request.url().as_str(),
            headers,
            SignableBody::Bytes(body.unwrap_or_default()),
        );
        let (signature, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        for (name, value) in signature.headers() {
            let name = HeaderName::try_from(name).unwrap();
            let value = HeaderValue::try_from(value).unwrap();
            self.request.headers_mut().insert(name, value);
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    url: Url,
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// The JSON body of an answer that must have this status, and that a browser may read.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        let text = self.text();
        assert_eq!(self.status, status, "{}: {text}", self.url);
        self.assert_readable();
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {text}", self.url))
    }

    /// The problem document (RFC 9457) of an answer that must be one, with this status, readable
    /// by a browser, and under the request id that the log knows.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        let problem = self.json(status);
        let said = format!("{}: {problem}", self.url);
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{said}");
        assert_eq!(problem["type"], "about:blank", "{said}");
        assert_eq!(problem["status"], status, "{said}");
        for text in ["title", "detail", "requestId"] {
            let text = problem[text].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{said}");
        }
        problem
    }

    /// As [`Answer::problem`]: a 422 for these fields and no others, in any order.
    #[track_caller]
    pub fn names(&self, fields: &[&str]) {
        let problem = self.problem(422);
        let named = problem["errors"].as_array().cloned().unwrap_or_default();
        let mut named: Vec<_> = named.iter().map(|error| &error["field"]).collect();
        named.sort_by_key(|field| field.to_string());
        let mut expected = fields.to_vec();
        expected.sort();
        assert_eq!(named, expected, "{problem}");
        for field in fields {
            assert!(problem["detail"].to_string().contains(field), "{problem}");
        }
    }

    /// Whether a browser lets the app's script read the answer and its headers.
    #[track_caller]
    fn assert_readable(&self) {
        assert_eq!(
            self.header("access-control-allow-origin"),
            Some("*"),
            "{}: {}",
            self.url,
            self.text()
        );
        let exposed = self.header("access-control-expose-headers");
        let exposed = exposed.unwrap_or_default().to_lowercase();
        for header in ["etag", "link", "location", "x-amzn-requestid"] {
            assert!(exposed.contains(header), "{exposed}");
        }
    }

    /// The address of the next page, if there is one.
    pub fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let next = link.strip_prefix('<')?.strip_suffix(r#">; rel="next""#);
        Some(self.address(next.unwrap_or_else(|| panic!("not a next page: {link}"))))
    }

    /// An address that the answer gives, such as its `Location`, in full.
    pub fn address(&self, reference: &str) -> String {
        self.url.join(reference).unwrap().into()
    }
}
