//! What a project already has, as far as new names can collide with it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::blueprint::Blueprint;
use super::name::Name;
use super::template::Service;
use crate::Tree;

/// The services, crates, routes, tables and topics of a project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) services: Vec<Service>,
    /// The names of all packages that Cargo builds.
    packages: BTreeSet<String>,
    /// The names of all functions.
    functions: BTreeSet<String>,
    /// The folder of the service that has the routes under the first segment of a path.
    segments: BTreeMap<String, String>,
    /// The methods and paths of all routes.
    routes: BTreeSet<(String, String)>,
    /// The number of routes of each group that has an objective.
    groups: BTreeMap<String, usize>,
    pub(super) topics: BTreeSet<String>,
    tables: BTreeSet<String>,
    /// The names of the stacks in `infrastructure/lib`.
    stacks: BTreeSet<String>,
    /// The maximum length of a function's name in characters.
    longest_function: usize,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    functions: BTreeMap<String, Function>,
}

#[derive(Deserialize)]
struct Function {
    #[serde(default)]
    events: Vec<BTreeMap<String, Value>>,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
}

/// The maximum number of routes in a group: the alarm on its availability reads a metric of each and two others, and CloudWatch
/// allows 10.
const LARGEST_GROUP: usize = 8;

impl Project {
    /// Reads the project.
    ///
    /// # Errors
    /// Fails if a manifest cannot be read.
    pub(super) fn read(tree: &Tree) -> Result<Self> {
        let files = tree.files()?;
        let lock = tree.text("Cargo.lock")?.unwrap_or_default();
        let packages = quoted(&lock, "name = \"");
        let mut project = Self {
            services: Vec::new(),
            packages,
            functions: BTreeSet::new(),
            segments: BTreeMap::new(),
            routes: BTreeSet::new(),
            groups: BTreeMap::new(),
            topics: BTreeSet::new(),
            tables: BTreeSet::new(),
            stacks: BTreeSet::new(),
            longest_function: longest_function(tree)?,
        };
        for path in &files {
            if let Some(folder) = path
                .strip_prefix("services/")
                .and_then(|path| path.strip_suffix("/serverless.yml"))
            {
                project.add_service(tree, path, folder)?;
            }
            if let Some(stack) = path
                .strip_prefix("infrastructure/lib/")
                .and_then(|path| path.strip_suffix("-stack.ts"))
            {
                project.stacks.insert(stack.into());
                let text = tree.text(path)?.unwrap_or_default();
                // The other topics, such as that of the alarms, are not for services.
                if path.ends_with("/topics-stack.ts") {
                    project.topics.extend(quoted(&text, "new Topic(this, \""));
                }
                project.tables.extend(tables(&text));
            }
        }
        Ok(project)
    }

    fn add_service(&mut self, tree: &Tree, path: &str, folder: &str) -> Result<()> {
        let text = tree.text(path)?.unwrap_or_default();
        let manifest: Manifest =
            serde_saphyr::from_str(&text).with_context(|| format!("cannot parse {path}"))?;
        let (service, _) = folder.rsplit_once('-').unwrap_or((folder, ""));
        if let Ok(name) = service.parse() {
            self.services.push(Service {
                folder: folder.into(),
                name,
            });
        }
        for (name, function) in manifest.functions {
            self.functions.insert(name);
            let group = function.environment.get("ROUTE_GROUP");
            let group = group.and_then(Value::as_str).unwrap_or(service);
            for route in function.events.iter().filter_map(|event| event.get("http")) {
                let part = |name: &str| route[name].as_str().unwrap_or_default().to_owned();
                let (method, path) = (part("method").to_uppercase(), part("path"));
                let segment = path.split('/').next().unwrap_or_default().to_owned();
                self.segments.insert(segment, folder.into());
                *self.groups.entry(group.into()).or_default() += 1;
                self.routes.insert((method, path));
            }
        }
        Ok(())
    }

    /// Returns the service with this name or in this folder.
    ///
    /// # Errors
    /// Fails if there is none. The error lists the services.
    pub(super) fn service(&self, name: &str) -> Result<&Service> {
        let mut services = self.services.iter();
        let found = services.find(|service| service.folder == name || service.name.kebab() == name);
        found.with_context(|| {
            let names: Vec<_> = self.services.iter().map(|service| service.name.kebab()).collect();
            format!(
                "there is no service `{name}`; the services are {}; run `cargo xtask new service {name}` to create it",
                names.join(", ")
            )
        })
    }

    /// Returns the service whose blueprint has the resource with this name.
    pub(super) fn service_of(&self, tree: &Tree, resource: &Name) -> Result<&Service> {
        for service in &self.services {
            if Blueprint::read(tree, &service.folder)?
                .resources
                .contains_key(resource)
            {
                return Ok(service);
            }
        }
        bail!("`cargo xtask new resource` has generated no resource `{resource}`");
    }

