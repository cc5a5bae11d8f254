//! The stage table and the account table: the keys `stages` and `accounts` of the root serverless.yml.

use std::{collections::BTreeMap, fmt, fs, path::Path, str::FromStr};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::IgnoredAny};

/// The name of a stage. The names of all resources of the stage contain it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct StageName(String);

impl StageName {
    /// The maximum length of a stage's name in characters. A bucket's name has at most 63 characters, and some of them
    /// are needed for the other parts and for an account ID:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
    const MAX_LENGTH: usize = 63 - "scratchpad--attachments-111111111111".len();
}

impl FromStr for StageName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let has_valid_words = name
            .split('-')
            .all(|word| !word.is_empty() && word.chars().all(is_allowed));
        let is_reserved = name == EPHEMERAL;
        if has_valid_words
            && !is_reserved
            && name.len() <= Self::MAX_LENGTH
            && name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            return Ok(Self(name.into()));
        }
        let mut similar = name.to_ascii_lowercase();
        similar = similar
            .split(|c| !is_allowed(c))
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        similar.truncate(Self::MAX_LENGTH);
        let similar = similar.trim_matches('-');
        let hint = if !is_reserved && similar.starts_with(|c: char| c.is_ascii_lowercase()) {
            format!("; try {similar}")
        } else {
            String::new()
        };
        Err(format!(
            "must be at most {} lowercase letters, digits and single hyphens, begin with a letter, and not be \
             ephemeral{hint}",
            Self::MAX_LENGTH
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

/// The processor architecture that functions are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Architecture {
    /// AWS Graviton processors, which cost 20 % less than x86_64.
    #[serde(rename = "arm64")]
    #[value(name = "arm64")]
    Arm64,
    /// Intel and AMD processors.
    #[serde(rename = "x86_64")]
    #[value(name = "x86_64")]
    X86,
}

impl Architecture {
    /// The architecture of this machine.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") {
        Self::Arm64
    } else {
        Self::X86
    };

    /// The name that AWS uses for the architecture.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86 => "x86_64",
        }
    }
}

/// The Cargo profile that functions are built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Build {
    /// A debug build with the profile `dev`, for the architecture of this machine.
    Dev,
    /// An optimized build with the profile `release`, for Lambda.
    Release,
}

/// Whether a stage uses its own DynamoDB tables, bucket and users, or the tables, bucket and users of the stage dev.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Infrastructure {
    /// The stage has its own tables, bucket and users.
    Own,
    /// The stage uses the tables, bucket and users of the stage dev.
    Dev,
}

impl Infrastructure {
    /// The value in the column `infrastructure` of the stage table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Dev => "dev",
        }
    }
}

/// The name of the row of all stages that have no other row.
const EPHEMERAL: &str = "ephemeral";

