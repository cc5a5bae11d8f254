//! What was generated in each service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::field::Field;
use super::name::Name;
use crate::Tree;

/// The things that were generated in a service. The file `blueprint.json` in the folder of the service contains them, so that they
/// can be changed and undone later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Blueprint {
    /// Whether the service itself was generated.
    pub(super) service: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) resources: BTreeMap<Name, Resource>,
    /// The routes by the name of their function, without the prefix of the service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) routes: BTreeMap<Name, Route>,
    /// The jobs, with the pause between two runs, such as `5m`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) jobs: BTreeMap<Name, Pause>,
    /// The subscribers, with the name of their topic.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) subscribers: BTreeMap<Name, Name>,
    /// The dependencies that were added to the library of an existing service: lines of its Cargo.toml by the line of their
    /// section.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) dependencies: BTreeMap<String, BTreeSet<String>>,
    /// Whether the group of an existing service got an objective, because it had no routes before.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) objective: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // Serde passes a reference.
fn is_false(value: &bool) -> bool {
    !value
}

/// A resource: a table with five routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    /// The name of one item.
    pub(super) one: Name,
    pub(super) fields: Vec<Field>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// The HTTP method in upper case.
    pub(super) method: String,
    /// The path without the slash at the beginning.
    pub(super) path: String,
}

/// The pause between two runs of a job, such as `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Pause {
    number: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    letter: char,
    name: &'static str,
    minutes: u32,
}

const UNITS: [Unit; 3] = [
    unit('m', "minute", 1),
    unit('h', "hour", 60),
    unit('d', "day", 1440),
];

const fn unit(letter: char, name: &'static str, minutes: u32) -> Unit {
    Unit {
        letter,
        name,
        minutes,
    }
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = UNITS.into_iter().find_map(|unit| {
            let number = text.strip_suffix(unit.letter)?.parse().ok()?;
            (1..=999).contains(&number).then_some(Self { number, unit })
        });
        parsed.ok_or_else(|| {
            format!(
                "the pause `{text}` must be 1 to 999 minutes, hours or days, for example `5m`, `1h` or `1d`; EventBridge has \
                 no shorter pauses than a minute"
            )
        })
    }
}

impl TryFrom<String> for Pause {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Pause> for String {
    fn from(Pause { number, unit }: Pause) -> Self {
        format!("{number}{}", unit.letter)
    }
}

/// In words, such as `5 minutes`.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, unit } = self;
        let end = if *number == 1 { "" } else { "s" };
        write!(f, "{number} {}{end}", unit.name)
    }
}

impl Pause {
    /// The rate expression of EventBridge.
    pub(super) fn expression(&self) -> String {
        format!("rate({self})")
    }

    fn minutes(&self) -> u32 {
        self.number * self.unit.minutes
    }

    /// The timeout of the function in seconds, so that two runs do not overlap.
    pub(super) fn timeout(&self) -> u32 {
        240.min(self.minutes() * 48)
    }

    /// The number of runs in 30 days.
    pub(super) fn runs_per_month(&self) -> u32 {
        (30 * 1440 / self.minutes()).max(1)
    }
}

impl Blueprint {
    /// Whether nothing is left that was generated.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn path(folder: &str) -> String {
        format!("services/{folder}/blueprint.json")
    }

    /// Reads the blueprint of the service in `services/FOLDER`. Empty if nothing was generated there.
    ///
    /// # Errors
    /// Fails if the file is malformed.
    pub(super) fn read(tree: &Tree, folder: &str) -> Result<Self> {
        let path = Self::path(folder);
        let Some(text) = tree.text(&path)? else {
            return Ok(Self::default());
        };
        let parsed = serde_json::from_str(&text);
        parsed
            .with_context(|| format!("cannot read {path}; restore the version of the last commit"))
    }

    /// Writes the blueprint, or deletes the file if the blueprint is empty.
    pub(super) fn write(&self, tree: &mut Tree, folder: &str) -> Result<()> {
        match self.is_empty() {
            true => tree.delete(Self::path(folder)),
            false => tree.write(
                Self::path(folder),
                serde_json::to_string_pretty(self)? + "\n",
            ),
        }
        Ok(())
    }
}
