//! The functions that the services' manifests list, with their binaries and sample events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::workspace::root;

/// The environment variable that contains the path of the folder with the functions' binaries.
const BINARIES_VARIABLE: &str = "SCRATCHPAD_FUNCTIONS";

/// The folder of the functions from which `cargo xtask new` generates others. Its layout is that of the root folder.
pub(crate) const TEMPLATE: &str = "xtask/scaffold/template";

/// A Lambda function, as its serverless.yml describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// The name of the function's crate and binary.
    pub name: String,
    /// Whether API Gateway invokes the function with HTTP requests. If false, another AWS service invokes it with
    /// events.
    pub is_route: bool,
    /// Whether API Gateway rejects requests to the function that have no AWS Signature Version 4.
    pub is_signed: bool,
    /// The time after which Lambda ends an invocation of the function.
    pub timeout: Duration,
    /// The names of the environment variables that the function's stack sets and the function reads.
    pub variables: Vec<String>,
    /// Whether the function uses services: its stack then sets variables for it alone.
    pub uses_services: bool,
    /// The folder that contains the folders with the function's event and golden file: the root folder or [`TEMPLATE`].
    folder: PathBuf,
}

/// The part of a service's serverless.yml that these helpers read.
#[derive(Deserialize)]
struct Manifest {
    functions: BTreeMap<String, FunctionEntry>,
}

#[derive(Deserialize)]
struct FunctionEntry {
    events: Vec<BTreeMap<String, Value>>,
    /// The timeout of an invocation in seconds. `None` if the function has the timeout in the root folder's
    /// serverless.yml.
    timeout: Option<u64>,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
}

/// The part of the root folder's serverless.yml that these helpers read: the settings that all functions share.
#[derive(Deserialize)]
struct RootManifest {
    provider: Provider,
}

#[derive(Deserialize)]
struct Provider {
    timeout: u64,
    environment: BTreeMap<String, Value>,
}

/// Returns all functions that are deployed: those in the serverless.yml files of all services.
pub fn all() -> Vec<Function> {
    below(root())
}

/// Returns all functions that can run on this machine: the deployed ones, and those from which `cargo xtask new` generates
/// others.
pub fn with_template() -> Vec<Function> {
    let mut functions = all();
    functions.extend(below(&root().join(TEMPLATE)));
    functions
}

/// Returns the function whose crate has the name `name`, also if it is not deployed.
pub fn named(name: &str) -> Function {
    let mut functions = with_template().into_iter();
    let function = functions.find(|function| function.name == name);
    function.unwrap_or_else(|| panic!("no manifest lists the function {name}"))
}

/// Returns all functions in the serverless.yml files of the services below `folder`.
fn below(folder: &Path) -> Vec<Function> {
    let root_manifest: RootManifest = read(&root().join("serverless.yml"));
    let services = std::fs::read_dir(folder.join("services")).unwrap();
    let manifests = services.map(|service| service.unwrap().path().join("serverless.yml"));
    let mut functions = Vec::new();
    for manifest in manifests.filter(|manifest| manifest.exists()) {
        let Manifest { functions: entries } = read(&manifest);
        functions.extend(entries.into_iter().map(|(name, entry)| {
            let mut routes = entry.events.iter().filter_map(|event| event.get("http"));
            let route = routes.next();
            let is_route = route.is_some();
            let timeout = entry.timeout.unwrap_or(root_manifest.provider.timeout);
            let shared = root_manifest.provider.environment.keys().cloned();
            // All functions have this variable, but only those that respond to browsers read it.
            let shared = shared.filter(|name| is_route || name != "ALLOWED_ORIGIN");
            Function {
                name,
                is_route,
                timeout: Duration::from_secs(timeout),
                is_signed: route.is_some_and(|route| route.get("authorizer").is_some()),
                uses_services: entry.environment.keys().any(|name| name != "ROUTE_GROUP"),
                variables: shared.chain(entry.environment.into_keys()).collect(),
                folder: folder.to_owned(),
            }
        }));
    }
    assert!(!functions.is_empty(), "the manifests list no functions");
    functions
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap();
    serde_saphyr::from_str(&text)
        .unwrap_or_else(|error| panic!("cannot parse {}: {error}", file.display()))
}

impl Function {
    /// Returns the path of the function's binary, which is built for this machine.
    pub fn binary(&self) -> PathBuf {
        let folder = std::env::var(BINARIES_VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{BINARIES_VARIABLE} is not set to the folder of the functions' binaries: \
                 run these tests with cargo xtask test --integration"
            )
        });
        root().join(folder).join(&self.name)
    }

    /// Reads the function's sample event from the folder `events/`.
    pub fn event(&self) -> Value {
        let file = self.folder.join(format!("events/{}.json", self.name));
        let text = std::fs::read_to_string(&file);
        let text = text.unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The path of the function's golden file in the folder `tests/golden/`.
    pub fn golden(&self) -> PathBuf {
        self.folder.join(format!("tests/golden/{}.json", self.name))
    }
}
