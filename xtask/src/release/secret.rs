//! `cargo xtask secrets`: sets, lists and copies the secrets of a stage. The secrets are SecureString parameters in
//! Parameter Store. `secrets set` reads a value from standard input. No command prints a value.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _, stdin},
};

use anyhow::{Context, Result, bail};
use aws_sdk_ssm::{
    Client,
    types::{ParameterMetadata, ParameterStringFilter, ParameterType},
};
use clap::{Subcommand, ValueEnum, builder::PossibleValue};
use console::style;

use super::stripe_keys; // part: billing
use super::{
    account::Account, clock::age, context::StageContext, table::StageName, target::Target,
};
use crate::{ui, workspace::Workspace};

/// The maximum number of parameters that one request to SSM deletes.
const MAX_DELETED: usize = 10;

/// The secrets of the functions, which read them at a cold start.
const SECRETS: &[Name] = &[
    stripe_keys::SECRET_KEY,     // part: billing
    stripe_keys::WEBHOOK_SECRET, // part: billing
    ADMIN_PHONE_NUMBER,          // part: notify
];

// part: notify {
/// The phone number that notify-send sends SMS to.
pub(crate) const ADMIN_PHONE_NUMBER: Name = Name {
    name: "admin-phone-number",
    help: "The phone number that notify-send sends SMS to: + and digits (E.164)",
    // E.164: https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html
    has_format: |value| {
        value.strip_prefix('+').is_some_and(|digits| {
            (2..=15).contains(&digits.len())
                && digits.chars().all(|c| c.is_ascii_digit())
                && !digits.starts_with('0')
        })
    },
    describe: |_| None,
};
// part: notify }

/// The name of a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    /// The secret's name as it appears at the end of the path of its SSM parameter.
    pub(super) name: &'static str,
    /// What the secret is, and its format.
    pub(super) help: &'static str,
    /// Whether a value without spaces has the format of this secret.
    pub(super) has_format: fn(&str) -> bool,
    /// Returns what may be known of a value without permission to read it: the description of its SSM parameter.
    pub(super) describe: fn(&str) -> Option<String>,
}

impl Name {
    /// The secret's name as it appears at the end of the path of its SSM parameter.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    /// Whether `value` has the format of this secret. A function that reads a malformed secret fails at a cold start.
    pub(crate) fn accepts(self, value: &str) -> bool {
        let one_word = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic());
        one_word && (self.has_format)(value)
    }
}

impl ValueEnum for Name {
    fn value_variants<'a>() -> &'a [Self] {
        SECRETS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name).help(self.help))
    }
}

/// The subcommands of `cargo xtask secrets`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Secret {
    /// Set a secret to the value on standard input
    Set {
        /// The name of the secret
        name: Name,
        /// The stage to set the secret in
        #[arg(long)]
        stage: StageName,
    },
    /// List the secrets of a stage and when each was set, without the values
    List {
        /// The stage whose secrets are listed
        #[arg(long)]
        stage: StageName,
    },
    /// Copy secrets from one stage to another, except secrets that the other stage already has
    Copy {
        /// The stage to copy from
        #[arg(long)]
        from: StageName,
        /// The stage to copy to
        #[arg(long)]
        stage: StageName,
    },
}

/// Runs a subcommand of `cargo xtask secrets`.
///
/// # Errors
/// Fails if a value does not have the format of its secret, or a request to SSM fails. Error messages never contain the
/// value of a secret.
pub(crate) async fn secrets(command: Secret) -> Result<()> {
    let workspace = Workspace::read()?;
    let open = async |stage| {
        let context = StageContext::open(&workspace, stage, None).await?;
        anyhow::Ok(context.target)
    };
    match command {
        Secret::Set { name, stage } => set(&open(&stage).await?, name).await,
        Secret::List { stage } => list(&open(&stage).await?).await,
        Secret::Copy { from, stage } => copy(&open(&from).await?, &open(&stage).await?).await,
    }
}

async fn set(target: &Target, name: Name) -> Result<()> {
    let stage = &target.stage;
    if stdin().is_terminal() {
        bail!(
            "cannot read the value from a terminal; pass it on standard input: cargo xtask secrets set {} --stage {stage} < FILE",
            name.name()
        );
    }
    let mut value = String::new();
    stdin()
        .read_to_string(&mut value)
        .context("cannot read the value as UTF-8 text")?;
    let value = value.trim();
    if !name.accepts(value) {
        bail!(
            "the value is not a valid {}; expected: {}",
            name.name(),
            name.help
        );
    }
    put(target, name, value).await?;
    ui::say(format!(
        "{} {} of {stage} is set; running functions read it within minutes",
        style("✓").green(),
        name.name()
    ));
    Ok(())
}

