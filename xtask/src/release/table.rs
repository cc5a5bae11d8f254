//! The tables of the root serverless.yml: the stages, and the accounts that they are in.

use std::{collections::BTreeMap, fmt, fs, path::Path, str::FromStr};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The name of a stage. It is part of the name of everything that the stage has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct StageName(String);

impl StageName {
    /// A bucket's name has at most 63 characters, and `scratchpad-…-attachments-` with an account's
    /// number takes 36: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
    const LONGEST: usize = 27;
}

impl FromStr for StageName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let words = name
            .split('-')
            .all(|word| !word.is_empty() && word.chars().all(plain));
        let reserved = name == "ephemeral";
        if words
            && !reserved
            && name.len() <= Self::LONGEST
            && name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Ok(Self(name.into()));
        }
        let mut fitting = name.to_ascii_lowercase();
        fitting = fitting
            .split(|c| !plain(c))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        fitting.truncate(Self::LONGEST);
        let fitting = fitting.trim_matches('-');
        let hint = if !reserved && fitting.starts_with(|c: char| c.is_ascii_lowercase()) {
            format!("; {fitting} would do")
        } else {
            String::new()
        };
        Err(format!(
            "a stage's name is at most {} small letters, digits and single hyphens, begins with a letter, and is not \
             ephemeral{hint}",
            Self::LONGEST
        ))
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StageName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What functions are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Architecture {
    /// AWS Graviton, which costs a fifth less.
    #[serde(rename = "arm64")]
    #[value(name = "arm64")]
    Arm64,
    /// Intel's and AMD's.
    #[serde(rename = "x86_64")]
    #[value(name = "x86_64")]
    X86,
}

impl Architecture {
    /// This machine's.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::X86
    };

    /// As AWS spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86 => "x86_64",
        }
    }
}

/// How functions are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Build {
    /// Quickly, by this machine's own Cargo, for this machine.
    Dev,
    /// For Lambda.
    Release,
}

/// Whose tables, bucket and users a stage works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Infrastructure {
    /// Its own.
    Own,
    /// Those of the stage dev.
    Dev,
}

impl Infrastructure {
    /// As the stage table spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Dev => "dev",
        }
    }
}

/// A row of the stage table, with the columns that deploying goes by.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// The account that it is in, a row of the account table.
    pub(crate) account: String,
    /// The AWS profile to deploy with.
    pub(crate) profile: Option<String>,
    /// Of the functions.
    pub(crate) architecture: Architecture,
    /// How the functions are built.
    pub(crate) build: Build,
    /// Whether it has data and users of its own.
    pub(crate) infrastructure: Infrastructure,
    /// Whether nothing of it may be removed.
    pub(crate) protected: bool,
    /// Stripe's API, or what stands in for it.
    pub(crate) stripe_url: String,
    /// What the browser app calls Stripe with. It is no secret.
    #[serde(default)]
    pub(crate) stripe_publishable_key: String,
    /// The stage that its releases go to.
    pub(crate) promotes_to: Option<StageName>,
}

/// A row of the account table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AccountRow {
    /// Its number, of 12 digits.
    pub(crate) id: String,
}

/// The tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Tables {
    stages: BTreeMap<String, Row>,
    accounts: BTreeMap<String, AccountRow>,
    /// The region that everything is in.
    pub(crate) region: String,
}

impl Tables {
    /// Reads them. `set` has what they take from the environment.
    ///
    /// # Errors
    /// Says what cannot be read.
    pub(crate) fn read(root: &Path, set: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let text = fs::read_to_string(root.join("serverless.yml"))
            .context("serverless.yml cannot be read")?;
        serde_saphyr::from_str(&resolved(&text, set))
            .context("the tables of serverless.yml cannot be read")
    }

    /// The row of a stage.
    ///
    /// # Errors
    /// When there is none for it, and none for stages without one.
    pub(crate) fn row(&self, stage: &StageName) -> Result<&Row> {
        let row = self
            .stages
            .get(stage.as_ref())
            .or_else(|| self.stages.get("ephemeral"));
        row.with_context(|| {
            format!("serverless.yml has no row for {stage}, and no row `ephemeral`")
        })
    }

