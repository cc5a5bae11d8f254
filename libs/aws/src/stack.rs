use std::ffi::OsString;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use http::Uri;
use https::Https;

use crate::client::Service;
use crate::{Client, Objects, Presigner};

/// The time limit for DNS, TCP and the TLS handshake together. AWS endpoints are in the function's region: if a
/// connection takes longer than a second, a retry is likely to be faster.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The time limit for one attempt of an AWS call, including its connection. The limit is long on purpose: if a
/// conditional write takes effect but its attempt times out, the retry finds that the condition is false.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// The time limit for an AWS call with all its retries. API Gateway allows 29 s for a whole request.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(9);

/// The root certificates of Amazon Trust Services in DER format. `build.rs` converts them from `amazon-roots.pem`.
static AMAZON_ROOTS: [&[u8]; 5] = include!(concat!(env!("OUT_DIR"), "/amazon-roots.rs"));

/// The error of a missing or malformed environment variable.
///
/// The message contains the name of the variable. It does not contain the value, because the value may be a credential.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The environment variable with this name is not set, or is empty.
    #[error("the environment variable {0} is missing or empty")]
    Missing(&'static str),
    /// The environment variable has an invalid value.
    #[error("the environment variable {name} is malformed: it must be {expected}")]
    Malformed {
        /// The name of the environment variable.
        name: &'static str,
        /// What a valid value is, such as `printable ASCII without spaces`.
        expected: &'static str,
    },
}

/// The configuration that all AWS clients of a function share: region, credentials, endpoint, retries, timeouts and
/// connection pool.
///
/// ```no_run
/// let aws = aws::Stack::from_env()?;
/// let dynamodb = aws.client("dynamodb");
/// let attachments = aws.presigner("attachments");
/// # Ok::<(), aws::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    endpoint: Option<String>,
    https: Https,
    credentials: Credentials,
    region: Region,
}

