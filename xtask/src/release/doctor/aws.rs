//! A client for the few AWS operations for which this tool has no generated client. A generated client of SNS, IAM,
//! CloudFront, Cognito, SES or Service Quotas would lengthen the build of this tool by up to a minute, for one or two read
//! calls.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_types::body::SdkBody;
use form_urlencoded::Serializer;
use http::{Request, Response};
use https::Https;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{failure::Failure, xml::Xml};

/// The time limit of one attempt, including its connection.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time to wait before each retry.
const RETRIES: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(900)];

/// The region whose endpoints and signatures global services use.
const GLOBAL_REGION: &str = "us-east-1";

/// An AWS service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    // part: web {
    /// Amazon CloudFront.
    CloudFront,
    // part: web }
    // part: billing {
    /// Amazon Cognito user pools.
    CognitoUsers,
    // part: billing }
    /// AWS Identity and Access Management.
    Iam,
    /// Amazon Simple Email Service.
    Ses,
    // part: web {
    /// Service Quotas, for the quotas of global services.
    GlobalQuotas,
    // part: web }
    // part: notify {
    /// Amazon Simple Notification Service.
    Sns,
    // part: notify }
}

impl Service {
    /// The name of the service in request signatures.
    fn signing_name(self) -> &'static str {
        match self {
            Self::CloudFront => "cloudfront",    // part: web
            Self::CognitoUsers => "cognito-idp", // part: billing
            Self::Iam => "iam",
            Self::Ses => "ses",
            Self::GlobalQuotas => "servicequotas", // part: web
            Self::Sns => "sns",                    // part: notify
        }
    }

    /// The host and the region: <https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html>
    fn host(self, region: &str) -> (String, &str) {
        match self {
            Self::CloudFront => ("cloudfront.amazonaws.com".into(), GLOBAL_REGION), // part: web
            // part: billing {
            Self::CognitoUsers => (format!("cognito-idp.{region}.amazonaws.com"), region),
            // part: billing }
            Self::Iam => ("iam.amazonaws.com".into(), GLOBAL_REGION),
            Self::Ses => (format!("email.{region}.amazonaws.com"), region),
            // part: web {
            Self::GlobalQuotas => (
                format!("servicequotas.{GLOBAL_REGION}.amazonaws.com"),
                GLOBAL_REGION,
            ),
            // part: web }
            Self::Sns => (format!("sns.{region}.amazonaws.com"), region), // part: notify
        }
    }
}

/// A client for the AWS services of an account.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    config: SdkConfig,
    https: Https,
}

