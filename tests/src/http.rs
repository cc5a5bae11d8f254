//! An HTTP client whose requests can be signed with AWS Signature Version 4.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
pub use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;

/// The credentials, region and service with which requests are signed.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The credentials of the caller.
    pub credentials: Credentials,
    /// The AWS region that the signature is valid for.
    pub region: String,
    /// The AWS service that the signature is valid for, such as `execute-api`.
    pub service: &'static str,
}

/// A request that has not been sent yet.
#[derive(Debug)]
#[must_use = "a request is sent by send()"]
pub struct Request {
    client: Client,
    request: reqwest::Request,
    signer: Option<Signer>,
    time: SystemTime,
}

impl Request {
    /// Creates an unsigned request without a body.
    pub fn new(client: &Client, method: Method, url: Url) -> Self {
        Self {
            client: client.clone(),
            request: reqwest::Request::new(method, url),
            signer: None,
            time: SystemTime::now(),
        }
    }

    /// Signs the request with `signer` when it is sent.
    pub fn signed_by(mut self, signer: &Signer) -> Self {
        self.signer = Some(signer.clone());
        self
    }

    /// Signs the request with `time` as its signing time, instead of the time at which the request was created.
    pub fn signed_at(mut self, time: SystemTime) -> Self {
        self.time = time;
        self
    }

    /// Sets a header. Replaces an existing header with the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(value).unwrap();
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Sets the body of the request.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = Some(body.into().into());
        self
    }

    /// Sets a JSON body, and the header `content-type` to `application/json`.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Signs the request if [`Self::signed_by`] has set a signer, and sends the request.
    ///
    /// # Errors
    /// Fails if there is no complete response.
    pub async fn attempt(self) -> reqwest::Result<Response> {
        self.try_send(|_| ()).await
    }

    /// Signs the request if [`Self::signed_by`] has set a signer, and sends the request.
    pub async fn send(self) -> Response {
        self.send_tampered(|_| ()).await
    }

    /// Signs the request, changes the signed request with `tamper`, and sends the changed request.
    pub async fn send_tampered(self, tamper: impl FnOnce(&mut reqwest::Request)) -> Response {
        let context = format!("{} {}", self.request.method(), self.request.url());
        let response = self.try_send(tamper).await;
        response.unwrap_or_else(|error| panic!("{context}: {error:?}"))
    }

    /// Signs the request for its own URL, and sends it through the proxy with the URL `proxy`.
    ///
    /// # Errors
    /// Fails if the proxy closes the connection without a response.
    pub async fn send_through(self, proxy: &Url) -> reqwest::Result<Response> {
        self.try_send(|request| {
            // The signature is valid only for this host.
            let url = request.url();
            let port = url.port().map(|port| format!(":{port}"));
            let host = url.host_str().unwrap().to_owned() + &port.unwrap_or_default();
            let host = HeaderValue::try_from(host).unwrap();
            request.headers_mut().insert("host", host);
            request.url_mut().set_host(proxy.host_str()).unwrap();
            request.url_mut().set_port(proxy.port()).unwrap();
        })
        .await
    }

    async fn try_send(
        mut self,
        tamper: impl FnOnce(&mut reqwest::Request),
    ) -> reqwest::Result<Response> {
        if let Some(signer) = self.signer.take() {
            self.sign(&signer);
        }
        tamper(&mut self.request);
        let url = self.request.url().clone();
        let response = self.client.execute(self.request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Response {
            url,
            status,
            headers,
            body: response.bytes().await?.into(),
        })
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

/// An HTTP response whose body has been received completely.
#[derive(Debug)]
pub struct Response {
    url: Url,
    /// The HTTP status code.
    pub status: u16,
    headers: HeaderMap,
    /// The body as received, in bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the body as text. Replaces invalid UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the value of a header. `None` if the response does not have the header.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// Asserts that the response has this status and correct CORS headers. Returns the JSON body.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        let text = self.text();
        assert_eq!(self.status, status, "{}: {text}", self.url);
        self.assert_cors_headers();
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {text}", self.url))
    }

    /// Asserts that the body is a problem document (RFC 9457) with this status, a title, a detail and a request ID, and
    /// that the CORS headers are correct. Returns the problem document.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        let problem = self.json(status);
        let context = format!("{}: {problem}", self.url);
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{context}");
        assert_eq!(problem["type"], "about:blank", "{context}");
        assert_eq!(problem["status"], status, "{context}");
        for text in ["title", "detail", "requestId"] {
            let text = problem[text].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{context}");
        }
        problem
    }

    /// Asserts that the response is a problem with status 422, and that its list of invalid fields is exactly `fields`,
    /// in any order.
    #[track_caller]
    pub fn assert_invalid(&self, fields: &[&str]) {
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

    /// Asserts that the CORS headers let an app in a browser read the response's body and headers.
    #[track_caller]
    fn assert_cors_headers(&self) {
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

    /// Returns the URL of the next page, from the `Link` header. `None` if this is the last page.
    pub fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let next = link.strip_prefix('<')?.strip_suffix(r#">; rel="next""#);
        Some(
            self.resolve(
                next.unwrap_or_else(|| panic!("the Link header has no next page: {link}")),
            ),
        )
    }

    /// Resolves a relative URL from the response, such as that of the `Location` header, against the URL of the
    /// request.
    pub fn resolve(&self, reference: &str) -> String {
        self.url.join(reference).unwrap().into()
    }
}
