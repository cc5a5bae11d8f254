//! The record of a release, which is stored as a JSON object in the account's bucket of releases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    sources::Sources,
    table::{Architecture, Infrastructure, StageName},
};

/// The result of the deploy, promotion or rollback that created a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The command that updates the stage is still running, or it ended before the stage was updated: it was
    /// interrupted, or a request to AWS failed. The next run of the command continues its work.
    #[serde(rename = "underWay")]
    InProgress,
    /// The whole stage was updated.
    Done,
    /// CloudFormation reported that a stack failed.
    Failed,
}

/// A release: what a command deployed to a stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Release {
    /// The stage that the release was deployed to.
    pub(crate) stage: StageName,
    /// The number of the release. Each stage numbers its releases from 1.
    pub(crate) number: u32,
    /// The time when the release was created, in milliseconds since the Unix epoch.
    #[serde(rename = "at")]
    pub(crate) started_at: u64,
    /// The user who ran the command that created the release.
    #[serde(rename = "who")]
    pub(crate) actor: String,
    /// The hash of the commit that the release was built from. `None` without a Git repository.
    pub(crate) commit: Option<String>,
    /// The branch that the release was built from. `None` without a Git repository.
    pub(crate) branch: Option<String>,
    /// Whether the Git working tree had uncommitted changes when the release was built.
    pub(crate) dirty: bool,
    /// The stage and the number of the release that a promotion or a rollback copied. `None` for a deploy of sources.
    #[serde(rename = "from")]
    pub(crate) copied_from: Option<(StageName, u32)>,
    /// The result of the command that created the release.
    pub(crate) outcome: Outcome,
    /// The changes that the release makes to the stage, one line of text for each.
    pub(crate) changes: Vec<String>,
    /// The processor architecture that the functions are compiled for.
    pub(crate) architecture: Architecture,
    /// Whether the stage uses its own tables, bucket and users, or the tables, bucket and users of the stage dev.
    pub(crate) infrastructure: Infrastructure,
    /// The functions of the release. The keys are the functions' names.
    pub(crate) functions: BTreeMap<String, Function>,
    // part: web {
    /// The browser app of the release. `None` in records that older versions of xtask wrote.
    pub(crate) app: Option<App>,
    // part: web }
    /// The hash of the template of each stack. The keys are the stacks' names.
    pub(crate) stacks: BTreeMap<String, String>,
    /// The stage that the release can be promoted to, and the hash of each template for that stage. The keys are the
    /// stacks' names. `None` without such a stage.
    #[serde(rename = "promotes")]
    pub(crate) promotion: Option<(StageName, BTreeMap<String, String>)>,
}

/// The stored record of a release.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The release that the record describes.
    pub(crate) release: Release,
    /// The SHA-256 hash of the stored bytes of the record. Because the record contains the hashes of all templates,
    /// function zips and other files, the digest identifies the whole content of the release.
    pub(crate) digest: String,
}

/// A function of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// The hash of the function's zip. The field is named `artefact` in older records.
    #[serde(alias = "artefact")]
    pub(crate) artifact: String,
    /// The inputs that the function was built from.
    pub(crate) sources: Sources,
}

// part: web {
/// The browser app of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct App {
    /// The hash of the source files that the app was built from.
    pub(crate) sources: String,
    /// The hash of each file of the built app. The keys are the files' paths.
    pub(crate) files: BTreeMap<String, String>,
}
// part: web }

impl Release {
    /// Returns a successful release without functions, app and templates, for tests.
    #[cfg(test)]
    pub(crate) fn example(stage: &str, number: u32) -> Self {
        Self {
            stage: stage.parse().unwrap(),
            number,
            started_at: 0,
            actor: "tester".into(),
            commit: None,
            branch: None,
            dirty: false,
            copied_from: None,
            outcome: Outcome::Done,
            changes: Vec::new(),
            architecture: Architecture::Arm64,
            infrastructure: Infrastructure::Own,
            functions: BTreeMap::new(),
            app: None, // part: web
            stacks: BTreeMap::new(),
            promotion: None,
        }
    }

    // part: web {
    /// Whether the release has a browser app that was built from the sources with the hash `sources`.
    pub(crate) fn has_app(&self, sources: &str) -> bool {
        self.app.as_ref().is_some_and(|app| app.sources == sources)
    }
    // part: web }

    /// Returns the text "3 of 14 functions changed", with the number of functions whose zip differs from the zip in the
    /// release `earlier`.
    pub(crate) fn changed_functions(&self, earlier: Option<&Self>) -> String {
        let artifact = |function: &String| {
            let function = earlier?.functions.get(function)?;
            Some(&function.artifact)
        };
        let changed = self
            .functions
            .iter()
            .filter(|(name, function)| artifact(name) != Some(&function.artifact))
            .count();
        format!("{changed} of {} functions changed", self.functions.len())
    }
}

/// Returns the newest successful release in `releases`, which is the release that the stage runs. `releases` must be
/// sorted with the newest first.
pub(crate) fn current(releases: &[Release]) -> Option<&Release> {
    releases
        .iter()
        .find(|release| release.outcome == Outcome::Done)
}