/// A request without its signature.
struct Call<'a> {
    service: Service,
    method: &'static str,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Aws {
    /// Creates a client with the credentials, the region and the endpoint of `config`.
    pub(crate) fn new(config: &SdkConfig) -> Self {
        Self {
            config: config.clone(),
            https: aws::https(ATTEMPT_TIMEOUT),
        }
    }

    /// Calls an operation of a service with the Query protocol.
    ///
    /// # Errors
    /// Fails if the service does not respond, or responds with an error.
    pub(super) async fn query(
        &self,
        service: Service,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Xml, Failure> {
        let version = match service {
            Service::Iam => "2010-05-08",
            _ => "2010-03-31",
        };
        let mut form = Serializer::new(String::new());
        form.append_pair("Action", action);
        form.append_pair("Version", version);
        form.extend_pairs(parameters);
        let content_type = "application/x-www-form-urlencoded; charset=utf-8";
        let call = Call {
            service,
            method: "POST",
            path: "/",
            headers: vec![("content-type", content_type.into())],
            body: form.finish(),
        };
        Xml::parse(self.send(&call).await?)
    }

    // part: web {
    /// Calls an operation of a service with the REST-XML protocol. `path` includes the query.
    ///
    /// # Errors
    /// Fails if the service does not respond, or responds with an error.
    pub(super) async fn get_xml(&self, service: Service, path: &str) -> Result<Xml, Failure> {
        Xml::parse(self.get(service, path).await?)
    }
    // part: web }

    /// Calls an operation of a service with the REST-JSON protocol.
    ///
    /// # Errors
    /// Fails if the service does not respond, or responds with an error.
    pub(super) async fn get_json(&self, service: Service, path: &str) -> Result<Value, Failure> {
        json(&self.get(service, path).await?)
    }

    /// Calls an operation of a service that uses the AWS JSON 1.1 protocol. `target` is the value of the header
    /// `X-Amz-Target`.
    ///
    /// # Errors
    /// Fails if the service does not respond, or responds with an error.
    pub(crate) async fn post_json(
        &self,
        service: Service,
        target: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let call = Call {
            service,
            method: "POST",
            path: "/",
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".into()),
                ("x-amz-target", target.into()),
            ],
            body: body.to_string(),
        };
        json(&self.send(&call).await?)
    }

    async fn get(&self, service: Service, path: &str) -> Result<String, Failure> {
        let call = Call {
            service,
            method: "GET",
            path,
            headers: Vec::new(),
            body: String::new(),
        };
        self.send(&call).await
    }

    /// Sends a request, and retries it if it was throttled or if the service had an error.
    async fn send(&self, call: &Call<'_>) -> Result<String, Failure> {
        let mut retries = RETRIES.into_iter();
        loop {
            let request = self.sign(call).await?;
            let response = match timeout(ATTEMPT_TIMEOUT, self.https.exchange(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(Failure::from_error(&error)),
                Err(_) => return Err(Failure::new("the service did not respond within 10 s")),
            };
            let status = response.status();
            let error = response_type(&response);
            let text = String::from_utf8_lossy(response.body()).into_owned();
            if status.is_success() {
                return Ok(text);
            }
            let failure = service_failure(status.as_u16(), error, text);
            let is_transient = status.is_server_error()
                || status.as_u16() == 429
                || failure.code.contains("Throttl")
                || failure.code == "TooManyRequestsException";
            match retries.next() {
                Some(pause) if is_transient => sleep(pause).await,
                _ => return Err(failure),
            }
        }
    }

    async fn sign(&self, call: &Call<'_>) -> Result<Request<SdkBody>, Failure> {
        let provider = self
            .config
            .credentials_provider()
            .ok_or_else(|| Failure::new("there are no credentials"))?;
        let credentials = provider.provide_credentials().await;
        let identity = credentials
            .map_err(|error| Failure::from_error(&error))?
            .into();
        let region = self
            .config
            .region()
            .map_or(GLOBAL_REGION, |region| region.as_ref());
        let (host, region) = call.service.host(region);
        let base = match self.config.endpoint_url() {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{host}"),
        };
        let url = format!("{base}{}", call.path);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(call.service.signing_name())
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| Failure::from_error(&error))?
            .into();
        let headers = call.headers.iter();
        let signable = SignableRequest::new(
            call.method,
            url.as_str(),
            headers.map(|(name, value)| (*name, value.as_str())),
            SignableBody::Bytes(call.body.as_bytes()),
        )
        .map_err(|error| Failure::from_error(&error))?;
        let signed = sign(signable, &params).map_err(|error| Failure::from_error(&error))?;
        let (signature, _) = signed.into_parts();
        let mut request = Request::builder().method(call.method).uri(&url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        for (name, value) in signature.headers() {
            request = request.header(name, value);
        }
        request
            .body(SdkBody::from(call.body.as_str()))
            .map_err(|error| Failure::from_error(&error))
    }
}

/// The error type in a header of an error response. `None` if the response has no such header, as in the Query protocol.
fn response_type(response: &Response<impl Sized>) -> Option<String> {
    let header = response.headers().get("x-amzn-errortype")?;
    Some(header.to_str().ok()?.to_owned())
}

/// Reads the error in a response. Each protocol has its own form.
fn service_failure(status: u16, header: Option<String>, text: String) -> Failure {
    if let Ok(value) = serde_json::from_str::<Value>(&text) {
        let field = |names: [&str; 2]| {
            let mut fields = names.iter().filter_map(|name| value.get(name)?.as_str());
            fields.next().map(ToOwned::to_owned)
        };
        let code = header.or_else(|| field(["__type", "code"]));
        let code = code.unwrap_or_else(|| format!("HTTP {status}"));
        // The code may have a namespace before it, or a URL after it.
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let message = field(["message", "Message"]).unwrap_or_default();
        return Failure::answered(code, &message);
    }
    let xml = Xml::parse(text).ok();
    let field = |name| xml.as_ref().and_then(|xml| xml.text(name));
    let code = field("Code").unwrap_or_else(|| format!("HTTP {status}"));
    Failure::answered(code, &field("Message").unwrap_or_default())
}

fn json(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| Failure::new("the response is not JSON"))
}