impl Stack {
    /// Creates a stack from the environment variables `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and,
    /// if they are set, `AWS_SESSION_TOKEN` and `AWS_ENDPOINT_URL`.
    ///
    /// Lambda sets all these variables except `AWS_ENDPOINT_URL`, and does not change them during the lifetime of an
    /// execution environment (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
    ///
    /// # Errors
    /// Returns an [`Error`] for the first variable that is missing or malformed.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(std::env::var_os)
    }

    /// Creates a stack as [`Stack::from_env`] does, but gets the value of each environment variable from `var`.
    ///
    /// # Errors
    /// Returns an [`Error`] for the first variable that is missing or malformed.
    pub fn from_vars(var: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, Error> {
        let required = |name| optional(&var, name)?.ok_or(Error::Missing(name));

        let region = region(required("AWS_REGION")?)?;
        let credentials = Credentials::new(
            printable("AWS_ACCESS_KEY_ID", required("AWS_ACCESS_KEY_ID")?)?,
            printable("AWS_SECRET_ACCESS_KEY", required("AWS_SECRET_ACCESS_KEY")?)?,
            optional(&var, "AWS_SESSION_TOKEN")?
                .map(|token| printable("AWS_SESSION_TOKEN", token))
                .transpose()?,
            None,
            "environment",
        );
        let endpoint = optional(&var, "AWS_ENDPOINT_URL")?
            .map(endpoint)
            .transpose()?;

        Ok(Self {
            endpoint,
            https: https(CONNECT_TIMEOUT),
            credentials,
            region,
        })
    }

    /// Returns the configuration for the SDK's generated clients, as in `aws_sdk_lambda::Client::new(&stack.config())`.
    /// Only developer tools should use generated clients, because a generated client takes longer to create. All
    /// generated clients with this configuration share the stack's connection pool.
    pub fn config(&self) -> SdkConfig {
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(self.https.for_aws())
            .region(self.region.clone())
            .retry_config(RetryConfig::standard())
            .sleep_impl(TokioSleep::new())
            .timeout_config(timeouts());
        config.set_endpoint_url(self.endpoint.clone());
        config.build()
    }

    /// Creates a client of the AWS service that has the name `service`, such as `dynamodb`.
    pub fn client(&self, service: &'static str) -> Client {
        Client::new(self.service(service, self.service_url(service)))
    }

    /// Creates a client of the objects in the S3 bucket `bucket`.
    pub fn objects(&self, bucket: &str) -> Objects {
        Objects::new(&self.service("s3", self.bucket_url(bucket)).plugin())
    }

    fn service(&self, name: &'static str, endpoint: String) -> Service {
        Service {
            name,
            endpoint,
            region: self.region.clone(),
            credentials: self.credentials.clone(),
            http: self.https.for_aws(),
            timeouts: timeouts(),
        }
    }

    /// The URL of an AWS service: the endpoint in `AWS_ENDPOINT_URL` if it is set, else the service's URL in the
    /// partition `aws` (<https://docs.aws.amazon.com/general/latest/gr/rande.html>).
    fn service_url(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://{service}.{}.amazonaws.com", self.region),
        }
    }

    /// The URL of an S3 bucket, without a trailing slash.
    fn bucket_url(&self, bucket: &str) -> String {
        match &self.endpoint {
            // A local stand-in for S3 has one host name for all buckets.
            Some(endpoint) => format!("{endpoint}/{bucket}"),
            None => self.service_url(&format!("{bucket}.s3")),
        }
    }

    /// Opens a connection to a service, such as `dynamodb`, so that the first call need not open one. Functions call
    /// this at init, when no request is waiting.
    ///
    /// Sends an unsigned request. This needs no permission. DynamoDB responds to this request with `healthy`
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ats-certs.html>). Ignores a failure: if the
    /// problem persists, the first call reports it.
    pub async fn warm_up(&self, service: &str) {
        if let Ok(url) = self.service_url(service).parse() {
            self.https.warm_up(url).await;
        }
    }

    /// Creates a presigner for the objects of `bucket`, with the credentials of this stack.
    pub fn presigner(&self, bucket: &str) -> Presigner {
        Presigner::new(
            self.bucket_url(bucket),
            self.region.to_string(),
            self.credentials.clone(),
        )
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// Creates an HTTPS client that trusts only Amazon's root certificates. `connect_timeout` limits DNS, TCP and the TLS
/// handshake together.
pub fn https(connect_timeout: Duration) -> Https {
    match ::https::roots(AMAZON_ROOTS) {
        Ok(roots) => Https::trusting(roots, connect_timeout),
        Err(never) => unreachable!("the roots are part of this crate: {never}"),
    }
}

/// Returns the value of an environment variable. Returns `None` if the variable is unset or empty, because some process
/// managers cannot unset a variable but only make it empty.
fn optional(
    var: impl Fn(&'static str) -> Option<OsString>,
    name: &'static str,
) -> Result<Option<String>, Error> {
    var(name)
        .filter(|value| !value.is_empty())
        .map(|value| value.into_string())
        .transpose()
        .map_err(|_| Error::Malformed {
            name,
            expected: "UTF-8",
        })
}

fn region(value: String) -> Result<Region, Error> {
    let valid = value
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    valid.then(|| Region::new(value)).ok_or(Error::Malformed {
        name: "AWS_REGION",
        expected: "the name of a region, such as eu-central-1",
    })
}

/// Checks that a credential is printable ASCII without spaces, because it becomes part of HTTP headers.
fn printable(name: &'static str, value: String) -> Result<String, Error> {
    let valid = value.bytes().all(|b| b.is_ascii_graphic());
    valid.then_some(value).ok_or(Error::Malformed {
        name,
        expected: "printable ASCII without spaces",
    })
}

fn endpoint(value: String) -> Result<String, Error> {
    value
        .parse::<Uri>()
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
        .filter(|uri| uri.path() == "/" && uri.query().is_none())
        .map(|_| value.trim_end_matches('/').to_owned())
        .ok_or(Error::Malformed {
            name: "AWS_ENDPOINT_URL",
            expected: "a URL without a path, such as http://127.0.0.1:4566",
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use local_tls::{CertificateAuthority, Server};
    use x509_parser::prelude::{FromDer, X509Certificate};
    use x509_parser::time::ASN1Time;

    use super::*;

    const COMPLETE: [(&str, &str); 5] = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/"),
    ];

    fn with(name: &str, value: &str) -> Result<Stack, Error> {
        let mut vars = HashMap::from(COMPLETE);
        vars.insert(name, value);
        Stack::from_vars(|name| vars.get(name).map(OsString::from))
    }

    #[test]
    fn a_stack_has_the_region_and_endpoint_from_the_environment() {
        let stack = with("AWS_REGION", "us-east-1").unwrap();
        assert_eq!(stack.region, Region::new("us-east-1"));
        assert_eq!(stack.service_url("dynamodb"), "http://127.0.0.1:4566");
        assert_eq!(stack.bucket_url("notes"), "http://127.0.0.1:4566/notes");
    }

    #[test]
    fn session_token_and_endpoint_are_optional() {
        assert!(with("AWS_SESSION_TOKEN", "").is_ok());
        assert!(with("AWS_ENDPOINT_URL", "").is_ok());
    }

    #[test]
    fn urls_contain_the_region() {
        let stack = with("AWS_ENDPOINT_URL", "").unwrap();
        for (url, expected) in [
            (
                stack.service_url("dynamodb"),
                "https://dynamodb.eu-central-1.amazonaws.com",
            ),
            (
                stack.bucket_url("notes"),
                "https://notes.s3.eu-central-1.amazonaws.com",
            ),
        ] {
            assert_eq!(url, expected);
        }
    }

    #[tokio::test]
    async fn urls_equal_those_of_the_sdk() {
        macro_rules! sdk {
            ($service:ident $(, $bucket:literal)?) => {{
                use $service::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
                let params = Params::builder().region("eu-central-1")$(.bucket($bucket))?;
                let params = params.build().unwrap();
                let endpoint = DefaultResolver::new().resolve_endpoint(&params).await;
                endpoint.unwrap().url().to_owned()
            }};
        }
        let stack = with("AWS_ENDPOINT_URL", "").unwrap();
        for (service, url) in [
            ("dynamodb", sdk!(aws_sdk_dynamodb)),
            ("sns", sdk!(aws_sdk_sns)),
            ("sqs", sdk!(aws_sdk_sqs)),
            ("ssm", sdk!(aws_sdk_ssm)),
        ] {
            assert_eq!(stack.service_url(service), url);
        }
        assert_eq!(stack.bucket_url("notes"), sdk!(aws_sdk_s3, "notes"));
    }

    #[test]
    fn the_error_contains_the_name_of_a_missing_variable() {
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(with(name, "").unwrap_err(), Error::Missing(name));
        }
    }

    #[test]
    fn the_error_contains_the_name_of_a_malformed_variable_but_not_its_value() {
        for (name, value) in [
            ("AWS_REGION", "EU Central"),
            ("AWS_ACCESS_KEY_ID", "AKID\n"),
            ("AWS_SECRET_ACCESS_KEY", "wJalr XUtn"),
            ("AWS_SESSION_TOKEN", "tökén"),
            ("AWS_ENDPOINT_URL", "localhost:8000"),
            ("AWS_ENDPOINT_URL", "ftp://127.0.0.1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566/path?query"),
        ] {
            let message = with(name, value).unwrap_err().to_string();
            let start = format!("the environment variable {name} is malformed: ");
            assert!(message.starts_with(&start), "{message}");
            assert!(!message.contains(value), "{message}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_secret_key() {
        let stack = format!("{:?}", with("AWS_REGION", "us-east-1").unwrap());
        assert!(!stack.contains("wJalrXUtnFEMI"), "{stack}");
    }

    #[tokio::test]
    async fn a_server_with_a_certificate_of_another_authority_receives_no_request() {
        let authority = CertificateAuthority::new("not Amazon").unwrap();
        let server = Server::start(authority.issue("localhost", 2999).unwrap());
        let server = server.await.unwrap();
        let stack = with("AWS_ENDPOINT_URL", &server.url()).unwrap();
        let result = stack.objects("notes").head("key").await;
        let result = format!("{result:?}");
        assert!(result.contains("UnknownIssuer"), "{result}");
        assert_eq!(server.requests(), 0);
    }

    #[test]
    fn rustls_accepts_the_root_certificates() {
        assert_eq!(::https::roots(AMAZON_ROOTS).unwrap().len(), 5);
    }

    #[test]
    fn the_five_root_certificates_are_valid_for_at_least_two_years() {
        const TWO_YEARS: i64 = 2 * 365 * 24 * 60 * 60;
        let then = ASN1Time::from_timestamp(ASN1Time::now().timestamp() + TWO_YEARS).unwrap();
        let mut names = Vec::new();
        for der in AMAZON_ROOTS {
            let (_, root) = X509Certificate::from_der(der).unwrap();
            assert!(root.is_ca());
            assert!(root.validity().is_valid_at(then), "{}", root.subject());
            names.push(
                root.subject()
                    .iter_common_name()
                    .next()
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        assert_eq!(
            names,
            [
                "Amazon Root CA 1",
                "Amazon Root CA 2",
                "Amazon Root CA 3",
                "Amazon Root CA 4",
                "Starfield Services Root Certificate Authority - G2",
            ]
        );
    }
}
