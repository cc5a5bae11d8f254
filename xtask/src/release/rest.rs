//! Requests to the AWS services of which xtask calls only a few operations: API Gateway, CloudWatch, Route 53 and X-Ray. Their SDK crates
//! would take longer to compile than all other crates that only xtask needs. The requests are signed and retried by the
//! same crates as the requests of the SDK's clients.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_runtime::{
    auth::{
        SigV4OperationSigningConfig,
        sigv4::{SCHEME_ID, SigV4AuthScheme},
    },
    retries::classifiers::AwsErrorCodeClassifier,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation, retries::classifiers::HttpStatusCodeClassifier,
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        auth::{AuthSchemeOptionResolverParams, static_resolver::StaticAuthSchemeOptionResolver},
        identity::SharedIdentityResolver,
        orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
        result::SdkError,
        runtime_components::RuntimeComponentsBuilder,
        runtime_plugin::StaticRuntimePlugin,
    },
};
use aws_smithy_types::{
    body::SdkBody,
    config_bag::Layer,
    error::metadata::{ErrorMetadata, ProvideErrorMetadata},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_types::{
    SigningName,
    region::{Region, SigningRegion},
};
use serde_json::Value;
use thiserror::Error;

use super::account::Account;

/// The timeout of one attempt of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client for one AWS service.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    account: &'a Account,
    service: &'static str,
    endpoint: String,
    region: String,
}

/// A request to an AWS service.
#[derive(Debug, Clone)]
struct Request {
    method: &'static str,
    /// The path and the query, without the host.
    path: String,
    body: String,
    /// The header `X-Amz-Target`, which names the operation in the AWS JSON protocol.
    target: Option<String>,
}

/// The error response of an AWS service.
#[derive(Debug, Error)]
#[error("{} (HTTP status {status})", .meta)]
struct Failure {
    status: u16,
    meta: ErrorMetadata,
}

impl ProvideErrorMetadata for Failure {
    fn meta(&self) -> &ErrorMetadata {
        &self.meta
    }
}

impl<'a> Rest<'a> {
    /// Returns a client for API Gateway.
    pub(crate) fn api_gateway(account: &'a Account) -> Self {
        let region = account.region();
        let host = format!("https://apigateway.{region}.{}", account.dns_suffix());
        Self::new(account, "apigateway", host, region)
    }

    /// Returns a client for Route 53, which has one endpoint for all regions of a partition:
    /// <https://docs.aws.amazon.com/general/latest/gr/r53.html>
    pub(crate) fn route53(account: &'a Account) -> Self {
        let (host, region) = match account.region() {
            region if region.starts_with("cn-") => ("route53.amazonaws.com.cn", "cn-northwest-1"),
            region if region.starts_with("us-gov-") => {
                ("route53.us-gov.amazonaws.com", "us-gov-west-1")
            }
            _ => ("route53.amazonaws.com", "us-east-1"),
        };
        Self::new(account, "route53", format!("https://{host}"), region)
    }

    /// Returns a client for the metrics and alarms of CloudWatch, for [`Rest::call`].
    pub(crate) fn cloudwatch(account: &'a Account) -> Self {
        let region = account.region();
        let host = format!("https://monitoring.{region}.{}", account.dns_suffix());
        Self::new(account, "monitoring", host, region)
    }

    /// Returns a client for X-Ray.
    pub(crate) fn xray(account: &'a Account) -> Self {
        let region = account.region();
        let host = format!("https://xray.{region}.{}", account.dns_suffix());
        Self::new(account, "xray", host, region)
    }

    fn new(account: &'a Account, service: &'static str, endpoint: String, region: &str) -> Self {
        let local = account.config().endpoint_url();
        Self {
            account,
            service,
            endpoint: local.map_or(endpoint, Into::into),
            region: region.into(),
        }
    }

    /// Sends a GET request, and returns the body of the response. Returns `None` if the service does not find the
    /// object.
    ///
    /// # Errors
    /// Fails if the last attempt of the request fails.
    pub(crate) async fn get(&self, path: String) -> Result<Option<String>> {
        self.send(Request {
            method: "GET",
            path,
            body: String::new(),
            target: None,
        })
        .await
    }

    /// Sends a POST request with the body `body`, and returns the body of the response. Returns `None` if the service
    /// does not find the object.
    ///
    /// # Errors
    /// Fails if the last attempt of the request fails.
    pub(crate) async fn post(&self, path: String, body: String) -> Result<Option<String>> {
        self.send(Request {
            method: "POST",
            path,
            body,
            target: None,
        })
        .await
    }

    /// Calls an operation of a service that has the protocol AWS JSON 1.0. `target` is the value of the header
    /// `X-Amz-Target`: <https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>
    ///
    /// # Errors
    /// Fails if the last attempt of the request fails.
    pub(crate) async fn call(&self, target: &str, input: &Value) -> Result<Value> {
        let request = Request {
            method: "POST",
            path: "/".into(),
            body: input.to_string(),
            target: Some(target.into()),
        };
        let output = self.send(request).await?;
        let output =
            output.with_context(|| format!("{} has no operation {target}", self.service))?;
        serde_json::from_str(&output)
            .with_context(|| format!("cannot parse the output of {target}"))
    }

