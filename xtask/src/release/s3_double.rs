//! A double of S3 for unit tests: an HTTP client that keeps objects in memory and can fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use aws_types::region::Region;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::{account::Account, hash::sha256, store::Store};

/// How the double handles one attempt of a request, instead of its normal behavior.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The double performs the request, but the response is lost.
    LostResponse,
    /// The double does not perform the request, and responds with this status and error code.
    Error(u16, &'static str),
}

#[derive(Debug, Clone)]
struct Object {
    content: Vec<u8>,
    etag: String,
    /// The SHA-256 checksum in Base64, if the writer has sent it.
    checksum: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the bucket exists.
    has_bucket: bool,
    objects: BTreeMap<String, Object>,
    writes: u32,
    /// The faults of the next requests with each HTTP method.
    faults: BTreeMap<String, VecDeque<Fault>>,
    /// The method and the key of each attempt of a request.
    attempts: Vec<String>,
}

/// A bucket of releases in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct S3Double(Arc<Mutex<State>>);

impl S3Double {
    /// Returns a double of an empty bucket.
    pub(crate) fn new() -> Self {
        let double = Self::default();
        double.0.lock().unwrap().has_bucket = true;
        double
    }

    /// Returns a double of an account without the bucket.
    pub(crate) fn without_bucket() -> Self {
        Self::default()
    }

    /// Returns a client for the objects of a stage.
    pub(crate) fn store(&self, stage: &str) -> Store {
        Store::new(&self.account(), &stage.parse().unwrap())
    }

    /// Returns an account whose S3 requests the double handles.
    pub(crate) fn account(&self) -> Account {
        let connector = SharedHttpConnector::new(self.clone());
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .sleep_impl(aws_smithy_async::rt::sleep::default_async_sleep().unwrap())
            .build();
        Account::fake(config)
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    /// The content of an object.
    pub(crate) fn content(&self, key: &str) -> Option<Vec<u8>> {
        let state = self.0.lock().unwrap();
        state.objects.get(key).map(|object| object.content.clone())
    }

    /// Replaces the content of an object, as someone does who has permission to write every object.
    pub(crate) fn overwrite(&self, key: &str, content: &[u8]) {
        self.0.lock().unwrap().put(key, content, None);
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, key: &str) {
        self.0.lock().unwrap().objects.remove(key);
    }

    /// Sets the faults of the next attempts of requests with the HTTP method `method`.
    pub(crate) fn fail(&self, method: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.0.lock().unwrap();
        let queue = state.faults.entry(method.into()).or_default();
        queue.extend(faults);
    }

    /// The method and the key of each attempt of a request so far, such as `PUT dev/lock.json`.
    pub(crate) fn attempts(&self) -> Vec<String> {
        self.0.lock().unwrap().attempts.clone()
    }
}

impl State {
    fn put(&mut self, key: &str, content: &[u8], checksum: Option<String>) -> String {
        self.writes += 1;
        // Unlike S3, each write has another ETag, even if the content is equal.
        let etag = format!("\"{}\"", self.writes);
        let object = Object {
            content: content.into(),
            etag: etag.clone(),
            checksum,
        };
        self.objects.insert(key.into(), object);
        etag
    }

    fn respond(&mut self, request: &HttpRequest) -> HttpResponse {
        let url = Url::parse(request.uri()).unwrap();
        let header = |name| request.headers().get(name);
        let mut path = url.path().trim_start_matches('/').splitn(2, '/');
        let key = path.nth(1).unwrap_or_default();
        if !self.has_bucket {
            return error(404, "NoSuchBucket");
        }
        let object = self.objects.get(key).cloned();
        match request.method() {
            "GET" if key.is_empty() => self.list(&url),
            "GET" | "HEAD" => match object {
                Some(object) => found(&object, request.method()),
                None if request.method() == "HEAD" => response(404, ""),
                None => error(404, "NoSuchKey"),
            },
            "DELETE" => {
                self.objects.remove(key);
                response(204, "")
            }
            "PUT" => {
                let content = request.body().bytes().unwrap();
                let checksum = header("x-amz-checksum-sha256");
                match (header("if-none-match"), header("if-match"), object) {
                    (Some("*"), _, Some(_)) => return error(412, "PreconditionFailed"),
                    (_, Some(_), None) => return error(404, "NoSuchKey"),
                    (_, Some(etag), Some(object)) if etag != object.etag => {
                        return error(412, "PreconditionFailed");
                    }
                    _ => {}
                }
                if checksum.is_some_and(|sum| sum != STANDARD.encode(Sha256::digest(content))) {
                    return error(400, "BadDigest");
                }
                let etag = self.put(key, content, checksum.map(str::to_owned));
                let mut written = response(200, "");
                written.headers_mut().insert("etag", etag);
                written
            }
            method => panic!("the double does not support {method}"),
        }
    }

    fn list(&self, url: &Url) -> HttpResponse {
        let query: BTreeMap<_, _> = url.query_pairs().collect();
        let prefix = query.get("prefix").map_or("", |prefix| prefix);
        let keys = self.objects.keys().filter(|key| key.starts_with(prefix));
        let (mut list, mut prefixes) = (String::new(), BTreeSet::new());
        for key in keys {
            let rest = &key[prefix.len()..];
            match query
                .get("delimiter")
                .and_then(|end| rest.split_once(&**end))
            {
                Some((first, _)) => drop(prefixes.insert(format!("{prefix}{first}/"))),
                None => write!(list, "<Contents><Key>{key}</Key></Contents>").unwrap(),
            }
        }
        for prefix in prefixes {
            write!(
                list,
                "<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
            )
            .unwrap();
        }
        response(200, format!("<ListBucketResult>{list}</ListBucketResult>"))
    }
}

fn response(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body.into())
}

fn error(status: u16, code: &str) -> HttpResponse {
    let body = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    response(status, body)
}

fn found(object: &Object, method: &str) -> HttpResponse {
    let body = if method == "HEAD" {
        "".into()
    } else {
        object.content.clone()
    };
    let mut found = response(200, SdkBody::from(body));
    found.headers_mut().insert("etag", object.etag.clone());
    if let Some(checksum) = &object.checksum {
        let name = "x-amz-checksum-sha256";
        found.headers_mut().insert(name, checksum.clone());
    }
    found
}

impl HttpConnector for S3Double {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut state = self.0.lock().unwrap();
        let method = request.method().to_owned();
        let path = request.uri().split('?').next().unwrap_or_default();
        let key = path.splitn(5, '/').nth(4).unwrap_or_default();
        state.attempts.push(format!("{method} {key}"));
        let faults = state.faults.get_mut(&method);
        let fault = faults.and_then(VecDeque::pop_front);
        HttpConnectorFuture::ready(match fault {
            None => Ok(state.respond(&request)),
            Some(Fault::Error(status, code)) => Ok(error(status, code)),
            Some(Fault::LostResponse) => {
                state.respond(&request);
                Err(ConnectorError::io("the connection was lost".into()))
            }
        })
    }
}

/// Returns content and its SHA-256 hash.
pub(crate) fn hashed(content: &str) -> (Vec<u8>, String) {
    (content.into(), sha256(content))
}
