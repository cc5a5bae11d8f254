//! Checks of the credentials and of the account-wide stacks.

use aws_credential_types::provider::ProvideCredentials as _;

use super::{
    aws::Service,
    check::{Check, Finding, Phase},
    failure::Failure,
    subject::{Examination, Subject},
};

/// The host of GitHub's OpenID Connect provider.
const GITHUB: &str = "token.actions.githubusercontent.com";

/// The error codes that STS and IAM give for invalid credentials:
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
const INVALID_CREDENTIALS: [&str; 6] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Checks that there are credentials, and that they belong to the account of the stage.
pub(super) async fn credentials(subject: &Subject) -> Check {
    Check::new(Phase::Bootstrap, "credentials", caller(subject).await)
}

async fn caller(subject: &Subject) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sso.html";
    let Subject {
        profile,
        account_id,
        account_name,
        ..
    } = subject;
    let sign_in = format!(
        "sign in to account {account_id} ({account_name}): aws sso login --profile {profile}; or create the profile first: \
         aws configure sso --profile {profile}"
    );
    let provider = subject.config.credentials_provider();
    let provider = provider.ok_or_else(|| Failure::new("there are no credentials"))?;
    if let Err(error) = provider.provide_credentials().await {
        let found = format!("no credentials: {}", Failure::from_error(&error));
        return Ok(Finding::red(found, sign_in, DOCS));
    }
    let caller = aws_sdk_sts::Client::new(&subject.config)
        .get_caller_identity()
        .send()
        .await;
    let caller = match caller.map_err(|error| Failure::of_aws(&error)) {
        Ok(caller) => caller,
        Err(failure) if INVALID_CREDENTIALS.contains(&failure.code.as_str()) => {
            return Ok(Finding::red(failure.to_string(), sign_in, DOCS));
        }
        Err(failure) => return Err(failure),
    };
    let found = caller.account().unwrap_or_default();
    let arn = caller.arn().unwrap_or_default();
    if found == account_id {
        return Ok(Finding::green(format!("account {found}, as {arn}")));
    }
    Ok(Finding::red(
        format!(
            "the credentials of {arn} belong to account {found}, not to {account_id} ({account_name})"
        ),
        format!("{sign_in}; if {found} is the right account, change the id in serverless.yml"),
        DOCS,
    ))
}

/// Checks the account-wide stacks, and what they need.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    let subject = exam.subject;
    let mut checks = Vec::new();
    if subject.has_workflow_roles {
        let provider = oidc_provider(exam);
        checks.push(
            exam.check(Phase::Bootstrap, "GitHub OIDC provider", provider)
                .await,
        );
    }
    checks.push(stack(exam, "scratchpad-releases"));
    let name = format!("policy {}", subject.boundary);
    checks.push(exam.check(Phase::Deploy, name, boundary(exam)).await);
    checks.push(stack(exam, "scratchpad-api-logs"));
    // A local cloud has no costs, so it has no budget.
    if !subject.is_local {
        checks.push(stack(exam, "scratchpad-budget"));
    }
    if subject.has_workflow_roles {
        checks.push(stack(exam, "scratchpad-github"));
    }
    checks
}

/// Checks GitHub's OIDC provider. An account can have only one provider per URL. The stack scratchpad-github creates
/// it, unless the account's row says that another application has created it.
async fn oidc_provider(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const STACK: &str = "scratchpad-github";
    const DOCS: &str =
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html";
    let listed = exam
        .aws()?
        .query(Service::Iam, "ListOpenIDConnectProviders", &[])
        .await?;
    let providers = listed.texts("Arn");
    let suffix = format!(":oidc-provider/{GITHUB}");
    let provider = providers.iter().find(|arn| arn.ends_with(&suffix));
    let (stage, is_foreign) = (&exam.subject.stage, exam.subject.has_foreign_oidc_provider);
    let Some(arn) = provider else {
        return Ok(if is_foreign {
            Finding::red(
                "serverless.yml says `oidcProvider: existing`, but the account has no GitHub OIDC provider",
                format!(
                    "remove `oidcProvider: existing` from the row of the account, and run cargo xtask bootstrap --stage {stage}, \
                     which creates the provider"
                ),
                DOCS,
            )
        } else {
            Finding::green("none exists yet; the stack scratchpad-github creates it")
        });
    };
    if is_foreign {
        return Ok(Finding::green(
            "another application created it, as serverless.yml says",
        ));
    }
    let stacks = exam.stacks.as_ref().map_err(Clone::clone)?;
    if stacks.contains_key(STACK) && owned(exam.subject, STACK, arn).await? {
        return Ok(Finding::green("the stack scratchpad-github created it"));
    }
    Ok(Finding::red(
        format!("{arn} exists, but not in the stack {STACK}, whose creation will fail"),
        format!(
            "set `oidcProvider: existing` in the row of the account in serverless.yml, and make sure that the provider has the \
             audience sts.amazonaws.com; then run cargo xtask bootstrap --stage {stage}"
        ),
        DOCS,
    ))
}

/// Whether a stack has a resource with this physical ID.
async fn owned(subject: &Subject, stack: &str, id: &str) -> Result<bool, Failure> {
    let client = aws_sdk_cloudformation::Client::new(&subject.config);
    let resources = client.list_stack_resources().stack_name(stack);
    let mut pages = resources.into_paginator().items().send();
    while let Some(resource) = pages.next().await {
        let resource = resource.map_err(|error| Failure::of_aws(&error))?;
        if resource.physical_resource_id.as_deref() == Some(id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks the status of an account-wide stack.
fn stack(exam: &Examination<'_>, name: &str) -> Check {
    let state = stack_state(exam, name);
    Check::new(Phase::Deploy, format!("stack {name}"), state)
}

fn stack_state(exam: &Examination<'_>, name: &str) -> Result<Finding, Failure> {
    let stacks = exam.stacks.as_ref().map_err(Clone::clone)?;
    let bootstrap = format!("cargo xtask bootstrap --stage {}", exam.subject.stage);
    match stacks.get(name).map(String::as_str) {
        None => Ok(Finding::red(
            "does not exist",
            bootstrap,
            "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacks.html",
        )),
        Some(status @ ("CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE")) => {
            Ok(Finding::green(status))
        }
        Some(status) if status.ends_with("_IN_PROGRESS") => Ok(Finding::warning(
            status,
            "wait until CloudFormation has finished, and run doctor again",
            "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html",
        )),
        Some(status) => Ok(Finding::red(
            status,
            format!(
                "read the failure in the AWS console: CloudFormation > Stacks > {name} > Events; then run {bootstrap}"
            ),
            "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/troubleshooting.html",
        )),
    }
}

/// Checks that the permissions boundary exists. Without it, no role of the stage can be created.
async fn boundary(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let Subject {
        account_id,
        boundary,
        stage,
        ..
    } = exam.subject;
    let arn = format!("arn:aws:iam::{account_id}:policy/{boundary}");
    let parameters = [("PolicyArn", arn.as_str())];
    let policy = exam
        .aws()?
        .query(Service::Iam, "GetPolicy", &parameters)
        .await;
    match policy {
        Ok(_) => Ok(Finding::green("the permissions boundary exists")),
        Err(failure) if failure.code == "NoSuchEntity" => Ok(Finding::red(
            "the permissions boundary of the stage's roles does not exist",
            format!("cargo xtask bootstrap --stage {stage}"),
            "https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html",
        )),
        Err(failure) => Err(failure),
    }
}