    async fn send(&self, request: Request) -> Result<Option<String>> {
        let config = self.account.config();
        let credentials = config
            .credentials_provider()
            .context("the AWS configuration has no credentials")?;
        let http = config
            .http_client()
            .context("the AWS configuration has no HTTP client")?;
        let sleep = config
            .sleep_impl()
            .context("the AWS configuration has no timer")?;
        let default = RetryConfig::standard();
        let mut signing = Layer::new("signing");
        signing.store_put(AuthSchemeOptionResolverParams::new(()));
        signing.store_put(SigV4OperationSigningConfig {
            name: Some(SigningName::from_static(self.service)),
            region: Some(SigningRegion::from(Region::new(self.region.clone()))),
            ..Default::default()
        });
        let signer = RuntimeComponentsBuilder::new("signing")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                SCHEME_ID,
            ])))
            .with_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(credentials));
        let operation = Operation::builder()
            .service_name(self.service)
            .operation_name(request.method)
            .http_client(http)
            .endpoint_url(&self.endpoint)
            .standard_retry(config.retry_config().unwrap_or(&default))
            .retry_classifier(AwsErrorCodeClassifier::<Failure>::default())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(TIMEOUT)
                    .build(),
            )
            .sleep_impl(sleep)
            .with_connection_poisoning()
            .runtime_plugin(
                StaticRuntimePlugin::new()
                    .with_config(signing.freeze())
                    .with_runtime_components(signer),
            )
            .serializer(serialize)
            .deserializer(deserialize)
            .build();
        let operation_name = request.target.as_ref().unwrap_or(&request.path);
        let label = format!("{} {operation_name} of {}", request.method, self.service);
        operation
            .invoke(request)
            .await
            .map_err(aws_error)
            .with_context(|| format!("cannot send {label}"))
    }
}

/// Returns the error code of a request of this module, or `Some(None)` if the service did not respond. Returns `None`
/// if `error` is not about such a request.
pub(crate) fn request_error<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<Option<&'a str>> {
    match error.downcast_ref::<Failure>() {
        Some(failure) => Some(failure.code()),
        None => error
            .is::<SdkError<Failure, HttpResponse>>()
            .then_some(None),
    }
}

/// Returns the error response of the service, or else the reason why there is no response.
fn aws_error(error: SdkError<Failure, HttpResponse>) -> anyhow::Error {
    match error {
        SdkError::ServiceError(error) => error.into_err().into(),
        error => error.into(),
    }
}

fn serialize(request: Request) -> Result<HttpRequest, BoxError> {
    let content_type = match (&request.target, request.body.starts_with('<')) {
        (Some(_), _) => "application/x-amz-json-1.0",
        (None, true) => "application/xml",
        (None, false) => "application/json",
    };
    let has_body = !request.body.is_empty();
    let mut http = HttpRequest::new(SdkBody::from(request.body));
    http.set_method(request.method)?;
    http.set_uri(request.path)?;
    let headers = http.headers_mut();
    // Without this header, API Gateway responds in another JSON format, HAL.
    headers.insert("accept", content_type);
    if has_body {
        headers.insert("content-type", content_type);
    }
    if let Some(target) = request.target {
        headers.insert("x-amz-target", target);
    }
    Ok(http)
}

fn deserialize(response: &HttpResponse) -> Result<Option<String>, OrchestratorError<Failure>> {
    let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    let status = response.status().as_u16();
    match status {
        200..300 => return Ok(Some(body.into_owned())),
        404 => return Ok(None),
        _ => {}
    }
    let json = serde_json::from_str::<Value>(&body).unwrap_or_default();
    let field = |name: &str| json.get(name).and_then(|value| value.as_str());
    // API Gateway names the error in a header, Route 53 in the body.
    let code = response
        .headers()
        .get("x-amzn-errortype")
        .or(field("__type"))
        .or(field("code"))
        .or(between(&body, "<Code>", "</Code>"));
    let code = code.and_then(|code| code.split([':', '#']).next());
    let default = if status == 429 {
        "TooManyRequestsException"
    } else {
        "UnknownError"
    };
    let message =
        field("message")
            .or(field("Message"))
            .or(between(&body, "<Message>", "</Message>"));
    let meta = ErrorMetadata::builder()
        .code(code.unwrap_or(default))
        .message(message.unwrap_or("no message"))
        .build();
    Err(OrchestratorError::operation(Failure { status, meta }))
}

/// Returns the text between the first `start` and the `end` after it.
pub(crate) fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws};

    #[tokio::test]
    async fn a_throttled_request_is_signed_and_sent_again() {
        let aws = FakeAws::scripted([(429, r#"{"message": "Too Many Requests"}"#), (200, "{}")]);
        let account = aws.account();
        let answer = Rest::api_gateway(&account).get("/restapis/a".into()).await;
        assert_eq!(answer.unwrap().as_deref(), Some("{}"));
        let requests = aws.requests();
        assert_eq!(requests.len(), 2);
        let authorization = &requests[1].authorization;
        assert!(
            authorization.contains("/us-east-1/apigateway/aws4_request"),
            "{authorization}"
        );
    }

    #[tokio::test]
    async fn an_error_of_route_53_has_its_code_and_message() {
        let aws = FakeAws::new(|_| {
            Answer::new(
                403,
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>No</Message></Error></ErrorResponse>",
            )
        });
        let account = aws.account();
        let route53 = Rest::route53(&account);
        let answer = route53.get("/2013-04-01/hostedzone/Z".into()).await;
        let error = format!("{:#}", answer.unwrap_err());
        assert!(
            error.contains("AccessDenied") && error.contains("No"),
            "{error}"
        );
    }
}
