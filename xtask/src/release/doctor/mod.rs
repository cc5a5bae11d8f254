//! `cargo xtask doctor`: reports what the account of a stage lacks, and how to get it, in the order in which to fix it. It
//! changes nothing.
//!
//! A red check names the next step. A warning is a limitation that may be intended. A check whose query failed is unknown,
//! and does not stop the other checks.
//!
//! | module | checks |
//! |---|---|
//! | [`account`] | the credentials, the OIDC provider, the account's stacks |
//! | [`quotas`] | the quotas of Lambda |
// part: web {
//! | [`cloudfront`] | the quotas of CloudFront |
// part: web }
// part: billing {
//! | [`stripe`] | the Stripe keys and the webhook |
// part: billing }
// part: notify {
//! | [`sms`] | the destination and the sender of SMS, and their limits |
// part: notify }
//! | [`domain`] | the delegation of the domain, and the e-mail sender |
//!
//! [`subject`] has what several checks share. [`aws`] and [`dns`] send the queries.

mod account;
pub(super) mod aws;
mod check;
mod cloudfront; // part: web
mod dns;
mod domain;
#[cfg(test)]
mod double;
mod failure;
mod quotas;
mod secrets; // part: billing
mod sms; // part: notify
mod stripe; // part: billing
pub(super) mod stripe_api; // part: billing
mod subject;
#[cfg(test)]
mod tests;
mod xml;

use anyhow::{Result, bail};
use console::style;
use futures_util::{FutureExt as _, future::join_all};

use self::{
    check::{Check, Phase, State},
    dns::Resolver,
    subject::{Examination, Subject},
};
use super::{
    table::{Infrastructure, StageName, Tables},
    target::Target,
};
use crate::{
    stage::STAGE,
    ui::{self, Step},
    workspace::Workspace,
};

/// `cargo xtask doctor`.
///
/// # Errors
/// Fails if a check is red, or if the stage's rows cannot be read.
pub(crate) async fn doctor(
    stage: &StageName,
    infrastructure: Option<Infrastructure>,
) -> Result<()> {
    if stage.as_ref() == STAGE {
        bail!("the stage {STAGE} is reserved for cargo xtask dev; choose another name");
    }
    let workspace = Workspace::read()?;
    let target = Target::read(&workspace, stage, infrastructure).await?;
    target.announce();
    let tables = Tables::read(workspace.root(), |_| None)?;
    let subject = subject(&tables, &target)?;
    let step = Step::begin("query the account");
    let checks = examine(&subject, &Resolver::of_system()).await;
    step.done(&format!("({})", ui::count(checks.len(), "check")));
    for line in report(&checks) {
        ui::print(line);
    }
    let counts = counts(&checks);
    if checks.iter().any(|check| check.finding.state == State::Red) {
        bail!("{counts}; fix the red checks from top to bottom");
    }
    ui::success(counts);
    Ok(())
}

fn subject(tables: &Tables, target: &Target) -> Result<Subject> {
    let Target {
        stage,
        row,
        account,
        ..
    } = target;
    Ok(Subject {
        stage: stage.to_string(),
        account_id: account.id.clone(),
        account_name: account.name.clone(),
        profile: row.profile.clone().unwrap_or_else(|| "default".into()),
        config: account.config().clone(),
        region: account.region().to_owned(),
        is_local: account.is_local(),
        boundary: boundary(tables.row_name(stage)?),
        has_workflow_roles: tables.has_workflow_roles(&account.name),
        has_foreign_oidc_provider: tables.has_foreign_oidc_provider(&account.name),
        // part: notify {
        // A stage that uses dev's tables publishes no purchases.
        sends_sms: row.infrastructure == Infrastructure::Own,
        // part: notify }
        is_protected: row.protected, // part: billing
        domain: row.domain.clone(),
        is_delegated: row.delegated,
        secrets_stage: target.infrastructure_stage(), // part: billing
        stripe_url: row.stripe_url.clone(),           // part: billing
        publishable_key: row.stripe_publishable_key.clone(), // part: billing
    })
}

/// The name of the permissions boundary for the stages of a row, which may be a pattern such as `pr-*`.
fn boundary(row: &str) -> String {
    let name = row.trim_end_matches('*').trim_end_matches('-');
    format!("scratchpad-boundary-{name}")
}

/// Runs all checks. Returns them in the order in which to fix them.
async fn examine(subject: &Subject, resolver: &Resolver) -> Vec<Check> {
    let credentials = account::credentials(subject).await;
    let exam = Examination::begin(subject, resolver, &credentials.finding).await;
    let groups = [
        account::checks(&exam).boxed_local(),
        quotas::checks(&exam).boxed_local(),
        cloudfront::checks(&exam).boxed_local(), // part: web
        domain::checks(&exam).boxed_local(),
        stripe::checks(&exam).boxed_local(), // part: billing
        sms::checks(&exam).boxed_local(),    // part: notify
    ];
    let mut checks = vec![credentials];
    checks.extend(join_all(groups).await.into_iter().flatten());
    let mut ordered = Vec::new();
    for phase in Phase::ALL {
        ordered.extend(checks.extract_if(.., |check| check.phase == phase));
    }
    ordered
}

/// The lines of the report: the checks of each phase, and what to do about those that are red or a warning.
fn report(checks: &[Check]) -> Vec<String> {
    let width = checks.iter().map(|check| check.name.len()).max();
    let width = width.unwrap_or_default();
    let mut lines = Vec::new();
    for phase in Phase::ALL {
        lines.push(String::new());
        lines.push(style(phase.heading()).bold().to_string());
        for Check { name, finding, .. } in checks.iter().filter(|check| check.phase == phase) {
            let mark = mark(finding.state);
            lines.push(format!("  {mark} {name:<width$}  {}", finding.found));
            if let Some(remedy) = &finding.remedy {
                lines.push(format!("      next: {}", remedy.step));
                lines.push(format!("      {}", style(remedy.docs).dim()));
            }
        }
    }
    lines.push(String::new());
    lines
}

fn mark(state: State) -> String {
    match state {
        State::Green => style("✓").green(),
        State::Warning => style("!").yellow(),
        State::Red => style("✗").red(),
        State::Unknown => style("?").yellow(),
    }
    .to_string()
}

fn counts(checks: &[Check]) -> String {
    let count = |state| {
        let found = checks.iter().filter(|check| check.finding.state == state);
        found.count()
    };
    format!(
        "{} green, {}, {} red, {} unknown",
        count(State::Green),
        ui::count(count(State::Warning), "warning"),
        count(State::Red),
        count(State::Unknown)
    )
}