/// A row of the stage table, with only the columns that xtask reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageRow {
    /// The account of the stage: the name of a row of the account table.
    pub(crate) account: String,
    /// The AWS profile whose credentials are used to deploy. `None` for the default credentials.
    pub(crate) profile: Option<String>,
    /// The processor architecture that the functions are compiled for.
    pub(crate) architecture: Architecture,
    /// The Cargo profile that the functions are built with.
    pub(crate) build: Build,
    /// Whether the stage uses its own DynamoDB tables, bucket and users, or the tables, bucket and users of the stage
    /// dev.
    pub(crate) infrastructure: Infrastructure,
    /// Whether `cargo xtask remove` refuses to delete the stage, and new stacks get termination protection.
    pub(crate) protected: bool,
    /// The domain, with a hosted zone of its own: of the sender of e-mail, and of the app.
    pub(crate) domain: Option<String>,
    /// Whether the parent zone delegates the domain to the stage's hosted zone.
    #[serde(default)]
    pub(crate) delegated: bool,
    /// The number of notes that every person may have. Only the templates use this column and the
    /// three columns below the objectives. xtask reads them so that a deploy refuses invalid values.
    #[serde(default)]
    #[expect(dead_code, reason = "only the templates use it")]
    free_notes: u32,
    /// The service level objectives over 30 days, by route group.
    #[serde(default)]
    pub(crate) objectives: BTreeMap<String, Objective>,
    /// The limits of the API's requests, by method. The limit `default` applies to all other methods.
    #[serde(default)]
    #[expect(dead_code, reason = "only the templates use it")]
    throttling: BTreeMap<String, Limit>,
    // part: billing {
    /// The number of instances of billing-webhook that may run at the same time. `None` for no limit of its own.
    #[expect(dead_code, reason = "only the templates use it")]
    webhook_concurrency: Option<u16>,
    // part: billing }
    /// The limit of requests that the API's web ACL applies. `None` for no web ACL.
    #[expect(dead_code, reason = "only the templates use it")]
    web_acl: Option<WebAcl>,
    // part: billing {
    /// The URL of the Stripe API, or of the local test double of Stripe.
    pub(crate) stripe_url: String,
    /// The publishable Stripe key of the app. A publishable key is not secret.
    #[serde(default)]
    pub(crate) stripe_publishable_key: String,
    // part: billing }
    /// The stage that releases of this stage can be promoted to. `None` if they cannot be promoted.
    pub(crate) promotes_to: Option<StageName>,
}

/// The service level objective of a route group.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Objective {
    /// The percentage of requests that must not be faults (5xx responses and crashes).
    pub(crate) availability: f64,
    /// The percentage of requests that must be answered within `within` milliseconds.
    pub(crate) latency: f64,
    /// Milliseconds.
    pub(crate) within: u32,
}

/// A limit of requests to a method of the API.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the templates use it")]
struct Limit {
    /// Requests per second.
    rate: f64,
    /// Requests at once.
    burst: u32,
}

/// A web ACL of AWS WAF.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the templates use it")]
struct WebAcl {
    /// The number of requests that an IP address may send in 5 minutes.
    #[serde(rename = "requestsPer5Minutes")]
    requests_per_5_minutes: u32,
}

/// A row of the account table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountRow {
    /// The AWS account ID, which has 12 digits.
    pub(crate) id: String,
    /// The roles for GitHub workflows, by name.
    #[serde(default)]
    github: BTreeMap<String, IgnoredAny>,
    /// Whether another application has created GitHub's OIDC provider in the account.
    oidc_provider: Option<OidcProvider>,
}

/// A value of the column `oidcProvider` of the account table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OidcProvider {
    Existing,
}

/// The stage table, the account table and the region, which are read from serverless.yml.
#[derive(Debug, Deserialize)]
pub(crate) struct Tables {
    stages: BTreeMap<String, StageRow>,
    accounts: BTreeMap<String, AccountRow>,
    /// The AWS region of all stages.
    pub(crate) region: String,
}

impl Tables {
    /// Reads the tables from serverless.yml in the folder `root`. `variable` returns the value of an environment
    /// variable that replaces a reference `${env:…}`, or `None` for the default value in the reference.
    ///
    /// # Errors
    /// Fails if serverless.yml cannot be read, or a row does not have a required column.
    pub(crate) fn read(root: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let text = fs::read_to_string(root.join("serverless.yml"))
            .context("cannot read serverless.yml")?;
        serde_saphyr::from_str(&resolve_variables(&text, variable))
            .context("cannot parse the tables `stages` and `accounts` of serverless.yml")
    }

    /// Returns the row of a stage in the stage table: the row with the name of the stage, or else the row whose pattern
    /// the name matches, such as `pr-*`, or else the row `ephemeral`.
    ///
    /// # Errors
    /// Fails if the row `ephemeral` is needed and does not exist, or if IAM policies for another row would apply to the
    /// stage.
    pub(crate) fn row(&self, stage: &StageName) -> Result<&StageRow> {
        let name = self.row_name(stage)?;
        self.stages.get(name).with_context(|| {
            format!("cannot find the row `{stage}` or the row `{name}` in serverless.yml")
        })
    }