async fn list(target: &Target) -> Result<()> {
    let stored = stored(target).await?;
    let mut missing = 0;
    for name in Name::value_variants() {
        let path = path(target, *name);
        let state = match stored.get(&path) {
            Some(parameter) => format!(
                "version {}, set {}",
                parameter.version,
                age(parameter.modified_at).trim()
            ),
            None => {
                missing += 1;
                style("missing").red().to_string()
            }
        };
        ui::print(format!("{path:<50}{state}"));
    }
    let total = Name::value_variants().len();
    ui::say(format!(
        "{} has {} of {total} secrets",
        target.stage,
        total - missing
    ));
    Ok(())
}

/// Copies secrets from `source` to `target`. Skips a secret that `target` already has or that `source` does not have.
async fn copy(source: &Target, target: &Target) -> Result<()> {
    let (from, to) = (&source.stage, &target.stage);
    let missing = missing(target).await?;
    let mut copied = Vec::new();
    for name in Name::value_variants()
        .iter()
        .filter(|name| missing.contains(&name.name()))
    {
        if let Some(value) = value(source, *name).await? {
            put(target, *name, &value).await?;
            copied.push(name.name());
        }
    }
    let mark = style("✓").green();
    ui::say(match (missing.len(), copied.len()) {
        (0, _) => format!("{mark} {to} has all secrets; nothing was copied"),
        (lacking, 0) => format!(
            "{} {from} has none of the {lacking} secrets that {to} needs; nothing was copied",
            style("!").yellow()
        ),
        (lacking, count) => format!(
            "{mark} copied {count} of {lacking} missing secrets from {from} to {to}: {}",
            copied.join(", ")
        ),
    });
    Ok(())
}

/// Returns the names of the secrets that the stage `target` does not have.
///
/// # Errors
/// Fails if the SSM parameters of the stage cannot be listed.
pub(crate) async fn missing(target: &Target) -> Result<Vec<&'static str>> {
    let stored = stored(target).await?;
    let missing = Name::value_variants()
        .iter()
        .filter(|name| !stored.contains_key(&path(target, **name)));
    Ok(missing.map(|name| name.name()).collect())
}

fn path(target: &Target, name: Name) -> String {
    format!(
        "/scratchpad/{}/{}",
        target.infrastructure_stage(),
        name.name()
    )
}

// part: billing {
/// Returns the description of a secret's SSM parameter. `None` if the secret is not set.
///
/// # Errors
/// Fails if the SSM parameters of the stage cannot be listed.
pub(super) async fn description(target: &Target, name: Name) -> Result<Option<String>> {
    let mut stored = stored(target).await?;
    let parameter = stored.remove(&path(target, name));
    Ok(parameter.map(|parameter| parameter.description))
}
// part: billing }

/// Reads the value of a secret. `None` if it is not set.
///
/// # Errors
/// Fails if the request to SSM fails.
pub(crate) async fn value(target: &Target, name: Name) -> Result<Option<String>> {
    let parameters = Client::new(target.account.config())
        .get_parameters()
        .names(path(target, name))
        .with_decryption(true)
        .send()
        .await;
    let parameters = parameters
        .map_err(aws_sdk_ssm::Error::from)
        .with_context(|| {
            format!(
                "cannot read the secret {} of {}",
                name.name(),
                target.infrastructure_stage()
            )
        })?;
    let first = parameters.parameters.unwrap_or_default().into_iter().next();
    Ok(first.and_then(|parameter| parameter.value))
}

/// The metadata of an SSM parameter.
struct Parameter {
    description: String, // part: billing
    version: i64,
    /// The time when the parameter's value was last set, in milliseconds since the Unix epoch.
    modified_at: u64,
}

/// Returns the metadata of the stored secrets of a stage. The keys are the paths of the SSM parameters.
async fn stored(target: &Target) -> Result<BTreeMap<String, Parameter>> {
    let stage = target.infrastructure_stage();
    let mut stored = BTreeMap::new();
    for found in parameters(&target.account, &stage).await? {
        let parameter = Parameter {
            description: found.description.unwrap_or_default(), // part: billing
            version: found.version,
            modified_at: found
                .last_modified_date
                .map_or(0, |date| date.secs().unsigned_abs() * 1000),
        };
        stored.extend(found.name.map(|name| (name, parameter)));
    }
    Ok(stored)
}

