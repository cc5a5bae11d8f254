//! The secrets of a stage: SecureStrings in SSM. Their values come by standard input, and are never shown.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _, stdin},
};

use anyhow::{Context, Result, bail};
use aws_sdk_ssm::{
    Client,
    types::{ParameterStringFilter, ParameterType},
};
use clap::{Subcommand, ValueEnum};
use console::style;

use super::{Infrastructure, StageName, Target};
use crate::{ui, workspace::Workspace};

/// A secret that the functions read when they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// The key that Stripe's API is called with: sk_… or rk_…
    StripeSecretKey,
    /// What Stripe signs its events with: whsec_…
    StripeWebhookSecret,
    /// Whom notify sends its SMS: + and digits
    AdminPhoneNumber,
}

impl Name {
    /// Below the path of its stage.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StripeSecretKey => "stripe-secret-key",
            Self::StripeWebhookSecret => "stripe-webhook-secret",
            Self::AdminPhoneNumber => "admin-phone-number",
        }
    }

    /// Whether it can be that. What is wrong is found out here, and not by a function that does not start.
    fn accepts(self, value: &str) -> bool {
        let one_word = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic());
        one_word
            && match self {
                Self::StripeSecretKey => value.starts_with("sk_") || value.starts_with("rk_"),
                Self::StripeWebhookSecret => value.starts_with("whsec_"),
                // E.164: https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html
                Self::AdminPhoneNumber => value.strip_prefix('+').is_some_and(|digits| {
                    (2..=15).contains(&digits.len())
                        && digits.chars().all(|c| c.is_ascii_digit())
                        && !digits.starts_with('0')
                }),
            }
    }
}

/// What is done with secrets.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Secret {
    /// Set a secret to what standard input gives
    Set {
        /// Which
        name: Name,
        /// Whose
        #[arg(long)]
        stage: StageName,
    },
    /// Show which secrets a stage has, and since when; never what they are
    List {
        /// Whose
        #[arg(long)]
        stage: StageName,
    },
    /// Give a stage the secrets of another that it does not have
    Copy {
        /// Where they are
        #[arg(long)]
        from: StageName,
        /// Where they go
        #[arg(long)]
        stage: StageName,
    },
}

/// The stage whose secrets a stage reads: its own, or those of the stage that it links to.
pub(crate) fn stage_of(target: &Target) -> String {
    match target.row.infrastructure {
        Infrastructure::Own => target.stage.to_string(),
        Infrastructure::Dev => Infrastructure::Dev.name().into(),
    }
}

fn path(target: &Target, name: Name) -> String {
    format!("/scratchpad/{}/{}", stage_of(target), name.name())
}

/// The secrets that a stage does not have.
///
/// # Errors
/// When SSM does not say.
pub(crate) async fn missing(target: &Target) -> Result<Vec<&'static str>> {
    let known = known(target).await?;
    let missing = Name::value_variants()
        .iter()
        .filter(|name| !known.contains_key(&path(target, **name)));
    Ok(missing.map(|name| name.name()).collect())
}

/// The secrets that a stage has, by their paths: their versions, and since when. To know that asks for no leave to
/// read them.
async fn known(target: &Target) -> Result<BTreeMap<String, (i64, u64)>> {
    let below = ParameterStringFilter::builder()
        .key("Path")
        .option("Recursive");
    let below = below
        .values(format!("/scratchpad/{}", stage_of(target)))
        .build()?;
    let ssm = Client::new(target.account.config());
    let mut pages = ssm
        .describe_parameters()
        .parameter_filters(below)
        .into_paginator()
        .send();
    let mut known = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page
            .map_err(aws_sdk_ssm::Error::from)
            .context("the secrets cannot be listed")?;
        for parameter in page.parameters.into_iter().flatten() {
            let since = parameter
                .last_modified_date
                .map_or(0, |date| date.secs().unsigned_abs() * 1000);
            known.extend(
                parameter
                    .name
                    .map(|name| (name, (parameter.version, since))),
            );
        }
    }
    Ok(known)
}

/// `cargo xtask secrets`.
///
/// # Errors
/// Says what is wrong with a value, and never which it is.
pub(crate) async fn secrets(what: Secret) -> Result<()> {
    let workspace = Workspace::read()?;
    match what {
        Secret::Set { name, stage } => {
            let target = Target::open(&workspace, &stage, None).await?;
            if stdin().is_terminal() {
                bail!(
                    "give the value by standard input: cargo xtask secrets set {} --stage {stage} < FILE",
                    name.name()
                );
            }
            let mut value = String::new();
            stdin()
                .read_to_string(&mut value)
                .context("the value is not text")?;
            let value = value.trim();
            if !name.accepts(value) {
                let help = name
                    .to_possible_value()
                    .and_then(|value| value.get_help().map(ToString::to_string));
                bail!("that is not {}. {}", name.name(), help.unwrap_or_default());
            }
            put(&target, name, value).await?;
            ui::say(format!(
                "{} {} of {stage} is set. Functions that run read it within minutes",
                style("✓").green(),
                name.name()
            ));
        }
        Secret::List { stage } => {
            let target = Target::open(&workspace, &stage, None).await?;
            let known = known(&target).await?;
            for name in Name::value_variants() {
                let path = path(&target, *name);
                let state = match known.get(&path) {
                    Some((version, since)) => {
                        format!("version {version}, set {}", super::age(*since).trim())
                    }
                    None => style("missing").red().to_string(),
                };
                ui::print(format!("{path:<50}{state}"));
            }
        }
        Secret::Copy { from, stage } => {
            let [source, target] = [
                Target::open(&workspace, &from, None).await?,
                Target::open(&workspace, &stage, None).await?,
            ];
            let missing = missing(&target).await?;
            let mut copied = Vec::new();
            for name in Name::value_variants()
                .iter()
                .filter(|name| missing.contains(&name.name()))
            {
                let found = Client::new(source.account.config())
                    .get_parameters()
                    .names(path(&source, *name))
                    .with_decryption(true)
                    .send()
                    .await;
                let found = found
                    .map_err(aws_sdk_ssm::Error::from)
                    .with_context(|| format!("{} of {from} cannot be read", name.name()))?;
                if let Some(value) = found
                    .parameters()
                    .first()
                    .and_then(|parameter| parameter.value())
                {
                    put(&target, *name, value).await?;
                    copied.push(name.name());
                }
            }
            let copied = if copied.is_empty() {
                "nothing".into()
            } else {
                copied.join(", ")
            };
            ui::say(format!(
                "{} {copied} copied from {from} to {stage}; what it had stays",
                style("✓").green()
            ));
        }
    }
    Ok(())
}

async fn put(target: &Target, name: Name, value: &str) -> Result<()> {
    let put = Client::new(target.account.config())
        .put_parameter()
        .name(path(target, name))
        .value(value)
        .r#type(ParameterType::SecureString)
        .overwrite(true);
    put.send()
        .await
        .map_err(aws_sdk_ssm::Error::from)
        .with_context(|| format!("{} cannot be written", name.name()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_the_secret_is_refused() {
        for (name, good, bad) in [
            (Name::StripeSecretKey, "sk_test_1", "pk_test_1"),
            (Name::StripeSecretKey, "rk_live_1", "sk_ 1"),
            (Name::StripeWebhookSecret, "whsec_1", ""),
            (Name::AdminPhoneNumber, "+15555550100", "5555550100"),
            (Name::AdminPhoneNumber, "+4930123456", "+0123"),
        ] {
            assert!(name.accepts(good), "{good}");
            assert!(!name.accepts(bad), "{bad}");
        }
    }
}
