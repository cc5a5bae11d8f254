use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
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

use crate::{SdkError, presign::KEY};

/// The objects of one bucket, as far as functions need them: to look at one and to delete it.
///
/// The SDK's crate of S3 makes a zip a third of a megabyte larger, for two requests without a body.
#[derive(Clone, Debug)]
pub struct Objects {
    head: Operation<String, Option<Object>, ErrorMetadata>,
    delete: Operation<String, (), ErrorMetadata>,
}

/// What S3 says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it was uploaded as, if that was said.
    pub content_type: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
}

impl Objects {
    pub(crate) fn new(bucket: &SharedRuntimePlugin) -> Self {
        Self {
            head: operation(bucket, "HeadObject", Method::HEAD)
                .deserializer(head)
                .build(),
            delete: operation(bucket, "DeleteObject", Method::DELETE)
                .deserializer(deleted)
                .build(),
        }
    }

    /// What the object is, if it is there.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>
    ///
    /// # Errors
    /// When S3 does not say, also when tried again. Without leave to list the bucket, an object that is not there is one
    /// that may not be looked at.
    pub async fn head(&self, key: &str) -> Result<Option<Object>, SdkError<ErrorMetadata>> {
        self.head.invoke(key.to_owned()).await
    }

    /// Deletes the object. One that is not there is deleted already.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
    ///
    /// # Errors
    /// When S3 does not, also when tried again.
    pub async fn delete(&self, key: &str) -> Result<(), SdkError<ErrorMetadata>> {
        self.delete.invoke(key.to_owned()).await
    }
}

/// A request for one object, by its key.
fn operation(
    bucket: &SharedRuntimePlugin,
    name: &'static str,
    method: Method,
) -> OperationBuilder<String> {
    // As S3 signs: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
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
        .serializer(move |key: String| {
            let path = format!("/{}", utf8_percent_encode(&key, KEY));
            let request = http::Request::builder().method(&method).uri(path);
            Ok(request.body(SdkBody::empty())?.try_into()?)
        })
}

type Answer<T> = Result<T, OrchestratorError<ErrorMetadata>>;

fn head(response: &HttpResponse) -> Answer<Option<Object>> {
    if response.status().as_u16() == 404 {
        return Ok(None);
    }
    deleted(response)?;
    let header = |name| response.headers().get(name);
    Ok(Some(Object {
        content_type: header("content-type").map(str::to_owned),
        size: header("content-length").and_then(|size| size.parse().ok()),
    }))
}

fn deleted(response: &HttpResponse) -> Answer<()> {
    if response.status().is_success() {
        return Ok(());
    }
    let body = response.body().bytes().unwrap_or_default();
    let mut error = ErrorMetadata::builder().message(format!("S3 answered {}", response.status()));
    if let Some(code) = error_code(&String::from_utf8_lossy(body)) {
        error = error.code(code);
    }
    Err(OrchestratorError::operation(error.build()))
}

/// The code of an error as S3 has it in XML; to a HEAD it says none.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn error_code(body: &str) -> Option<&str> {
    let (code, _) = body.split_once("<Code>")?.1.split_once("</Code>")?;
    Some(code)
}
