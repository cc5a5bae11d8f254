//! What stands in for AWS and Stripe when a function runs alone, at one address: DynamoDB in memory,
//! Stripe's double, and as much of S3, SSM, SNS and SQS as functions take. In it is what the sample
//! events of `events/` speak of.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, server, service::service_fn};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
pub use local_dynamodb::Dynamodb;
use local_dynamodb::Failure;
use local_stripe::{Settings, Stripe};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The user of the sample events.
pub const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";

/// The note of the sample events, and its version.
const NOTE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
const VERSION: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d908";

/// The purchase of the sample events.
const PURCHASE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

/// What signs the sample event of Stripe's.
pub const WEBHOOK_SECRET: &str = "whsec_sample";

/// What Lambda gives to every function, besides what its stack sets, that [`setting`] knows.
pub const FROM_LAMBDA: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
];

/// A good value of any function's setting, for a cloud at `url`. None for a setting that no function
/// has.
pub fn setting(name: &str, url: &str) -> Option<String> {
    let value = match name {
        "ALLOWED_ORIGIN" => "https://app.example.com",
        "ATTACHMENTS_BUCKET" => "attachments",
        "ATTACHMENTS_TABLE" => "Attachments",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_ENDPOINT_URL" | "STRIPE_URL" => url,
        "AWS_REGION" => "us-east-1",
        "AWS_SECRET_ACCESS_KEY" => "a-secret",
        "DEAD_LETTER_QUEUE" => "http://127.0.0.1:1/111111111111/dead-letters",
        "IDEMPOTENCY_TABLE" => "Idempotency",
        "LOG_LEVEL" => "info",
        "NOTES_TABLE" => "Notes",
        "NOTE_PURCHASED_TOPIC" => "arn:aws:sns:us-east-1:111111111111:NotePurchased",
        "PURCHASES_TABLE" => "Purchases",
        "SECRETS_PREFIX" => "/scratchpad/sample",
        _ => return None,
    };
    Some(value.to_owned())
}

/// An event with Stripe's signature made now, as if it had just been sent. One that bears none stays
/// as it is.
pub fn signed(mut event: Value) -> Value {
    let body = event.get("body").and_then(Value::as_str);
    let body = body.unwrap_or_default();
    let signature = local_stripe::signature(body.as_bytes(), SystemTime::now(), &[WEBHOOK_SECRET]);
    for header in [
        "/headers/Stripe-Signature",
        "/multiValueHeaders/Stripe-Signature/0",
    ] {
        if let Some(header) = event.pointer_mut(header) {
            *header = signature.as_str().into();
        }
    }
    event
}

/// The tables and their keys.
const TABLES: [(&str, &[&str]); 4] = [
    ("Notes", &["userId", "noteId"]),
    ("Attachments", &["userId", "attachment"]),
    ("Purchases", &["userId", "purchaseId"]),
    ("Idempotency", &["id"]),
];

