//! A local server that records requests, and a function that computes the expected signature of a request.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use aws::Stack;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_types::date_time::{DateTime, Format};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const REGION: &str = "eu-central-1";

/// The credentials that sign the requests of all tests.
pub(crate) fn credentials() -> Credentials {
    let token = Some("token/+==".to_owned());
    Credentials::new("AKIDEXAMPLE", "secret", token, None, "test")
}

/// A request that the local server received.
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path and the query string.
    pub(crate) target: String,
    /// The values of the headers, keyed by the header's name in lower case. The values of a repeated header are joined
    /// with commas.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The number of the connection on which the request arrived. The server numbers its connections from 0, in the
    /// order in which it accepts them.
    pub(crate) connection: usize,
}

/// The server's reply to a request: a complete HTTP response, or `None` to close the connection without a response.
pub(crate) type Reply = Option<String>;

/// Creates a response after which the connection stays open. Adds a `content-length` header, except if `headers`
/// contains this header (for a HEAD request) or the status is 204.
pub(crate) fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let length = if headers.contains("content-length") || status.starts_with("204") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    Some(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n{body}"))
}

/// A server that records requests and sends predefined replies.
pub(crate) struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server that sends the first of `replies` to the first request, the second to the second, and so on.
    /// When `replies` has no more entries, the server repeats the last one.
    pub(crate) async fn start(replies: impl Into<Vec<Reply>>) -> Self {
        let replies = replies.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        tokio::spawn(async move {
            for number in 0.. {
                let (mut connection, _) = listener.accept().await.unwrap();
                let (replies, recorded) = (replies.clone(), Arc::clone(&recorded));
                tokio::spawn(async move {
                    while let Some(request) = read(&mut connection, number).await {
                        let reply = {
                            let mut recorded = recorded.lock().unwrap();
                            recorded.push(request);
                            replies[recorded.len().min(replies.len()) - 1].clone()
                        };
                        match reply {
                            Some(reply) => connection.write_all(reply.as_bytes()).await.unwrap(),
                            None => break,
                        }
                    }
                });
            }
        });
        Self { url, requests }
    }

    /// Creates a stack whose endpoint is this server.
    pub(crate) fn stack(&self) -> Stack {
        let credentials = credentials();
        let stack = Stack::from_vars(|name| match name {
            "AWS_REGION" => Some(REGION.into()),
            "AWS_ACCESS_KEY_ID" => Some(credentials.access_key_id().into()),
            "AWS_SECRET_ACCESS_KEY" => Some(credentials.secret_access_key().into()),
            "AWS_SESSION_TOKEN" => credentials.session_token().map(OsString::from),
            "AWS_ENDPOINT_URL" => Some(self.url.as_str().into()),
            _ => None,
        });
        stack.unwrap()
    }

    /// Returns the requests that the server received since the previous call of this method.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Reads the next request from a connection. Returns `None` if the client closed the connection. `number` is the number
/// of the connection.
async fn read(connection: &mut TcpStream, number: usize) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
        let mut headers = BTreeMap::<String, String>::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers
                .entry(name.to_lowercase())
                .and_modify(|values| *values += &format!(",{value}"))
                .or_insert_with(|| value.to_owned());
        }
        let length = headers.get("content-length").map_or("0", String::as_str);
        let body = &bytes[end + 4..];
        if body.len() >= length.parse::<usize>().unwrap() {
            return Some(Request {
                method: first.next().unwrap(),
                target: first.next().unwrap(),
                headers,
                body: body.to_vec(),
                connection: number,
            });
        }
    }
}

/// Computes, with the crate aws-sigv4, the `authorization` header that `request` must have. `service` is the service's
/// name in signatures.
pub(crate) fn signature(request: &Request, service: &str) -> String {
    let header = |name: &str| request.headers[name].as_str();
    let mut settings = SigningSettings::default();
    // https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = credentials().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(signing_time(request))
        .settings(settings);
    let (_, signed) = header("authorization")
        .split_once("SignedHeaders=")
        .unwrap();
    let (signed, _) = signed.split_once(',').unwrap();
    // The signer adds these headers itself
    let added = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
    let given = signed.split(';').filter(|name| !added.contains(name));
    let signable = SignableRequest::new(
        &request.method,
        format!("http://{}{}", header("host"), request.target),
        given.map(|name| (name, header(name))),
        SignableBody::Bytes(&request.body),
    );
    let signed = sign(signable.unwrap(), &params.build().unwrap().into());
    let (instructions, _) = signed.unwrap().into_parts();
    let mut headers = instructions.headers();
    let authorization = headers.find(|(name, _)| *name == "authorization");
    authorization.unwrap().1.to_owned()
}

/// The time in the request's `x-amz-date` header, such as 20261121T190000Z.
pub(crate) fn signing_time(request: &Request) -> SystemTime {
    let mut dashed = request.headers["x-amz-date"].clone();
    for (at, mark) in [(13, ':'), (11, ':'), (6, '-'), (4, '-')] {
        dashed.insert(at, mark);
    }
    let time = DateTime::from_str(&dashed, Format::DateTime).unwrap();
    time.try_into().unwrap()
}
