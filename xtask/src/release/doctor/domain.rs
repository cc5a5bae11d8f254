//! Checks of the stage's domain, and of the e-mail sender, which uses the domain.

use serde_json::Value;

use super::{
    aws::Service,
    check::{Check, Finding, Phase},
    dns::normalized,
    failure::Failure,
    subject::Examination,
};

/// Checks the delegation of the domain and the e-mail sender.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    let subject = exam.subject;
    let mut checks = Vec::new();
    if let Some(domain) = &subject.domain {
        let name = format!("delegation of {domain}");
        let delegation = delegation(exam, domain);
        checks.push(exam.check(Phase::AfterDeploy, name, delegation).await);
    }
    match &subject.domain {
        Some(domain) if subject.is_delegated => {
            let (access, identity) = tokio::join!(
                exam.check(
                    Phase::AfterDeploy,
                    "SES production access",
                    production_access(exam)
                ),
                exam.check(
                    Phase::AfterDeploy,
                    format!("SES identity {domain}"),
                    identity(exam, domain)
                ),
            );
            checks.extend([access, identity]);
        }
        domain => {
            let until = if domain.is_some() {
                ", until the row says `delegated: true`"
            } else {
                ""
            };
            let found = format!("Cognito's own sender, which sends about 50 e-mails a day{until}");
            checks.push(Check::new(
                Phase::AfterDeploy,
                "e-mail sender",
                Ok(Finding::green(found)),
            ));
        }
    }
    checks
}

/// Compares the name servers that DNS returns for the domain with those of the stage's hosted zone.
async fn delegation(exam: &Examination<'_>, domain: &str) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-routing-traffic-for-subdomains.html";
    let stage = &exam.subject.stage;
    let exports = exam.exports.as_ref().map_err(Clone::clone)?;
    let Some(expected) = exports.get(&format!("scratchpad-{stage}-NameServers")) else {
        return Ok(Finding::red(
            "the hosted zone does not exist yet",
            format!(
                "cargo xtask deploy --stage {stage} creates it with the stack scratchpad-dns-{stage}; then run doctor again"
            ),
            "https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/CreatingHostedZone.html",
        ));
    };
    let mut expected: Vec<String> = expected.split(',').map(normalized).collect();
    expected.sort();
    let found = exam.resolver.name_servers(domain).await?;
    let list = expected.join(", ");
    if found != expected {
        let found = if found.is_empty() {
            "DNS has no name servers for the domain".to_owned()
        } else {
            format!(
                "DNS has other name servers than the hosted zone: {}",
                found.join(", ")
            )
        };
        return Ok(Finding::red(
            found,
            format!(
                "add NS records for {domain} to the zone of the parent domain: {list}; if another stage has the parent domain, \
                 set the column nameServers of this stage's row to them, and deploy the other stage; resolvers may cache the \
                 earlier response for some hours"
            ),
            DOCS,
        ));
    }
    if exam.subject.is_delegated {
        return Ok(Finding::green(
            "the parent zone delegates the domain to the hosted zone",
        ));
    }
    Ok(Finding::red(
        "the parent zone delegates the domain, but the row does not say so",
        format!(
            "wait until SES has verified the domain and granted production access (AWS console > Amazon SES > Get set up); then \
             set delegated: true in the row of {stage} in serverless.yml, and run cargo xtask deploy --stage {stage}"
        ),
        DOCS,
    ))
}

/// Checks that SES may send to all addresses. Without production access, SES sends only to verified addresses.
async fn production_access(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html";
    let account = exam
        .aws()?
        .get_json(Service::Ses, "/v2/email/account")
        .await?;
    let is = |field: &str| account.get(field).and_then(Value::as_bool);
    let (Some(has_access), Some(can_send)) = (is("ProductionAccessEnabled"), is("SendingEnabled"))
    else {
        return Err(Failure::new(
            "the response of SES does not describe the account",
        ));
    };
    if !can_send {
        let status = account.get("EnforcementStatus").and_then(Value::as_str);
        return Ok(Finding::red(
            format!(
                "SES does not send for this account; its status is {}",
                status.unwrap_or("unknown")
            ),
            "AWS console > Amazon SES > Reputation metrics: read the cause, and answer the case in the Support Center",
            "https://docs.aws.amazon.com/ses/latest/dg/faqs-enforcement.html",
        ));
    }
    if has_access {
        let quota = account.pointer("/SendQuota/Max24HourSend");
        let quota = quota.and_then(Value::as_f64).unwrap_or_default();
        return Ok(Finding::green(format!("{quota} e-mails a day")));
    }
    let review = account.pointer("/Details/ReviewDetails/Status");
    if review.and_then(Value::as_str) == Some("PENDING") {
        return Ok(Finding::red(
            "SES is in the sandbox; AWS reviews the request for production access",
            "wait for AWS's decision: AWS console > Support Center > Your support cases",
            DOCS,
        ));
    }
    Ok(Finding::red(
        "SES is in the sandbox: it sends only to verified addresses, so nobody can sign up",
        format!(
            "AWS console > Amazon SES (in {}) > Account dashboard > Request production access; AWS decides in about a day",
            exam.subject.region
        ),
        DOCS,
    ))
}

async fn identity(exam: &Examination<'_>, domain: &str) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html";
    let stage = &exam.subject.stage;
    let path = format!("/v2/email/identities/{domain}");
    let identity = match exam.aws()?.get_json(Service::Ses, &path).await {
        Ok(identity) => identity,
        Err(failure) if failure.code == "NotFoundException" => {
            return Ok(Finding::red(
                "does not exist",
                format!(
                    "cargo xtask deploy --stage {stage} creates it with the stack scratchpad-dns-{stage}"
                ),
                DOCS,
            ));
        }
        Err(failure) => return Err(failure),
    };
    let is_verified = identity.get("VerifiedForSendingStatus");
    let Some(is_verified) = is_verified.and_then(Value::as_bool) else {
        return Err(Failure::new(
            "the response of SES does not say whether the identity is verified",
        ));
    };
    let dkim = identity.pointer("/DkimAttributes/Status");
    let dkim = dkim.and_then(Value::as_str).unwrap_or("NOT_STARTED");
    if is_verified && dkim == "SUCCESS" {
        return Ok(Finding::green("verified, and e-mails are signed with DKIM"));
    }
    Ok(Finding::red(
        if is_verified {
            format!("verified, but the status of DKIM is {dkim}")
        } else {
            format!("not verified; the status of DKIM is {dkim}")
        },
        "SES finds the DKIM records as soon as the domain is delegated, within 72 hours; if it does not: AWS console > Amazon \
         SES > Identities > the domain > Authentication",
        "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-dkim.html",
    ))
}
