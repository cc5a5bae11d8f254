//! What was generated in each service.

use std::collections::BTreeMap;

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
    pub(super) jobs: BTreeMap<Name, String>,
    /// The subscribers, with the name of their topic.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) subscribers: BTreeMap<Name, Name>,
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
