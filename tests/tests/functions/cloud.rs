//! What a function alone talks to, at one address: DynamoDB in memory, Stripe's double, and as much
//! of S3, SSM, SNS and SQS as it takes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, server, service::service_fn};
use hyper_util::rt::TokioIo;
use local_dynamodb::Dynamodb;
use local_stripe::{Settings, Stripe};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The note and the user of the sample events.
const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";
const NOTE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
const VERSION: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d908";

/// The purchase of the sample events.
const PURCHASE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";

/// What signs the sample event of Stripe's.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_sample";

/// The types and lengths of files, by their keys.
type Files = Arc<Mutex<BTreeMap<String, (&'static str, usize)>>>;

/// What was sent: parameters by name.
type Sent = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// What is behind the address.
#[derive(Clone)]
struct Behind {
    client: reqwest::Client,
    dynamodb: String,
    stripe: String,
    files: Files,
    sent: Sent,
}

/// A cloud for one test.
pub(crate) struct Cloud {
    pub(crate) dynamodb: Dynamodb,
    stripe: Stripe,
    files: Files,
    sent: Sent,
    url: String,
    server: JoinHandle<()>,
}

impl Cloud {
    /// A cloud in which the note of the sample events is, with its file, and the purchase that waits
    /// for its payment.
    pub(crate) async fn start() -> Self {
        let tables = [("Notes", "noteId"), ("Attachments", "attachment")];
        let dynamodb = Dynamodb::start(&tables).await.unwrap();
        dynamodb.create("Idempotency", &["id"]).unwrap();
        dynamodb.create_table(&purchases()).unwrap();
        let purchase = json!({
            "userId": {"S": USER}, "purchaseId": {"S": PURCHASE}, "storage": {"N": "10"},
            "amount": {"N": "4000"}, "description": {"S": "storage for 10 notes"},
            "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
            "status": {"S": "PENDING"}, "source": {"S": "tok_visa"},
            "unsettledShard": {"N": "2"}, "dueAt": {"N": "1763632920000"},
        });
        dynamodb.put("Purchases", &purchase).unwrap();
        let stripe = Stripe::start(0, Settings::default()).await.unwrap();
        let key = format!("private/{USER}/hello.jpg");
        let note = json!({
            "userId": {"S": USER}, "noteId": {"S": NOTE}, "version": {"S": VERSION},
            "content": {"S": "hello world"}, "attachment": {"S": "hello.jpg"},
            "createdAt": {"N": "1763632800000"}, "updatedAt": {"N": "1763632800000"},
        });
        dynamodb.put("Notes", &note).unwrap();
        let record = json!({
            "userId": {"S": USER}, "attachment": {"S": key}, "claims": {"SS": [VERSION]},
            "contentType": {"S": "image/jpeg"}, "size": {"N": "7"},
        });
        dynamodb.put("Attachments", &record).unwrap();
        let files = Files::default();
        files.lock().unwrap().insert(key, ("image/jpeg", 48_213));

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Sent::default();
        let behind = Behind {
            client: reqwest::Client::new(),
            dynamodb: dynamodb.url(),
            stripe: stripe.url(),
            files: Arc::clone(&files),
            sent: Arc::clone(&sent),
        };
        let server = tokio::spawn(serve(listener, behind));
        Self {
            dynamodb,
            stripe,
            files,
            sent,
            url,
            server,
        }
    }

    /// What `AWS_ENDPOINT_URL` takes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All that is in it.
    pub(crate) fn content(&self) -> Value {
        let files = self.files.lock().unwrap();
        json!({
            "Notes": self.dynamodb.items("Notes").unwrap(),
            "Attachments": self.dynamodb.items("Attachments").unwrap(),
            "Purchases": self.dynamodb.items("Purchases").unwrap(),
            "files": files.keys().collect::<Vec<_>>(),
            "charges": self.stripe.charges(),
            "sent": *self.sent.lock().unwrap(),
        })
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
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

async fn serve(listener: TcpListener, behind: Behind) {
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let behind = behind.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let behind = behind.clone();
            async move { Ok::<_, Infallible>(behind.answer(request).await) }
        });
        let connection =
            server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service);
        tokio::spawn(connection);
    }
}

impl Behind {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let target = request.headers().get("x-amz-target");
        let target = target.map(|target| target.to_str().unwrap().to_owned());
        let kind = request.headers().get("content-type");
        let is_form = kind.is_some_and(|kind| kind == "application/x-www-form-urlencoded");
        let is_stripes = request.uri().path().starts_with("/v1/");
        match target.as_deref() {
            Some("AmazonSSM.GetParameters") => parameters(&body(request).await),
            Some("AmazonSQS.SendMessage") => {
                let message = serde_json::from_slice(&body(request).await).unwrap();
                self.sent.lock().unwrap().push(message);
                answered(r#"{"MessageId":"m-1","MD5OfMessageBody":""}"#.into())
            }
            Some(_) => self.forward(&self.dynamodb, request).await,
            None if is_stripes => self.forward(&self.stripe, request).await,
            None if is_form => {
                let body = body(request).await;
                let sent = form_urlencoded::parse(&body).into_owned().collect();
                self.sent.lock().unwrap().push(sent);
                answered("<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>".into())
            }
            None => s3(&self.files, &request),
        }
    }

    async fn forward(&self, to: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (mut head, body) = request.into_parts();
        head.headers.remove("host");
        let url = format!("{to}{}", head.uri);
        let request = self.client.request(head.method, url).headers(head.headers);
        let body = body.collect().await.unwrap().to_bytes();
        let answer = request.body(body).send().await.unwrap();
        let mut response = Response::new(Full::default());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await.unwrap().into();
        response
    }
}

async fn body(request: Request<Incoming>) -> Bytes {
    request.into_body().collect().await.unwrap().to_bytes()
}

fn answered(body: String) -> Response<Full<Bytes>> {
    Response::new(Full::from(body))
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
fn parameters(input: &[u8]) -> Response<Full<Bytes>> {
    let input: Value = serde_json::from_slice(input).unwrap();
    let names = input["Names"].as_array().unwrap().iter();
    let found = names.map(|name| {
        let value = match name.as_str().unwrap().rsplit('/').next().unwrap() {
            "stripe-secret-key" => "sk_test_double",
            "stripe-webhook-secret" => WEBHOOK_SECRET,
            "admin-phone-number" => "+12065550100",
            other => panic!("there is no secret {other}"),
        };
        json!({"Name": name, "Value": value})
    });
    let found: Vec<_> = found.collect();
    answered(json!({"Parameters": found, "InvalidParameters": []}).to_string())
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>
fn s3(files: &Files, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let path = percent_encoding::percent_decode_str(path).decode_utf8();
    let path = path.unwrap();
    let key = path.strip_prefix("/attachments/").unwrap();
    let mut files = files.lock().unwrap();
    let response = Response::builder();
    let response = match (request.method(), files.get(key)) {
        (&Method::HEAD, Some((kind, length))) => response
            .header("content-type", *kind)
            .header("content-length", *length),
        (&Method::HEAD, None) => response.status(404),
        (&Method::DELETE, _) => {
            files.remove(key);
            response.status(204)
        }
        (other, _) => panic!("{other} of {path} is no call of ours"),
    };
    response.body(Full::default()).unwrap()
}