    /// Whether the stage uses the row `ephemeral`.
    ///
    /// # Errors
    /// Fails if IAM policies for another row would apply to the stage.
    pub(crate) fn is_ephemeral(&self, stage: &StageName) -> Result<bool> {
        Ok(self.row_name(stage)? == EPHEMERAL)
    }

    /// Whether the stage table has a row with the name of the stage.
    pub(crate) fn has_row(&self, stage: &StageName) -> bool {
        self.stages.contains_key(stage.as_ref())
    }

    /// Returns the name of the row of a stage, in the same way as `infrastructure/lib/stage.ts`.
    pub(crate) fn row_name<'a>(&'a self, stage: &StageName) -> Result<&'a str> {
        let stage = stage.as_ref();
        if let Some((name, _)) = self.stages.get_key_value(stage) {
            return Ok(name);
        }
        let names = || self.stages.keys().map(String::as_str);
        if let Some(other) = names().find(|row| matches_policies_of(stage, row)) {
            bail!(
                "a stage cannot be named {stage}: IAM policies for stages {other} would apply to it; choose another name"
            );
        }
        let pattern = names().find(|row| {
            row.strip_suffix('*')
                .is_some_and(|prefix| stage.starts_with(prefix))
        });
        Ok(pattern.unwrap_or(EPHEMERAL))
    }

    /// Returns the AWS account ID in the row `name` of the account table.
    ///
    /// # Errors
    /// Fails if the account table has no row `name`, or the ID does not have 12 digits.
    pub(crate) fn account(&self, name: &str) -> Result<&str> {
        let row = self.accounts.get(name);
        let row =
            row.with_context(|| format!("cannot find the account {name} in serverless.yml"))?;
        if row.id.len() != 12 || !row.id.chars().all(|c| c.is_ascii_digit()) {
            bail!("the account {name} in serverless.yml needs an id of 12 digits");
        }
        Ok(&row.id)
    }

    /// Whether the account has roles for GitHub workflows.
    pub(crate) fn has_workflow_roles(&self, account: &str) -> bool {
        let row = self.accounts.get(account);
        row.is_some_and(|row| !row.github.is_empty())
    }

    /// Whether the account's row says that another application has created GitHub's OIDC provider in the account.
    pub(crate) fn has_foreign_oidc_provider(&self, account: &str) -> bool {
        let row = self.accounts.get(account);
        row.is_some_and(|row| row.oidc_provider == Some(OidcProvider::Existing))
    }

    /// Returns one row of the stage table for each account that the table names. Ignores the stage `local`.
    pub(crate) fn accounts(&self) -> Vec<&StageRow> {
        let mut rows: BTreeMap<&str, &StageRow> = BTreeMap::new();
        for (name, row) in &self.stages {
            if name != "local" {
                rows.entry(&row.account).or_insert(row);
            }
        }
        rows.into_values().collect()
    }
}

/// Whether an IAM pattern for the resources of the row `row` would match resources of `stage`. The caller has checked
/// that no row has the name `stage`. Patterns such as `scratchpad-dev-*` match stages whose names begin with `dev-`,
/// and `scratchpad-*-dev` matches stages whose names end with `-dev`.
fn matches_policies_of(stage: &str, row: &str) -> bool {
    match row.strip_suffix('*') {
        Some(prefix) => {
            prefix.strip_suffix('-') == Some(stage) || stage.contains(&format!("-{prefix}"))
        }
        None => stage.starts_with(&format!("{row}-")) || stage.ends_with(&format!("-{row}")),
    }
}

