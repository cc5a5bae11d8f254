//! Calls `aws::Client` and `aws::Objects` against a local server, and checks the requests and the results.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // Helper functions need this: clippy exempts only tests

mod support;

use aws::{Client, Object, SdkError, Stack, is_transient};
use aws_sdk_sns::operation::publish::{Publish, PublishError, PublishInput, PublishOutput};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use support::{Reply, Server, reply, signature};

fn no_content() -> Reply {
    reply("204 No Content", "", "")
}

fn slow_down() -> Reply {
    reply("503 Slow Down", "", "")
}

#[tokio::test]
async fn head_returns_the_content_type_and_size_of_an_object() {
    let headers = "content-type: image/png\r\ncontent-length: 123456\r\n";
    let server = Server::start([reply("200 OK", headers, "")]).await;
    let files = server.stack().objects("files");
    let object = files.head("private/a/b.png").await.unwrap();
    let expected = Object {
        content_type: Some("image/png".into()),
        size: 123_456,
    };
    assert_eq!(object, Some(expected));
    let requests = server.requests();
    assert_eq!(requests[0].method, "HEAD");
    assert_eq!(requests[0].target, "/files/private/a/b.png");
}

#[tokio::test]
async fn head_is_retried_until_the_response_has_a_size() {
    // This header keeps `reply` from adding a Content-Length.
    let without = reply("200 OK", "x-content-length: 7\r\n", "");
    let with = reply("200 OK", "content-length: 7\r\n", "");
    for (replies, size) in [
        ([without.clone(), with], Some(7)),
        ([without.clone(), without], None),
    ] {
        let server = Server::start(replies).await;
        let object = server.stack().objects("files").head("key").await;
        let requests = server.requests().len();
        match size {
            Some(size) => {
                assert_eq!(object.unwrap().unwrap().size, size);
                assert_eq!(requests, 2);
            }
            None => {
                assert!(matches!(object.unwrap_err(), SdkError::ResponseError(_)));
                assert_eq!(requests, 3);
            }
        }
    }
}

#[tokio::test]
async fn head_of_a_missing_object_returns_none() {
    let server = Server::start([reply("404 Not Found", "", "")]).await;
    let files = server.stack().objects("files");
    assert_eq!(files.head("key").await.unwrap(), None);
}

#[tokio::test]
async fn requests_for_keys_with_special_characters_have_valid_signatures() {
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
        let server = Server::start([no_content()]).await;
        server.stack().objects("files").delete(key).await.unwrap();
        let request = server.requests().remove(0);
        assert_eq!(request.method, "DELETE");
        assert_eq!(request.target, path);
        assert_eq!(request.headers["authorization"], signature(&request, "s3"));
    }
}

#[tokio::test]
async fn throttling_and_closed_connections_are_retried() {
    let server = Server::start([slow_down(), None, no_content()]).await;
    server.stack().objects("files").delete("key").await.unwrap();
    let requests = server.requests();
    // After a failure, the client does not reuse the connection
    let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
    let attempts = requests.iter();
    let attempts: Vec<_> = attempts
        .map(|attempt| &attempt.headers["amz-sdk-request"])
        .collect();
    assert_eq!(
        attempts,
        ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"]
    );
}

#[tokio::test]
async fn a_call_fails_with_a_transient_error_after_three_attempts() {
    let server = Server::start([slow_down()]).await;
    let deleted = server.stack().objects("files").delete("key").await;
    let error = deleted.unwrap_err();
    assert!(is_transient(&error), "{error:?}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_denied_delete_is_not_retried_and_its_error_contains_the_error_code() {
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let server = Server::start([reply("403 Forbidden", "", denied)]).await;
    let deleted = server.stack().objects("files").delete("key").await;
    let error = deleted.unwrap_err();
    assert!(!is_transient(&error), "{error:?}");
    assert_eq!(error.code(), Some("AccessDenied"));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn the_error_of_a_denied_head_request_contains_the_status() {
    let server = Server::start([reply("403 Forbidden", "", "")]).await;
    let error = server.stack().objects("files").head("key").await;
    assert_eq!(error.unwrap_err().message(), Some("S3 responded with 403"));
}

async fn publish_with(client: Client) -> Result<PublishOutput, SdkError<PublishError>> {
    let publish = PublishInput::builder().topic_arn("arn:aws:sns:eu-central-1:0:topic");
    let publish = publish.message("news").build().unwrap();
    client.call(Publish::new(), publish).await
}

async fn publish(aws: &Stack) -> Result<PublishOutput, SdkError<PublishError>> {
    publish_with(aws.client("sns")).await
}

#[tokio::test]
async fn a_client_without_retries_makes_one_attempt_and_its_error_is_transient() {
    let throttled = "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>";
    for failure in [slow_down(), None, reply("400 Bad Request", "", throttled)] {
        let server = Server::start([failure.clone()]).await;
        let client = server.stack().client("sns");
        let error = publish_with(client.clone().without_retries()).await;
        assert!(is_transient(&error.unwrap_err()), "{failure:?}");
        let attempts = server.requests();
        assert_eq!(attempts.len(), 1, "{failure:?}");
        assert_eq!(attempts[0].headers["amz-sdk-request"], "attempt=1; max=1");
        publish_with(client).await.unwrap_err();
        assert_eq!(server.requests().len(), 3, "{failure:?}");
    }
}

#[tokio::test]
async fn a_call_returns_the_output_of_the_sdks_operation() {
    let published = "<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>";
    let server = Server::start([reply("200 OK", "", published)]).await;
    let output = publish(&server.stack()).await.unwrap();
    assert_eq!(output.message_id(), Some("m-1"));
    let requests = server.requests();
    let authorization = &requests[0].headers["authorization"];
    assert!(authorization.contains("/eu-central-1/sns/aws4_request"));
}

#[tokio::test]
async fn a_call_returns_the_error_of_the_sdks_operation() {
    let not_found =
        "<ErrorResponse><Error><Code>NotFound</Code><Message>no</Message></Error></ErrorResponse>";
    let server = Server::start([reply("404 Not Found", "", not_found)]).await;
    let error = publish(&server.stack()).await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_not_found_exception());
}
