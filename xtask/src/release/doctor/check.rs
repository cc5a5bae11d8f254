//! A check, and what it found.

use super::failure::Failure;

/// When a check has to be green.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before `cargo xtask bootstrap`.
    Bootstrap,
    /// Before the first `cargo xtask deploy`.
    Deploy,
    /// After the first deploy, because the check needs a resource that the deploy creates.
    AfterDeploy,
}

impl Phase {
    /// The phases, in the order in which they follow each other.
    pub(super) const ALL: [Self; 3] = [Self::Bootstrap, Self::Deploy, Self::AfterDeploy];

    /// The heading of the phase's checks.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Bootstrap => "Before cargo xtask bootstrap",
            Self::Deploy => "Before the first deploy",
            Self::AfterDeploy => "After the first deploy",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing has to be done.
    Green,
    /// The stage works, but with a limitation that may not be intended.
    Warning,
    /// Something is missing.
    Red,
    /// A query failed, so the result is not known.
    Unknown,
}

/// What to do about a red check or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remedy {
    /// The command to run, or the path through the console.
    pub(super) step: String,
    /// The address of the documentation.
    pub(super) docs: &'static str,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The result.
    pub(super) state: State,
    /// One line that says what was found.
    pub(super) found: String,
    /// What to do. Green and unknown checks have none.
    pub(super) remedy: Option<Remedy>,
}

impl Finding {
    pub(super) fn green(found: impl Into<String>) -> Self {
        Self {
            state: State::Green,
            found: found.into(),
            remedy: None,
        }
    }

    pub(super) fn warning(
        found: impl Into<String>,
        step: impl Into<String>,
        docs: &'static str,
    ) -> Self {
        Self {
            state: State::Warning,
            ..Self::red(found, step, docs)
        }
    }

    pub(super) fn red(
        found: impl Into<String>,
        step: impl Into<String>,
        docs: &'static str,
    ) -> Self {
        Self {
            state: State::Red,
            found: found.into(),
            remedy: Some(Remedy {
                step: step.into(),
                docs,
            }),
        }
    }

    pub(super) fn unknown(cause: impl Into<String>) -> Self {
        Self {
            state: State::Unknown,
            found: cause.into(),
            remedy: None,
        }
    }
}

/// A check of a stage or of its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// When the check has to be green.
    pub(super) phase: Phase,
    /// What is checked.
    pub(super) name: String,
    /// What was found.
    pub(super) finding: Finding,
}

impl Check {
    /// Creates a check. A failed query makes it unknown.
    pub(super) fn new(
        phase: Phase,
        name: impl Into<String>,
        finding: Result<Finding, Failure>,
    ) -> Self {
        Self {
            phase,
            name: name.into(),
            finding: finding.unwrap_or_else(|failure| Finding::unknown(failure.to_string())),
        }
    }
}
