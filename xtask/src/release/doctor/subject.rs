//! What the checks know before they query anything, and the queries that several checks share.

use std::{collections::BTreeMap, future::Future};

use aws_config::SdkConfig;

use super::secrets::Secrets; // part: billing
use super::{
    aws::Aws,
    check::{Check, Finding, Phase},
    dns::Resolver,
    failure::Failure,
};

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
    // part: billing {
    /// Whether the row of the stage says that it is protected.
    pub(super) is_protected: bool,
    // part: billing }
    /// The domain in the stage's row.
    pub(super) domain: Option<String>,
    /// Whether the row says that the parent zone delegates the domain to the stage's hosted zone.
    pub(super) is_delegated: bool,
    // part: billing {
    /// The stage whose secrets the stage uses: itself or dev.
    pub(super) secrets_stage: String,
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
    pub(super) secrets: Secrets, // part: billing
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
                secrets: Secrets::unknown(&failure), // part: billing
                exports: Err(failure),
            };
        }
        let (stacks, exports) = tokio::join!(stacks(subject), exports(subject));
        Self {
            subject,
            resolver,
            aws: Ok(Aws::new(&subject.config)),
            stacks,
            exports,
            secrets: Secrets::read(subject).await, // part: billing
        }
    }

    /// The client for AWS.
    pub(super) fn aws(&self) -> Result<&Aws, Failure> {
        self.aws.as_ref().map_err(Clone::clone)
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
