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

/// Covers DNS, TCP and the TLS handshake. Endpoints are in the same region: past a second, another
/// try is the better bet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One try, its connection included. Generous, since a conditional write that is cut off and tried
/// again meets its own first effect.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// A call with its retries: what is left of API Gateway's 29 s is the function's.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(9);

/// The certificate authorities of Amazon Trust Services: those of `amazon-roots.pem`, as DER.
static AMAZON_ROOTS: [&[u8]; 5] = include!(concat!(env!("OUT_DIR"), "/amazon-roots.rs"));

/// What stops a function at init: a setting that is missing or makes no sense.
///
/// The message names the variable and never shows its value, which may be a credential.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The variable is not set, or is empty.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The variable is set to something that it can't mean.
    #[error("{name} is not {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
}

/// What all AWS clients of a function share: region, credentials, endpoint, retries, time limits
/// and one pool of connections.
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
    /// The stack that this process's environment describes: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, and where set `AWS_SESSION_TOKEN` and `AWS_ENDPOINT_URL`.
    ///
    /// Lambda sets these for the life of an execution environment
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
    ///
    /// # Errors
    ///
    /// [`Error`] names the first variable that is missing or malformed.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(std::env::var_os)
    }

    /// As [`Stack::from_env`], from any source of variables.
    ///
    /// # Errors
    ///
    /// As [`Stack::from_env`].
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

    /// What the SDK's own clients are made from, as in `aws_sdk_lambda::Client::new(&stack.config())`: for tools,
    /// which may be slow to start. They share the stack's connections.
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

    /// Calls operations of a service, such as `dynamodb`.
    pub fn client(&self, service: &'static str) -> Client {
        Client::new(self.service(service, self.address(service)))
    }

    /// The objects of `bucket`.
    pub fn objects(&self, bucket: &str) -> Objects {
        Objects::new(&self.service("s3", self.bucket(bucket)).plugin())
    }

    fn service(&self, name: &'static str, address: String) -> Service {
        Service {
            name,
            address,
            region: self.region.clone(),
            credentials: self.credentials.clone(),
            http: self.https.for_aws(),
            timeouts: timeouts(),
        }
    }

    /// Where a service is, in the regions of the partition `aws`
    /// (<https://docs.aws.amazon.com/general/latest/gr/rande.html>).
    fn address(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://{service}.{}.amazonaws.com", self.region),
        }
    }

    /// Where a bucket is.
    fn bucket(&self, bucket: &str) -> String {
        match &self.endpoint {
            // A stand-in for S3 has no name per bucket.
            Some(endpoint) => format!("{endpoint}/{bucket}"),
            None => self.address(&format!("{bucket}.s3")),
        }
    }

    /// Opens a connection to a service, such as `dynamodb`, for the first call to find: at init, when
    /// nobody waits for an answer yet.
    ///
    /// By a request that is not signed, and so needs no grant; DynamoDB answers it with `healthy`
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ats-certs.html>). One that
    /// fails is no failure: the first call will say what is wrong, if it still is.
    pub async fn warm_up(&self, service: &str) {
        if let Ok(url) = self.address(service).parse() {
            self.https.warm_up(url).await;
        }
    }

    /// Signs URLs for the objects of `bucket` with this function's own credentials.
    pub fn presigner(&self, bucket: &str) -> Presigner {
        Presigner::new(
            self.bucket(bucket),
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

/// An HTTPS client that talks to AWS and nobody else, which has to answer a connection in that time.
pub fn https(connect: Duration) -> Https {
    match ::https::roots(AMAZON_ROOTS) {
        Ok(roots) => Https::trusting(roots, connect),
        Err(never) => unreachable!("the roots are part of this crate: {never}"),
    }
}

/// An empty variable counts as none: that is how a process manager unsets one.
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

/// A credential goes into headers and URLs as it is.
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
            expected: "an address like http://127.0.0.1:4566",
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
    fn a_complete_environment_makes_a_stack() {
        let stack = with("AWS_REGION", "us-east-1").unwrap();
        assert_eq!(stack.region, Region::new("us-east-1"));
        assert_eq!(stack.address("dynamodb"), "http://127.0.0.1:4566");
        assert_eq!(stack.bucket("notes"), "http://127.0.0.1:4566/notes");
    }

    #[test]
    fn session_token_and_endpoint_are_optional() {
        assert!(with("AWS_SESSION_TOKEN", "").is_ok());
        assert!(with("AWS_ENDPOINT_URL", "").is_ok());
    }

    #[test]
    fn services_and_buckets_are_where_their_region_has_them() {
        let stack = with("AWS_ENDPOINT_URL", "").unwrap();
        for (address, expected) in [
            (
                stack.address("dynamodb"),
                "https://dynamodb.eu-central-1.amazonaws.com",
            ),
            (
                stack.bucket("notes"),
                "https://notes.s3.eu-central-1.amazonaws.com",
            ),
        ] {
            assert_eq!(address, expected);
        }
    }

    #[test]
    fn a_missing_setting_is_named() {
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(with(name, "").unwrap_err(), Error::Missing(name));
        }
    }

    #[test]
    fn a_malformed_setting_is_named_and_its_value_kept_back() {
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
            assert!(message.starts_with(&format!("{name} is not ")), "{message}");
            assert!(!message.contains(value), "{message}");
        }
    }

    #[test]
    fn the_stack_keeps_its_secrets_out_of_debug_output() {
        let stack = format!("{:?}", with("AWS_REGION", "us-east-1").unwrap());
        assert!(!stack.contains("wJalrXUtnFEMI"), "{stack}");
    }

    #[tokio::test]
    async fn a_server_that_amazon_does_not_vouch_for_is_not_talked_to() {
        let stranger = CertificateAuthority::new("a stranger").unwrap();
        let server = Server::start(stranger.issue("localhost", 2999).unwrap());
        let server = server.await.unwrap();
        let stack = with("AWS_ENDPOINT_URL", &server.url()).unwrap();
        let refused = stack.objects("notes").head("key").await;
        let refused = format!("{refused:?}");
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        assert_eq!(server.requests(), 0);
    }

    #[test]
    fn rustls_takes_the_roots() {
        assert_eq!(::https::roots(AMAZON_ROOTS).unwrap().len(), 5);
    }

    #[test]
    fn the_five_amazon_roots_parse_and_have_two_years_to_run() {
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