/// The types and lengths of files, by their keys.
type Files = BTreeMap<String, (&'static str, usize)>;

/// What was sent: parameters by name.
type Sent = Vec<BTreeMap<String, String>>;

/// What is behind the address.
#[derive(Clone)]
struct Behind {
    client: Client<HttpConnector, Full<Bytes>>,
    dynamodb: String,
    stripe: String,
    files: Arc<Mutex<Files>>,
    sent: Arc<Mutex<Sent>>,
}

/// What a function alone calls. It serves from the runtime in which it was started, until it is
/// dropped.
pub struct Cloud {
    /// The database: tables Notes, Attachments, Purchases and Idempotency.
    pub dynamodb: Dynamodb,
    stripe: Stripe,
    behind: Behind,
    address: SocketAddr,
    servers: Vec<JoinHandle<()>>,
}

impl Cloud {
    /// A cloud in which the note of the sample events is, with its file, and the purchase that waits
    /// for its payment.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start() -> Result<Self, Failure> {
        let dynamodb = Dynamodb::start(&[]).await?;
        for (table, key) in TABLES {
            match table {
                "Purchases" => dynamodb.create_table(&purchases())?,
                _ => dynamodb.create(table, key)?,
            }
        }
        let stripe = Stripe::start(0, Settings::default()).await?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let behind = Behind {
            client: Client::builder(TokioExecutor::new()).build(connector),
            dynamodb: dynamodb.url(),
            stripe: stripe.url(),
            files: Arc::default(),
            sent: Arc::default(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let started = Self {
            dynamodb,
            stripe,
            address: listener.local_addr()?,
            servers: vec![tokio::spawn(serve(listener, None, behind.clone()))],
            behind,
        };
        started.restore()?;
        Ok(started)
    }

    /// Listens over TLS as well, with these certificates, the server's own first, and its key, all as
    /// PEM. Returns what `AWS_ENDPOINT_URL` takes for it.
    ///
    /// # Errors
    ///
    /// When the certificates or the key cannot be used, or no port is free.
    pub async fn listen_tls(&mut self, certificates: &[u8], key: &[u8]) -> Result<String, Failure> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serve = serve(listener, Some(acceptor), self.behind.clone());
        self.servers.push(tokio::spawn(serve));
        Ok(url)
    }

    /// What `AWS_ENDPOINT_URL` and `STRIPE_URL` take.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes all be in it again that was when it started, and nothing else, but for what Stripe knows.
    ///
    /// # Errors
    ///
    /// When a table is no longer what it was.
    pub fn restore(&self) -> Result<(), Failure> {
        let at_first = at_first();
        for (table, key) in TABLES {
            for item in self.dynamodb.items(table)? {
                if at_first.iter().any(|(_, first)| *first == item) {
                    continue;
                }
                let key = key.iter().map(|name| (*name, item.get(name).cloned()));
                self.dynamodb.delete(table, &key.collect())?;
            }
        }
        for (table, item) in at_first {
            self.dynamodb.put(table, &item)?;
        }
        lock(&self.behind.sent).clear();
        *lock(&self.behind.files) = Files::from([(file(), ("image/jpeg", 48_213))]);
        Ok(())
    }

    /// All that is in it.
    ///
    /// # Errors
    ///
    /// When a table is no longer there.
    pub fn content(&self) -> Result<Value, Failure> {
        let files = lock(&self.behind.files);
        Ok(json!({
            "Notes": self.dynamodb.items("Notes")?,
            "Attachments": self.dynamodb.items("Attachments")?,
            "Purchases": self.dynamodb.items("Purchases")?,
            "files": files.keys().collect::<Vec<_>>(),
            "charges": self.stripe.charges(),
            "sent": *lock(&self.behind.sent),
        }))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key of the note's file.
fn file() -> String {
    format!("private/{USER}/hello.jpg")
}

/// The items that are there when a cloud starts.
fn at_first() -> [(&'static str, Value); 3] {
    let note = json!({
        "userId": {"S": USER}, "noteId": {"S": NOTE}, "version": {"S": VERSION},
        "content": {"S": "hello world"}, "attachment": {"S": "hello.jpg"},
        "uploaded": {"M": {"contentType": {"S": "image/jpeg"}, "size": {"N": "7"}}},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
    });
    let record = json!({
        "userId": {"S": USER}, "attachment": {"S": file()}, "claims": {"SS": [format!("{NOTE}/{VERSION}")]},
        "contentType": {"S": "image/jpeg"}, "size": {"N": "7"},
    });
    let purchase = json!({
        "userId": {"S": USER}, "purchaseId": {"S": PURCHASE}, "storage": {"N": "10"},
        "amount": {"N": "4000"}, "description": {"S": "storage for 10 notes"},
        "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        "status": {"S": "PENDING"}, "source": {"S": "tok_visa"},
        "unsettledShard": {"N": "2"}, "dueAt": {"N": "1763632920000"},
    });
    [
        ("Notes", note),
        ("Attachments", record),
        ("Purchases", purchase),
    ]
}

fn purchases() -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let attribute = |name: &str, kind: &str| json!({"AttributeName": name, "AttributeType": kind});
    json!({
        "TableName": "Purchases",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [key("userId", "HASH"), key("purchaseId", "RANGE")],
        "AttributeDefinitions": [
            attribute("userId", "S"), attribute("purchaseId", "S"),
            attribute("unsettledShard", "N"), attribute("dueAt", "N"),
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "unsettled",
            "KeySchema": [key("unsettledShard", "HASH"), key("dueAt", "RANGE")],
            "Projection": {"ProjectionType": "ALL"},
        }],
    })
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, behind: Behind) {
    while let Ok((connection, _)) = listener.accept().await {
        // Without it, the two writes of an answer wait for each other's receipt
        let _ = connection.set_nodelay(true);
        let (tls, behind) = (tls.clone(), behind.clone());
        tokio::spawn(async move {
            match tls {
                None => answer_all(connection, behind).await,
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        answer_all(connection, behind).await;
                    }
                }
            }
        });
    }
}

