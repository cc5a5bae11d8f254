//! What the manifests say of the functions, and where their binaries are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::root;

/// The folder with the functions' binaries.
const FUNCTIONS: &str = "SCRATCHPAD_FUNCTIONS";

/// One function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name of its crate and of its binary.
    pub name: String,
    /// Whether it answers requests; the others take events.
    pub is_route: bool,
    /// Whether API Gateway lets only those through who sign their requests.
    pub is_signed: bool,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// The settings that its stack sets.
    pub variables: Vec<String>,
}

/// The part of a serverless.yml that says which functions there are.
#[derive(Deserialize)]
struct Manifest {
    functions: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    events: Vec<BTreeMap<String, Value>>,
    /// In seconds, if it is not that of all functions.
    timeout: Option<u64>,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
}

/// The part of the root's serverless.yml that says what all functions have.
#[derive(Deserialize)]
struct Shared {
    provider: Provider,
}

#[derive(Deserialize)]
struct Provider {
    timeout: u64,
    environment: BTreeMap<String, Value>,
}

/// All functions of all services, as their manifests list them.
pub fn all() -> Vec<Function> {
    let shared: Shared = read(&root().join("serverless.yml"));
    let services = std::fs::read_dir(root().join("services")).unwrap();
    let manifests = services.map(|service| service.unwrap().path().join("serverless.yml"));
    let mut functions = Vec::new();
    for manifest in manifests.filter(|manifest| manifest.exists()) {
        let Manifest { functions: entries } = read(&manifest);
        functions.extend(entries.into_iter().map(|(name, entry)| {
            let mut routes = entry.events.iter().filter_map(|event| event.get("http"));
            let route = routes.next();
            let is_route = route.is_some();
            let timeout = entry.timeout.unwrap_or(shared.provider.timeout);
            let shared = shared.provider.environment.keys().cloned();
            // Set for all, and read by those that answer browsers.
            let shared = shared.filter(|setting| is_route || setting != "ALLOWED_ORIGIN");
            Function {
                name,
                is_route,
                timeout: Duration::from_secs(timeout),
                is_signed: route.is_some_and(|route| route.get("authorizer").is_some()),
                variables: shared.chain(entry.environment.into_keys()).collect(),
            }
        }));
    }
    assert!(!functions.is_empty(), "no manifest lists a function");
    functions
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

impl Function {
    /// Its binary, built for this machine.
    pub fn binary(&self) -> PathBuf {
        let folder = std::env::var(FUNCTIONS).unwrap_or_else(|_| {
            panic!(
                "{FUNCTIONS} names no folder with the functions' binaries: \
                 run these by cargo xtask test --integration"
            )
        });
        root().join(folder).join(&self.name)
    }

    /// Its sample event.
    pub fn event(&self) -> Value {
        let file = root().join(format!("events/{}.json", self.name));
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_json::from_str(&text).unwrap()
    }
}