/// Replaces each reference `${env:NAME, 'default'}` in `text` with the value of the environment variable, or with the
/// default if `variable` returns `None`. A reference without a default then becomes an empty text.
fn resolve_variables(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    const BEGIN: &str = "${env:";
    let mut parts = text.split(BEGIN);
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((reference, rest)) => {
                let (name, default) = reference.split_once(',').unwrap_or((reference, ""));
                let default = || default.trim().trim_matches('\'').to_owned();
                resolved += &variable(name.trim()).unwrap_or_else(default);
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
    fn the_error_for_an_invalid_stage_name_suggests_a_valid_one() {
        for name in ["pr-1", "dev", "a", "feature-2-x"] {
            assert_eq!(name.parse::<StageName>().unwrap().as_ref(), name);
        }
        let longest = "a".repeat(StageName::MAX_LENGTH);
        for (name, similar) in [
            ("feature/Add_Tags", "feature-add-tags"),
            ("PR--1-", "pr-1"),
            (&format!("{longest}-branch"), &*longest),
        ] {
            let error = name.parse::<StageName>().unwrap_err();
            assert!(error.ends_with(&format!("; try {similar}")), "{error}");
            similar.parse::<StageName>().unwrap();
        }
        for name in ["", "-", "1", "ephemeral", "…"] {
            assert!(
                !name.parse::<StageName>().unwrap_err().contains("; try"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_stage_uses_its_own_row_or_the_row_whose_pattern_it_matches_or_the_row_ephemeral() {
        let tables = Tables::read(root(), |_| None).unwrap();
        let [dev, pr, feature] = ["dev", "pr-1", "feature-1"].map(|name| name.parse().unwrap());
        assert!(tables.has_row(&dev) && !tables.has_row(&pr) && !tables.has_row(&feature));
        let is_ephemeral = [&dev, &pr, &feature].map(|stage| tables.is_ephemeral(stage).unwrap());
        assert_eq!(is_ephemeral, [false, false, true]);
        let accounts = [&dev, &pr, &feature].map(|stage| {
            let row = tables.row(stage).unwrap();
            assert_eq!(row.architecture, Architecture::Arm64);
            tables.account(&row.account).unwrap()
        });
        assert_eq!(accounts, ["111111111111", "333333333333", "111111111111"]);
    }

    #[test]
    fn a_stage_to_which_iam_policies_for_another_row_would_apply_is_rejected() {
        let tables = Tables::read(root(), |_| None).unwrap();
        for name in [
            "dev-2", "my-dev", "prod-x", "local-2", "pr", "x-pr-1", "pr-1-dev",
        ] {
            let error = tables.row(&name.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains("would apply to it"), "{name}: {error}");
        }
        for name in ["development", "my-device", "spr-1", "pro"] {
            tables.row(&name.parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn an_environment_variable_overrides_the_default_in_the_stage_table() {
        let variable = |name: &str| (name == "SCRATCHPAD_ARCHITECTURE").then(|| "x86_64".into());
        let tables = Tables::read(root(), variable).unwrap();
        let row = tables.row(&"prod".parse().unwrap()).unwrap();
        assert_eq!(row.architecture, Architecture::X86);
        assert_eq!(row.build, Build::Release);
    }

    #[test]
    fn a_number_of_free_notes_that_is_not_a_whole_number_is_an_error() {
        let text = fs::read_to_string(root().join("serverless.yml")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (value, is_valid) in [("100", true), ("0", true), ("-1", false), ("many", false)] {
            let changed = text.replacen("freeNotes: 100", &format!("freeNotes: {value}"), 1);
            fs::write(folder.path().join("serverless.yml"), changed).unwrap();
            let read = Tables::read(folder.path(), |_| None);
            assert_eq!(read.is_ok(), is_valid, "{value}");
        }
    }

    #[test]
    fn only_complete_references_to_environment_variables_are_replaced() {
        assert_eq!(
            resolve_variables("a: ${self:b} ${env:", |_| None),
            "a: ${self:b} ${env:"
        );
        assert_eq!(resolve_variables("${env:A}-${env:B, 'b'}", |_| None), "-b");
    }
}
