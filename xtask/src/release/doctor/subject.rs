//! What the checks know before they query anything, and the queries that several checks share.

use std::{collections::BTreeMap, future::Future};

use aws_config::SdkConfig;
use clap::ValueEnum as _;

use super::{
    aws::Aws,
    check::{Check, Finding, Phase},
    dns::Resolver,
    failure::Failure,
};
use crate::release::secret::Name;

/// The stage to check, and its account.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// The name of the stage.
    pub(super) stage: String,
    /// The account ID in the account table.
    pub(super) account_id: String,
    /// The name of the account's row.
    pub(super) account_name: String,
    /// The AWS profile of the stage's row.
    pub(super) profile: String,
    /// The configuration for AWS clients.
    pub(super) config: SdkConfig,
    /// The region of all stages.
    pub(super) region: String,
    /// Whether a local cloud emulates the account.
    pub(super) is_local: bool,
    /// The name of the policy that is the permissions boundary of the stage's roles.
    pub(super) boundary: String,
    /// Whether GitHub workflows assume roles in the account.
    pub(super) has_workflow_roles: bool,
    /// Whether the account's row says that another application has created GitHub's OIDC provider.
    pub(super) has_foreign_oidc_provider: bool,
    // part: notify {
    /// Whether the stage sends an SMS for each paid purchase.
    pub(super) sends_sms: bool,
    // part: notify }
    /// Whether the row of the stage says that it is protected.
    pub(super) is_protected: bool,
    /// The domain in the stage's row.
    pub(super) domain: Option<String>,
    /// Whether the row says that the parent zone delegates the domain to the stage's hosted zone.
    pub(super) is_delegated: bool,
    /// The stage whose secrets the stage uses: itself or dev.
    pub(super) secrets_stage: String,
    // part: billing {
    /// The URL of Stripe's API.
    pub(super) stripe_url: String,
    /// The publishable key in the stage's row.
    pub(super) publishable_key: String,
    // part: billing }
}

/// A subject, with the clients for its queries and with the responses that several checks share.
#[derive(Debug)]
pub(super) struct Examination<'a> {
    pub(super) subject: &'a Subject,
    pub(super) resolver: &'a Resolver,
    /// The client for AWS. A failure if the credentials do not belong to the account.
    pub(super) aws: Result<Aws, Failure>,
    /// The status of each stack of the account.
    pub(super) stacks: Result<BTreeMap<String, String>, Failure>,
    /// The exports of the account's stacks.
    pub(super) exports: Result<BTreeMap<String, String>, Failure>,
    /// The secrets that are set.
    secrets: Result<BTreeMap<&'static str, String>, Failure>,
}

impl<'a> Examination<'a> {
    /// Runs the queries that several checks share. `credentials` is the finding about the credentials: if they do not
    /// belong to the account, nothing is sent to AWS.
    pub(super) async fn begin(
        subject: &'a Subject,
        resolver: &'a Resolver,
        credentials: &Finding,
    ) -> Self {
        if credentials.state != super::check::State::Green {
            let failure = Failure::new("not checked, because the check of the credentials failed");
            return Self {
                subject,
                resolver,
                aws: Err(failure.clone()),
                stacks: Err(failure.clone()),
                exports: Err(failure.clone()),
                secrets: Err(failure),
            };
        }
        let (stacks, exports, secrets) =
            tokio::join!(stacks(subject), exports(subject), secrets(subject));
        Self {
            subject,
            resolver,
            aws: Ok(Aws::new(&subject.config)),
            stacks,
            exports,
            secrets,
        }
    }

    /// The client for AWS.
    pub(super) fn aws(&self) -> Result<&Aws, Failure> {
        self.aws.as_ref().map_err(Clone::clone)
    }

    /// The value of a secret. `None` if it is not set.
    pub(super) fn secret(&self, name: Name) -> Result<Option<&str>, Failure> {
        let secrets = self.secrets.as_ref().map_err(Clone::clone)?;
        Ok(secrets.get(name.name()).map(String::as_str))
    }

    /// The command that sets a secret.
    pub(super) fn set_secret(&self, name: Name) -> String {
        let (stage, name) = (&self.subject.secrets_stage, name.name());
        format!("cargo xtask secrets set {name} --stage {stage} < FILE")
    }

    /// Runs a check. A failed query makes it unknown.
    pub(super) async fn check(
        &self,
        phase: Phase,
        name: impl Into<String>,
        finding: impl Future<Output = Result<Finding, Failure>>,
    ) -> Check {
        let finding = finding.await.map_err(|failure| {
            if self.subject.is_local && !failure.code.is_empty() {
                failure.with("the account is emulated, and the local cloud may lack this query")
            } else {
                failure
            }
        });
        Check::new(phase, name, finding)
    }
}

async fn stacks(subject: &Subject) -> Result<BTreeMap<String, String>, Failure> {
    let client = aws_sdk_cloudformation::Client::new(&subject.config);
    let mut pages = client.describe_stacks().into_paginator().items().send();
    let mut stacks = BTreeMap::new();
    while let Some(stack) = pages.next().await {
        let stack = stack.map_err(|error| Failure::of_aws(&error))?;
        let status = stack
            .stack_status
            .map_or_else(String::new, |status| status.as_str().to_owned());
        stacks.extend(stack.stack_name.map(|name| (name, status)));
    }
    Ok(stacks)
}

async fn exports(subject: &Subject) -> Result<BTreeMap<String, String>, Failure> {
    let client = aws_sdk_cloudformation::Client::new(&subject.config);
    let mut pages = client.list_exports().into_paginator().items().send();
    let mut exports = BTreeMap::new();
    while let Some(export) = pages.next().await {
        let export = export.map_err(|error| Failure::of_aws(&error))?;
        exports.extend(export.name.zip(export.value));
    }
    Ok(exports)
}

async fn secrets(subject: &Subject) -> Result<BTreeMap<&'static str, String>, Failure> {
    let path = |name: &Name| format!("/scratchpad/{}/{}", subject.secrets_stage, name.name());
    let found = aws_sdk_ssm::Client::new(&subject.config)
        .get_parameters()
        .set_names(Some(Name::value_variants().iter().map(path).collect()))
        .with_decryption(true)
        .send()
        .await
        .map_err(|error| Failure::of_aws(&error))?;
    let mut secrets = BTreeMap::new();
    for parameter in found.parameters.into_iter().flatten() {
        let name = Name::value_variants()
            .iter()
            .find(|name| Some(path(name)) == parameter.name);
        secrets.extend(name.map(|name| name.name()).zip(parameter.value));
    }
    Ok(secrets)
}
