//! What a function alone talks to: DynamoDB in memory, and as much of S3 as it takes to inspect
//! and delete a file, at one address.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, server, service::service_fn};
use hyper_util::rt::TokioIo;
use local_dynamodb::Dynamodb;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The note and the user of the sample events.
const USER: &str = "us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48";
const NOTE: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
const VERSION: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d908";

/// The types and lengths of files, by their keys.
type Files = Arc<Mutex<BTreeMap<String, (&'static str, usize)>>>;

/// A cloud for one test.
pub(crate) struct Cloud {
    pub(crate) dynamodb: Dynamodb,
    files: Files,
    url: String,
    server: JoinHandle<()>,
}

impl Cloud {
    /// A cloud in which the note of the sample events is, with its file.
    pub(crate) async fn start() -> Self {
        let tables = [("Notes", "noteId"), ("Attachments", "attachment")];
        let dynamodb = Dynamodb::start(&tables).await.unwrap();
        dynamodb.create("Idempotency", &["id"]).unwrap();
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
        let server = tokio::spawn(serve(listener, dynamodb.url(), Arc::clone(&files)));
        Self {
            dynamodb,
            files,
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
            "files": files.keys().collect::<Vec<_>>(),
        })
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, dynamodb: String, files: Files) {
    let client = reqwest::Client::new();
    loop {
        let (connection, _) = listener.accept().await.unwrap();
        let (client, dynamodb, files) = (client.clone(), dynamodb.clone(), Arc::clone(&files));
        let service = service_fn(move |request: Request<Incoming>| {
            let (client, dynamodb, files) = (client.clone(), dynamodb.clone(), Arc::clone(&files));
            async move {
                Ok::<_, Infallible>(match request.headers().contains_key("x-amz-target") {
                    true => forward(&client, &dynamodb, request).await,
                    false => s3(&files, &request),
                })
            }
        });
        let connection =
            server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service);
        tokio::spawn(connection);
    }
}

async fn forward(
    client: &reqwest::Client,
    dynamodb: &str,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let request = client.post(dynamodb).headers(head.headers);
    let body = body.collect().await.unwrap().to_bytes();
    let answer = request.body(body).send().await.unwrap();
    let mut response = Response::new(Full::default());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await.unwrap().into();
    response
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