/// Returns the metadata of the SSM parameters below `/scratchpad/STAGE/`. The request needs no permission to read the
/// values.
async fn parameters(account: &Account, stage: &str) -> Result<Vec<ParameterMetadata>> {
    let filter = ParameterStringFilter::builder()
        .key("Path")
        .option("Recursive")
        .values(format!("/scratchpad/{stage}"))
        .build()?;
    let ssm = Client::new(account.config());
    let mut pages = ssm
        .describe_parameters()
        .parameter_filters(filter)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page
            .map_err(aws_sdk_ssm::Error::from)
            .with_context(|| format!("cannot list the secrets of {stage}"))?;
        found.extend(page.parameters.into_iter().flatten());
    }
    Ok(found)
}

/// Deletes all secrets of a stage.
///
/// # Errors
/// Fails if the secrets cannot be listed or deleted.
pub(crate) async fn delete_all(account: &Account, stage: &StageName) -> Result<()> {
    let found = parameters(account, stage.as_ref()).await?;
    let names: Vec<String> = found
        .into_iter()
        .filter_map(|parameter| parameter.name)
        .collect();
    let ssm = Client::new(account.config());
    for names in names.chunks(MAX_DELETED) {
        let delete = ssm
            .delete_parameters()
            .set_names(Some(names.to_vec()))
            .send()
            .await;
        delete
            .map_err(aws_sdk_ssm::Error::from)
            .with_context(|| format!("cannot delete the secrets of the stage {stage}"))?;
    }
    Ok(())
}

async fn put(target: &Target, name: Name, value: &str) -> Result<()> {
    let put = Client::new(target.account.config())
        .put_parameter()
        .name(path(target, name))
        .set_description((name.describe)(value))
        .value(value)
        .r#type(ParameterType::SecureString)
        .overwrite(true);
    put.send()
        .await
        .map_err(aws_sdk_ssm::Error::from)
        .with_context(|| {
            format!(
                "cannot write the secret {} of {}",
                name.name(),
                target.stage
            )
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws};

    #[tokio::test]
    async fn all_secrets_of_a_stage_are_deleted_without_permission_to_read_them() {
        let aws = FakeAws::new(|request| {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            if body.get("Names").is_some() {
                return Answer::new(200, "{}");
            }
            let names = |range: std::ops::Range<i32>| -> Vec<Value> {
                let name = |number| json!({"Name": format!("/scratchpad/pr-1/{number}")});
                range.map(name).collect()
            };
            let page = match body["NextToken"].as_str() {
                None => json!({"Parameters": names(0..8), "NextToken": "next"}),
                Some(_) => json!({"Parameters": names(8..12)}),
            };
            Answer::new(200, page.to_string())
        });
        let stage = "pr-1".parse().unwrap();
        delete_all(&aws.account(), &stage).await.unwrap();
        let requests = aws.requests();
        let deleted: Vec<usize> = requests
            .iter()
            .filter_map(|request| {
                let body: Value = serde_json::from_str(&request.body).unwrap();
                Some(body.get("Names")?.as_array()?.len())
            })
            .collect();
        assert_eq!(deleted, [10, 2]);
        let targets: Vec<&str> = requests
            .iter()
            .map(|request| request.target.as_str())
            .collect();
        assert_eq!(
            targets,
            [
                "AmazonSSM.DescribeParameters",
                "AmazonSSM.DescribeParameters",
                "AmazonSSM.DeleteParameters",
                "AmazonSSM.DeleteParameters"
            ]
        );
    }

    #[test]
    fn a_malformed_secret_is_rejected() {
        let name = Name {
            name: "key",
            help: "A key: k_…",
            has_format: |value| value.starts_with("k_"),
            describe: |_| None,
        };
        assert!(name.accepts("k_1"));
        for bad in ["", "k_ 1", "k_\u{e9}", "1"] {
            assert!(!name.accepts(bad), "{bad}");
        }
    }

    // part: notify {
    #[test]
    fn a_phone_number_has_the_format_of_e_164() {
        for good in ["+15555550100", "+4930123456"] {
            assert!(ADMIN_PHONE_NUMBER.accepts(good), "{good}");
        }
        for bad in ["5555550100", "+0123"] {
            assert!(!ADMIN_PHONE_NUMBER.accepts(bad), "{bad}");
        }
    }
    // part: notify }
}
