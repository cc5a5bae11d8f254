use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::ServiceClockSkewClassifier;
use aws_smithy_runtime::client::orchestrator::operation::{Operation, OperationBuilder};
use aws_smithy_runtime::client::retries::classifiers::TransientErrorClassifier;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::endpoint::EndpointResolverParams;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_plugin::{SharedRuntimePlugin, StaticRuntimePlugin};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use http::Method;
use percent_encoding::utf8_percent_encode;

use crate::{SdkError, presign::KEY_ENCODE_SET};

/// A client of the objects in one S3 bucket, with the only two operations that functions need: HeadObject and
/// DeleteObject.
///
/// Replaces the SDK's S3 crate, because that crate would make a function's zip a third of a megabyte larger.
#[derive(Clone, Debug)]
pub struct Objects {
    head: Operation<String, Option<Object>, ErrorMetadata>,
    delete: Operation<String, (), ErrorMetadata>,
}

/// The content type and the size of an S3 object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The content type that was set when the object was uploaded. `None` if S3 sends no `Content-Type`.
    pub content_type: Option<String>,
    /// The size of the object in bytes.
    pub size: u64,
}

impl Objects {
    pub(crate) fn new(bucket: &SharedRuntimePlugin) -> Self {
        Self {
            head: operation(bucket, "HeadObject", Method::HEAD)
                .deserializer(parse_head)
                .build(),
            delete: operation(bucket, "DeleteObject", Method::DELETE)
                .deserializer(check_status)
                .build(),
        }
    }

    /// Returns the metadata of the object `key`, or `None` if the object does not exist
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>).
    ///
    /// # Errors
    /// Fails if the last attempt fails; an attempt also fails if S3 sends no valid `Content-Length`. Also fails for an
    /// object that does not exist if the role lacks the permission `s3:ListBucket`, because S3 then responds with 403
    /// instead of 404.
    pub async fn head(&self, key: &str) -> Result<Option<Object>, SdkError<ErrorMetadata>> {
        self.head.invoke(key.to_owned()).await
    }

    /// Deletes the object `key`. Also succeeds if the object does not exist
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>).
    ///
    /// # Errors
    /// Fails if the last attempt fails.
    pub async fn delete(&self, key: &str) -> Result<(), SdkError<ErrorMetadata>> {
        self.delete.invoke(key.to_owned()).await
    }
}

/// Starts to build an S3 operation whose input is the key of an object, and whose request has no body.
fn operation(
    bucket: &SharedRuntimePlugin,
    name: &'static str,
    method: Method,
) -> OperationBuilder<String> {
    // S3's variant of the signature: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    let mut signing_options = SigningOptions::default();
    signing_options.double_uri_encode = false;
    signing_options.normalize_uri_path = false;
    signing_options.content_sha256_header = true;
    let mut config = Layer::new("S3");
    config.store_put(SigV4OperationSigningConfig {
        signing_options,
        ..Default::default()
    });
    config.store_put(AuthSchemeOptionResolverParams::new(()));
    config.store_put(EndpointResolverParams::new(()));
    Operation::builder()
        .service_name("S3")
        .operation_name(name)
        .runtime_plugin(bucket.clone())
        .runtime_plugin(StaticRuntimePlugin::new().with_config(config.freeze()))
        .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
        .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
        .retry_classifier(ServiceClockSkewClassifier::<ErrorMetadata>::new())
        .serializer(move |key: String| {
            let path = format!("/{}", utf8_percent_encode(&key, KEY_ENCODE_SET));
            let request = http::Request::builder().method(&method).uri(path);
            Ok(request.body(SdkBody::empty())?.try_into()?)
        })
}

type Parsed<T> = Result<T, OrchestratorError<ErrorMetadata>>;

fn parse_head(response: &HttpResponse) -> Parsed<Option<Object>> {
    if response.status().as_u16() == 404 {
        return Ok(None);
    }
    check_status(response)?;
    let header = |name| response.headers().get(name);
    let size = header("content-length").and_then(|size| size.parse().ok());
    // The client retries a response error.
    let size =
        size.ok_or_else(|| OrchestratorError::response("S3 sent no valid Content-Length".into()))?;
    Ok(Some(Object {
        content_type: header("content-type").map(str::to_owned),
        size,
    }))
}

fn check_status(response: &HttpResponse) -> Parsed<()> {
    if response.status().is_success() {
        return Ok(());
    }
    let body = response.body().bytes().unwrap_or_default();
    let status = response.status();
    let mut error = ErrorMetadata::builder().message(format!("S3 responded with {status}"));
    if let Some(code) = error_code(&String::from_utf8_lossy(body)) {
        error = error.code(code);
    }
    Err(OrchestratorError::operation(error.build()))
}

/// Returns the error code in the XML body of an S3 response. `None` if the body has no code: the response to a HEAD
/// request has no body (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn error_code(body: &str) -> Option<&str> {
    let (code, _) = body.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code)
}