    /// Checks the name of a new service.
    ///
    /// # Errors
    /// Fails if a service, a crate, a stack or a route has the name.
    pub(super) fn check_service(&self, name: &Name) -> Result<()> {
        if self.services.iter().any(|service| service.name == *name) {
            bail!("there is a service `{name}` already; choose another name");
        }
        if self.packages.contains(name.kebab()) || self.packages.contains(&name.snake()) {
            bail!(
                "the service `{name}` would have a crate with the name of an existing one; choose another name, for \
                 example `{name}-desk`"
            );
        }
        if self.stacks.contains(name.kebab()) {
            bail!(
                "the service `{name}` would have a stack with the name of an existing one; choose another name, for example \
                 `{name}-desk`"
            );
        }
        if let Some(folder) = self.segments.get(name.kebab()) {
            bail!("the service {folder} has the route /{name} already; choose another name");
        }
        self.check_new_group(name)?;
        self.check_length(name.kebab())
    }

    /// Checks a new table.
    ///
    /// # Errors
    /// Fails if there is a table with this name.
    pub(super) fn check_table(&self, name: &Name) -> Result<()> {
        if self.tables.contains(&name.pascal()) {
            bail!(
                "there is a table {} already; choose another name",
                name.pascal()
            );
        }
        Ok(())
    }

    /// Checks a new function. `name` has the prefix of the service.
    ///
    /// # Errors
    /// Fails if a function or a crate has the name, or if the name is too long.
    pub(super) fn check_function(&self, name: &str) -> Result<()> {
        if self.functions.contains(name) || self.packages.contains(name) {
            bail!("there is a function or a crate `{name}` already; choose another name");
        }
        self.check_length(name)
    }

    fn check_length(&self, name: &str) -> Result<()> {
        let limit = self.longest_function;
        if name.len() > limit {
            bail!(
                "the name `{name}` has {} characters; the limit is {limit}, because Lambda and IAM limit the names of \
                 functions and roles to 64 characters, which also contain the prefix of the product and the name of the \
                 stage; choose a shorter name",
                name.len()
            );
        }
        Ok(())
    }

    /// Whether routes belong to the group with this name.
    pub(super) fn has_group(&self, name: &Name) -> bool {
        self.groups.contains_key(name.kebab())
    }

    /// Checks a group that other routes must not belong to.
    ///
    /// # Errors
    /// Fails if there is a group with this name.
    pub(super) fn check_new_group(&self, name: &Name) -> Result<()> {
        if self.has_group(name) {
            bail!("there is a route group `{name}` already; choose another name");
        }
        Ok(())
    }

    /// Checks the group of `count` new routes.
    ///
    /// # Errors
    /// Fails if the group would have too many routes.
    pub(super) fn check_group(&self, group: &Name, count: usize) -> Result<()> {
        let existing = self.groups.get(group.kebab()).copied().unwrap_or_default();
        if existing + count > LARGEST_GROUP {
            bail!(
                "the route group `{group}` would have {} routes; the limit is {LARGEST_GROUP}, because an alarm \
                 reads at most 10 metrics; generate this in another service",
                existing + count
            );
        }
        Ok(())
    }

    /// Checks a new route of a service.
    ///
    /// # Errors
    /// Fails if the route exists, or if another service has routes that begin with the same segment: only one stack can
    /// create the segment.
    pub(super) fn check_route(&self, service: &Service, method: &str, path: &str) -> Result<()> {
        let segment = path.split('/').next().unwrap_or_default();
        match self.segments.get(segment) {
            Some(folder) if *folder != service.folder => bail!(
                "the service {folder} has the routes under /{segment}, and only its stack can have them; choose another \
                 path, or `--service {folder}`"
            ),
            _ => {}
        }
        let shape = |path: &str| {
            let parts = path.split('/');
            let parts = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
            parts.collect::<Vec<_>>().join("/")
        };
        let mut routes = self.routes.iter();
        match routes.find(|(other, existing)| other == method && shape(existing) == shape(path)) {
            Some((_, existing)) => bail!("there is a route {method} /{existing} already"),
            None => Ok(()),
        }
    }
}

/// Returns the texts that follow `start` in a text, up to the next quote.
fn quoted(text: &str, start: &str) -> BTreeSet<String> {
    let parts = text.split(start).skip(1);
    parts
        .filter_map(|part| part.split('"').next())
        .map(Into::into)
        .collect()
}

/// Returns the names of the tables in a stack: the keys of an object whose values have a partition key.
fn tables(text: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = text.lines().collect();
    let with_key = lines.windows(2).filter_map(|pair| {
        let [line, next] = pair else {
            return None;
        };
        let (name, rest) = line.trim().split_once(": {")?;
        let is_table = rest.contains("partitionKey") || next.contains("partitionKey");
        is_table.then(|| name.to_owned())
    });
    with_key.collect()
}

/// Returns how long the name of a function may be.
fn longest_function(tree: &Tree) -> Result<usize> {
    let text = |path: &str| Ok::<_, anyhow::Error>(tree.text(path)?.unwrap_or_default());
    let manifest = text("serverless.yml")?;
    let prefix = manifest
        .split("stackName: ")
        .nth(1)
        .and_then(|rest| rest.split("-$").next());
    let prefix = prefix.context("serverless.yml has no stackName")?;
    let table = text("xtask/src/release/table.rs")?;
    let stage = table
        .split("MAX_LENGTH: usize = ")
        .nth(1)
        .and_then(|rest| rest.split(';').next());
    let stage: usize = stage.and_then(|length| length.parse().ok()).unwrap_or(27);
    // PREFIX-STAGE-FUNCTION, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    Ok(64_usize.saturating_sub(prefix.len() + stage + 2))
}
