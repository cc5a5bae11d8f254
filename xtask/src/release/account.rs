//! The AWS account of a stage, its credentials, and a check that the credentials belong to the account.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{
    os_shim_internal::{Env, Fs},
    region::Region,
};
use reqwest::Url;

use super::table::{StageRow, Tables};
use crate::stage::{ACCOUNT, LocalStage, STAGE};

/// The maximum number of attempts of a request.
const ATTEMPTS: u32 = 10;

/// The timeout of one attempt of a request. The slowest request is the upload of a file.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// The timeout for opening a TCP connection to AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An AWS account or a local emulation of one, with the configuration and credentials for its clients.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The ID of the account: 12 digits.
    pub(crate) id: String,
    /// The name of the account in the account table of serverless.yml.
    pub(crate) name: String,
    config: SdkConfig,
}

impl Account {
    /// Returns the account of the stage whose row in serverless.yml is `row`. The credentials come from the row's
    /// profile if the AWS configuration has this profile, or else from the default credential provider chain.
    ///
    /// # Errors
    /// Fails if the AWS configuration cannot be read, or if serverless.yml has no valid row for the account.
    pub(crate) async fn of_row(tables: &Tables, row: &StageRow) -> Result<Self> {
        let profiles =
            aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
        let profiles = profiles.context("cannot read the AWS configuration")?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(aws::https(CONNECT_TIMEOUT).for_aws())
            .region(Region::new(tables.region.clone()));
        if let Some(profile) = &row.profile
            && profiles.profiles().any(|known| known == profile)
        {
            loader = loader.profile_name(profile);
        }
        let id = tables.account(&row.account)?.to_owned();
        Ok(Self {
            id,
            name: row.account.clone(),
            config: with_retries(loader.load().await),
        })
    }

    /// Returns the emulated account of a local stage, such as the stage that `cargo xtask dev` runs.
    ///
    /// # Errors
    /// Fails if the local stage's AWS configuration is incomplete.
    pub(crate) fn of_local_stage(stage: &LocalStage) -> Result<Self> {
        // The product's clients have short timeouts. A deployment may take longer.
        let mut config = stage.aws()?.config().to_builder();
        config.set_timeout_config(None);
        Ok(Self {
            id: ACCOUNT.into(),
            name: STAGE.into(),
            config: with_retries(config.build()),
        })
    }

    /// Asks AWS whether the credentials belong to this account. `row` is the stage's row in serverless.yml; the error
    /// message names its profile.
    ///
    /// # Errors
    /// Fails if there are no valid credentials, or if the credentials belong to another account.
    pub(crate) async fn check(&self, row: &StageRow) -> Result<()> {
        let profile = row.profile.as_deref().unwrap_or("default");
        let caller = aws_sdk_sts::Client::new(&self.config)
            .get_caller_identity()
            .send()
            .await;
        let caller = caller.map_err(aws_sdk_sts::Error::from).with_context(|| {
            format!(
                "cannot find valid credentials for account {} ({}): sign in with the profile {profile}, or set \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                self.id, self.name
            )
        })?;
        let found = caller.account().unwrap_or_default();
        if found != self.id {
            bail!(
                "the credentials belong to account {found}, but the stage is in account {} ({}). Nothing was changed. \
                 Sign in with the profile {profile}",
                self.id,
                self.name
            );
        }
        Ok(())
    }

    /// The region, credentials and endpoint for clients of this account.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Whether the account is emulated on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.config.endpoint_url().is_some_and(is_local)
    }

    /// The region that clients of this account use. All stages are in the same region.
    pub(crate) fn region(&self) -> &str {
        self.config
            .region()
            .map_or("us-east-1", |region| region.as_ref())
    }

    /// Returns an S3 client for this account. The client uses path-style URLs if the account is emulated locally.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        // The store sends SHA-256 checksums itself where it needs them.
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .force_path_style(self.is_local())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// The URL of an S3 object, in the form that CloudFormation accepts as a template URL.
    pub(crate) fn object_url(&self, bucket: &str, key: &str) -> String {
        match self.config.endpoint_url() {
            Some(endpoint) => format!("{endpoint}/{bucket}/{key}"),
            None => format!(
                "https://{bucket}.s3.{}.{}/{key}",
                self.region(),
                self.dns_suffix()
            ),
        }
    }

    /// The end of the host names of AWS services. It depends on the partition of the account's region.
    pub(crate) fn dns_suffix(&self) -> &'static str {
        dns_suffix(self.region())
    }

    /// Returns an account for tests. Its clients have the configuration `config`.
    #[cfg(test)]
    pub(crate) fn fake(config: SdkConfig) -> Self {
        Self {
            id: ACCOUNT.into(),
            name: STAGE.into(),
            config: config
                .to_builder()
                .retry_config(retries(Duration::from_millis(1)))
                .build(),
        }
    }
}

/// Returns `config` with more retries than the SDK makes by default, and with a timeout for each attempt.
fn with_retries(config: SdkConfig) -> SdkConfig {
    let backoff = if config.endpoint_url().is_some_and(is_local) {
        Duration::from_millis(50)
    } else {
        Duration::from_secs(1)
    };
    let timeouts = config
        .timeout_config()
        .map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    config
        .to_builder()
        .retry_config(retries(backoff))
        .timeout_config(timeouts.operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .build()
}

/// Whether the host of a URL is this machine.
fn is_local(endpoint: &str) -> bool {
    let url = Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(Url::host_str);
    host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host))
}

/// Returns how requests are retried. AWS limits the rate of requests for all callers of an account together, so a
/// request may be throttled for as long as another deployment runs. `backoff` is the upper limit of the first pause.
/// Each further limit is twice as high, up to 20 times `backoff`.
fn retries(backoff: Duration) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(backoff)
        .with_max_backoff(20 * backoff)
}

/// The end of the host names of AWS services in `region`:
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
fn dns_suffix(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in [
            "http://127.0.0.1:4566",
            "http://localhost:1",
            "https://LOCALHOST",
            "http://[::1]:1",
        ] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "https://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost@example.com",
            "https://s3.amazonaws.com",
            "",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn hosts_in_china_have_another_suffix() {
        assert_eq!(dns_suffix("eu-central-1"), "amazonaws.com");
        assert_eq!(dns_suffix("us-gov-west-1"), "amazonaws.com");
        assert_eq!(dns_suffix("cn-north-1"), "amazonaws.com.cn");
    }
}