async fn answer_all(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    behind: Behind,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let behind = behind.clone();
        async move {
            let answer = behind.answer(request).await;
            // The function's log says what it was told
            let answer = answer.unwrap_or_else(|error| refused(error.to_string()));
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = TokioIo::new(connection);
    // A function that ends leaves its connections as they are
    let _ = server::conn::http1::Builder::new()
        .serve_connection(connection, service)
        .await;
}

type Answer = Result<Response<Full<Bytes>>, Failure>;

impl Behind {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let header = |name| request.headers().get(name)?.to_str().ok();
        let target = header("x-amz-target").map(str::to_owned);
        let is_form = header("content-type") == Some("application/x-www-form-urlencoded");
        let is_stripes = request.uri().path().starts_with("/v1/");
        match target.as_deref() {
            Some("AmazonSSM.GetParameters") => parameters(&body(request).await?),
            Some("AmazonSQS.SendMessage") => {
                let message = serde_json::from_slice(&body(request).await?)?;
                lock(&self.sent).push(message);
                answered(r#"{"MessageId":"m-1","MD5OfMessageBody":""}"#.into())
            }
            Some(_) => self.forward(&self.dynamodb, request).await,
            None if is_stripes => self.forward(&self.stripe, request).await,
            None if is_form => {
                let body = body(request).await?;
                let sent = form_urlencoded::parse(&body).into_owned().collect();
                lock(&self.sent).push(sent);
                answered("<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>".into())
            }
            None => s3(&mut lock(&self.files), &request),
        }
    }

    async fn forward(&self, to: &str, request: Request<Incoming>) -> Answer {
        let (mut head, body) = request.into_parts();
        head.headers.remove("host");
        head.uri = format!("{to}{}", head.uri).parse()?;
        let body = body.collect().await?.to_bytes();
        let answer = self.client.request(Request::from_parts(head, body.into()));
        let (head, body) = answer.await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body.into()))
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, hyper::Error> {
    Ok(request.into_body().collect().await?.to_bytes())
}

fn answered(body: String) -> Answer {
    Ok(Response::new(Full::from(body)))
}

fn refused(why: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(why));
    *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
    response
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
fn parameters(input: &[u8]) -> Answer {
    let input: Value = serde_json::from_slice(input)?;
    let names = input.get("Names").and_then(Value::as_array);
    let names = names.into_iter().flatten();
    let (found, unknown): (Vec<_>, Vec<_>) = names
        .map(|name| {
            let last = name.as_str().and_then(|name| name.rsplit('/').next());
            match last {
                Some("stripe-secret-key") => Ok("sk_test_double"),
                Some("stripe-webhook-secret") => Ok(WEBHOOK_SECRET),
                Some("admin-phone-number") => Ok("+12065550100"),
                _ => Err(name),
            }
            .map(|value| json!({"Name": name, "Value": value}))
        })
        .partition(Result::is_ok);
    let found: Vec<_> = found.into_iter().flatten().collect();
    let unknown: Vec<_> = unknown.into_iter().filter_map(Result::err).collect();
    answered(json!({"Parameters": found, "InvalidParameters": unknown}).to_string())
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>
fn s3(files: &mut Files, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let path = percent_encoding::percent_decode_str(path).decode_utf8()?;
    let key = path.strip_prefix("/attachments/").unwrap_or_default();
    let response = Response::builder();
    let response = match (request.method(), files.get(key)) {
        (&Method::HEAD, Some((kind, length))) => response
            .header("content-type", *kind)
            .header("content-length", *length),
        (&Method::HEAD, None) => response.status(StatusCode::NOT_FOUND),
        (&Method::DELETE, _) => {
            files.remove(key);
            response.status(StatusCode::NO_CONTENT)
        }
        (other, _) => return Ok(refused(format!("{other} of {path} is no call of ours"))),
    };
    Ok(response.body(Full::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_changed_is_restored_and_what_was_added_is_gone() {
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.content().unwrap();
        let note = json!({"userId": {"S": USER}, "noteId": {"S": NOTE}});
        cloud.dynamodb.put("Notes", &note).unwrap();
        let other = json!({"userId": {"S": USER}, "noteId": {"S": "1"}});
        cloud.dynamodb.put("Notes", &other).unwrap();
        assert_ne!(cloud.content().unwrap(), before);
        cloud.restore().unwrap();
        assert_eq!(cloud.content().unwrap(), before);
    }
}