    /// Whether the stage has a row of its own.
    pub(crate) fn lists(&self, stage: &StageName) -> bool {
        self.stages.contains_key(stage.as_ref())
    }

    /// The number of an account.
    ///
    /// # Errors
    /// When the account table has no such row.
    pub(crate) fn account(&self, name: &str) -> Result<&str> {
        let row = self.accounts.get(name);
        let row = row.with_context(|| format!("serverless.yml has no account {name}"))?;
        if row.id.len() != 12 || !row.id.chars().all(|c| c.is_ascii_digit()) {
            bail!("the account {name} in serverless.yml has no number of 12 digits");
        }
        Ok(&row.id)
    }

    /// A row for each of the accounts that AWS, or who plays it, has.
    pub(crate) fn accounts(&self) -> Vec<&Row> {
        let mut rows: BTreeMap<&str, &Row> = BTreeMap::new();
        for (name, row) in &self.stages {
            if name != "local" {
                rows.entry(&row.account).or_insert(row);
            }
        }
        rows.into_values().collect()
    }
}

/// The text with each `${env:NAME, 'otherwise'}` replaced, as osls does it.
fn resolved(text: &str, set: impl Fn(&str) -> Option<String>) -> String {
    const BEGIN: &str = "${env:";
    let mut parts = text.split(BEGIN);
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((variable, rest)) => {
                let (name, otherwise) = variable.split_once(',').unwrap_or((variable, ""));
                let otherwise = || otherwise.trim().trim_matches('\'').to_owned();
                resolved += &set(name.trim()).unwrap_or_else(otherwise);
                resolved += rest;
            }
            None => resolved = resolved + BEGIN + part,
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn a_name_that_aws_would_refuse_is_refused_with_one_that_fits() {
        for name in ["pr-1", "dev", "a", "feature-2-x"] {
            assert_eq!(name.parse::<StageName>().unwrap().as_ref(), name);
        }
        for (name, fitting) in [
            ("feature/Add_Tags", "feature-add-tags"),
            ("PR--1-", "pr-1"),
            (
                "a-branch-with-a-name-that-is-far-too-long",
                "a-branch-with-a-name-that-i",
            ),
        ] {
            let refused = name.parse::<StageName>().unwrap_err();
            assert!(
                refused.ends_with(&format!("; {fitting} would do")),
                "{refused}"
            );
            fitting.parse::<StageName>().unwrap();
        }
        for name in ["", "-", "1", "ephemeral", "…"] {
            assert!(
                !name.parse::<StageName>().unwrap_err().contains("would do"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_stage_without_a_row_takes_the_one_for_ephemeral_stages() {
        let tables = Tables::read(root(), |_| None).unwrap();
        let [dev, pr] = ["dev", "pr-1"].map(|name| name.parse().unwrap());
        assert!(tables.lists(&dev) && !tables.lists(&pr));
        let row = tables.row(&pr).unwrap();
        assert_eq!(row.account, tables.row(&dev).unwrap().account);
        assert_eq!(row.architecture, Architecture::Arm64);
        assert_eq!(tables.account(&row.account).unwrap(), "111111111111");
    }

    #[test]
    fn what_the_environment_sets_is_taken_before_what_the_table_says() {
        let set = |name: &str| (name == "SCRATCHPAD_ARCHITECTURE").then(|| "x86_64".into());
        let tables = Tables::read(root(), set).unwrap();
        let row = tables.row(&"prod".parse().unwrap()).unwrap();
        assert_eq!(row.architecture, Architecture::X86);
        assert_eq!(row.build, Build::Release);
    }

    #[test]
    fn text_with_nothing_to_resolve_stays_as_it_is() {
        assert_eq!(
            resolved("a: ${self:b} ${env:", |_| None),
            "a: ${self:b} ${env:"
        );
        assert_eq!(resolved("${env:A}-${env:B, 'b'}", |_| None), "-b");
    }
}
