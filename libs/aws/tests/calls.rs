//! What goes over the wire when AWS is called, and what comes of the answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Also in the helpers, which clippy does not count as tests

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::SystemTime;

use aws::{Object, SdkError, Stack, is_transient};
use aws_credential_types::Credentials;
use aws_sdk_sns::operation::publish::{Publish, PublishError, PublishInput, PublishOutput};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_types::date_time::{DateTime, Format};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

/// A service that answers one request after the other, or hangs up on it.
async fn service<const N: usize>(
    answers: [Option<String>; N],
) -> (Stack, JoinHandle<Vec<Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let aws = Stack::from_vars(|name| match name {
        "AWS_REGION" => Some("eu-central-1".into()),
        "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".into()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
        "AWS_ENDPOINT_URL" => Some(OsString::from(format!("http://{address}"))),
        _ => None,
    });
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            requests.push(read(&mut connection).await);
            if let Some(answer) = answer {
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        requests
    });
    (aws.unwrap(), served)
}

async fn read(connection: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(connection.read_buf(&mut bytes).await.unwrap(), 0);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or("0", String::as_str);
        if body.len() >= length.parse::<usize>().unwrap() {
            return Request {
                method: first.next().unwrap(),
                path: first.next().unwrap(),
                headers,
            };
        }
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n{body}"
    ))
}

fn deleted() -> Option<String> {
    answer("204 No Content", "", "")
}

fn slow_down() -> Option<String> {
    answer("503 Slow Down", "", "")
}

#[tokio::test]
async fn an_object_is_looked_at_without_its_content() {
    let headers = "content-type: image/png\r\ncontent-length: 123456\r\n";
    let (aws, served) = service([answer("200 OK", headers, "")]).await;
    let object = aws.objects("files").head("private/a/b.png").await.unwrap();
    let expected = Object {
        content_type: Some("image/png".into()),
        size: Some(123_456),
    };
    assert_eq!(object, Some(expected));
    let requests = served.await.unwrap();
    assert_eq!(requests[0].method, "HEAD");
    assert_eq!(requests[0].path, "/files/private/a/b.png");
}

#[tokio::test]
async fn an_object_that_is_not_there_is_none() {
    let (aws, _served) = service([answer("404 Not Found", "", "")]).await;
    assert_eq!(aws.objects("files").head("key").await.unwrap(), None);
}

/// The signature of a request by AWS's own signer, told in its words what S3 wants.
fn signature(request: &Request) -> String {
    let header = |name: &str| request.headers[name].as_str();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("s3")
        .time(time(header("x-amz-date")))
        .settings(settings);
    let (_, signed) = header("authorization")
        .split_once("SignedHeaders=")
        .unwrap();
    let (signed, _) = signed.split_once(',').unwrap();
    // What the signer adds, it adds again.
    let given = signed
        .split(';')
        .filter(|name| !["x-amz-date", "x-amz-content-sha256"].contains(name));
    let signable = SignableRequest::new(
        &request.method,
        format!("http://{}{}", header("host"), request.path),
        given.map(|name| (name, header(name))),
        SignableBody::Bytes(b""),
    );
    let signed = sign(signable.unwrap(), &params.build().unwrap().into());
    let (instructions, _) = signed.unwrap().into_parts();
    let mut headers = instructions.headers();
    let authorization = headers.find(|(name, _)| *name == "authorization");
    authorization.unwrap().1.to_owned()
}

/// A time like 20261121T190000Z.
fn time(text: &str) -> SystemTime {
    let mut dashed = text.to_owned();
    for (at, mark) in [(13, ':'), (11, ':'), (6, '-'), (4, '-')] {
        dashed.insert(at, mark);
    }
    let time = DateTime::from_str(&dashed, Format::DateTime).unwrap();
    time.try_into().unwrap()
}

#[tokio::test]
async fn requests_are_signed_as_s3_wants_them_whatever_the_key() {
    for (key, path) in [
        ("hello.jpg", "/files/hello.jpg"),
        (
            "private/eu-central-1:8f2e/1+1 = 'two'?.txt",
            "/files/private/eu-central-1%3A8f2e/1%2B1%20%3D%20%27two%27%3F.txt",
        ),
        (
            "a//b/./c/../100%25 📎",
            "/files/a//b/./c/../100%2525%20%F0%9F%93%8E",
        ),
    ] {
        let (aws, served) = service([deleted()]).await;
        aws.objects("files").delete(key).await.unwrap();
        let request = served.await.unwrap().remove(0);
        assert_eq!(request.method, "DELETE");
        assert_eq!(request.path, path);
        assert_eq!(request.headers["authorization"], signature(&request));
    }
}

#[tokio::test]
async fn a_service_that_has_too_much_to_do_or_hangs_up_is_asked_again() {
    let (aws, served) = service([slow_down(), None, deleted()]).await;
    aws.objects("files").delete("key").await.unwrap();
    let requests = served.await.unwrap();
    let tries = requests.iter();
    let tries: Vec<_> = tries.map(|try_| &try_.headers["amz-sdk-request"]).collect();
    assert_eq!(
        tries,
        ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"]
    );
}

#[tokio::test]
async fn a_service_that_is_down_is_asked_three_times() {
    let (aws, served) = service([slow_down(), slow_down(), slow_down()]).await;
    let refused = aws.objects("files").delete("key").await.unwrap_err();
    assert!(is_transient(&refused), "{refused:?}");
    assert_eq!(served.await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_refused_is_told_by_its_code_and_not_asked_again() {
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let (aws, served) = service([answer("403 Forbidden", "", denied)]).await;
    let refused = aws.objects("files").delete("key").await.unwrap_err();
    assert!(!is_transient(&refused), "{refused:?}");
    assert_eq!(refused.code(), Some("AccessDenied"));
    assert_eq!(served.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_look_that_is_refused_is_told_by_its_status() {
    let (aws, _served) = service([answer("403 Forbidden", "", "")]).await;
    let refused = aws.objects("files").head("key").await.unwrap_err();
    assert_eq!(refused.message(), Some("S3 answered 403"));
}

async fn publish(aws: &Stack) -> Result<PublishOutput, SdkError<PublishError>> {
    let publish = PublishInput::builder().topic_arn("arn:aws:sns:eu-central-1:0:topic");
    let publish = publish.message("news").build().unwrap();
    aws.client("sns").call(Publish::new(), publish).await
}

#[tokio::test]
async fn an_operation_of_the_sdks_answers_in_its_types() {
    let published = "<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>";
    let (aws, served) = service([answer("200 OK", "", published)]).await;
    assert_eq!(publish(&aws).await.unwrap().message_id(), Some("m-1"));
    let requests = served.await.unwrap();
    let authorization = &requests[0].headers["authorization"];
    assert!(authorization.contains("/eu-central-1/sns/aws4_request"));
}

#[tokio::test]
async fn an_operation_of_the_sdks_fails_in_its_types() {
    let refused =
        "<ErrorResponse><Error><Code>NotFound</Code><Message>no</Message></Error></ErrorResponse>";
    let (aws, _served) = service([answer("404 Not Found", "", refused)]).await;
    let refused = publish(&aws).await.unwrap_err();
    assert!(refused.as_service_error().unwrap().is_not_found_exception());
}
