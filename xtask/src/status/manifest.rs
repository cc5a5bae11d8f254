//! What the manifests of the services say about functions: the groups of their routes, and which read a stream.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, de::IgnoredAny};
use std::collections::BTreeMap;

use crate::{release, workspace::Workspace};

/// A function of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The group of the function's routes. `None` if it has no route.
    pub(crate) group: Option<String>,
    pub(crate) reads_stream: bool,
}

#[derive(Deserialize)]
struct Manifest {
    functions: BTreeMap<String, Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    environment: Environment,
}

#[derive(Deserialize)]
struct Event {
    http: Option<IgnoredAny>,
    stream: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Environment {
    #[serde(rename = "ROUTE_GROUP")]
    route_group: Option<String>,
}

/// Reads the functions of all services, as infrastructure/lib/manifests.ts does.
///
/// # Errors
/// Fails if a manifest cannot be read or parsed.
pub(crate) fn functions(workspace: &Workspace) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for service in release::services(workspace.root())? {
        let path = workspace
            .root()
            .join("services")
            .join(&service)
            .join("serverless.yml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = serde_saphyr::from_str(&text)
            .with_context(|| format!("cannot parse {}", path.display()))?;
        functions.extend(manifest.functions.into_iter().map(|(name, settings)| {
            let has_route = settings.events.iter().any(|event| event.http.is_some());
            // serverless.yml sets ROUTE_GROUP to the prefix of the service, and some functions set another group.
            let group = settings.environment.route_group;
            let group = group.unwrap_or_else(|| prefix(&service).to_owned());
            Function {
                group: has_route.then_some(group),
                reads_stream: settings.events.iter().any(|event| event.stream.is_some()),
                name,
            }
        }));
    }
    Ok(functions)
}

/// Returns the prefix of the functions of a service: the name of its folder without the last word.
fn prefix(service: &str) -> &str {
    service
        .rsplit_once('-')
        .map_or(service, |(prefix, _)| prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_with_a_route_has_a_group() {
        let functions = functions(&Workspace::read().unwrap()).unwrap();
        let group = |name: &str| {
            let function = functions.iter().find(|function| function.name == name);
            function.unwrap().group.clone()
        };
        assert_eq!(group("notes-get").as_deref(), Some("notes"));
        assert_eq!(group("notes-attachment-uploaded"), None);
        assert_eq!(prefix("book-reviews-api"), "book-reviews");
        // part: billing {
        assert_eq!(group("billing-list").as_deref(), Some("billing"));
        assert_eq!(group("billing-webhook").as_deref(), Some("payments"));
        let readers = functions.iter().filter(|function| function.reads_stream);
        let readers: Vec<_> = readers.map(|function| function.name.as_str()).collect();
        assert_eq!(readers, ["billing-purchase-paid"]);
        // part: billing }
    }
}
