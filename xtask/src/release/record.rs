//! The record of a release: the JSON object that the account's bucket stores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    sources::Sources,
    table::{Architecture, Infrastructure, StageName},
};

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The command is still running, or it was killed.
    #[serde(rename = "underWay")]
    InProgress,
    /// All stacks were updated.
    Done,
    /// A stack failed, and the stage was rolled back.
    Failed,
}

/// What was deployed to a stage, by whom, and from which sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Release {
    /// The stage.
    pub(crate) stage: StageName,
    /// The number of the release, from 1 for each stage.
    pub(crate) number: u32,
    /// When the release began, in milliseconds since the Unix epoch.
    #[serde(rename = "at")]
    pub(crate) started_at: u64,
    /// The user who ran the command.
    #[serde(rename = "who")]
    pub(crate) actor: String,
    /// The hash of the commit that the release was built from. `None` without a Git repository.
    pub(crate) commit: Option<String>,
    /// The branch that the release was built from. `None` without a Git repository.
    pub(crate) branch: Option<String>,
    /// Whether the working tree had uncommitted changes.
    pub(crate) dirty: bool,
    /// The release that a promotion or a rollback copied.
    #[serde(rename = "from")]
    pub(crate) copied_from: Option<(StageName, u32)>,
    /// How the release ended.
    pub(crate) outcome: Outcome,
    /// The changes, a line for each.
    pub(crate) changes: Vec<String>,
    /// The architecture of the functions.
    pub(crate) architecture: Architecture,
    /// Whether the stage uses its own tables, bucket and users, or those of the stage dev.
    pub(crate) infrastructure: Infrastructure,
    /// The functions, by name.
    pub(crate) functions: BTreeMap<String, Function>,
    /// The browser app. `None` in older records.
    pub(crate) app: Option<App>,
    /// The hashes of the templates, by stack.
    pub(crate) stacks: BTreeMap<String, String>,
    /// The stage that the release can be promoted to, and the hashes of the templates for that stage, by stack.
    #[serde(rename = "promotes")]
    pub(crate) promotion: Option<(StageName, BTreeMap<String, String>)>,
}

/// A function of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    /// The hash of the function's zip. Older records spell the field `artefact`.
    #[serde(alias = "artefact")]
    pub(crate) artifact: String,
    /// The inputs that the function was built from.
    pub(crate) sources: Sources,
}

/// The browser app of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct App {
    /// The hash of the sources.
    pub(crate) sources: String,
    /// The hash of each file, by path.
    pub(crate) files: BTreeMap<String, String>,
}

impl Release {
    /// Whether the browser app of the release was built from the sources with the hash `sources`.
    pub(crate) fn has_app(&self, sources: &str) -> bool {
        self.app.as_ref().is_some_and(|app| app.sources == sources)
    }

    /// Returns a text that says how many functions have other code than in an earlier release: "3 of 14 functions
    /// changed".
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

/// Returns the release that a stage runs, which is its newest successful one. `releases` is sorted, newest first.
pub(crate) fn current(releases: &[Release]) -> Option<&Release> {
    releases
        .iter()
        .find(|release| release.outcome == Outcome::Done)
}
