//! Generates services, resources, routes, jobs and subscribers, and undoes what was generated.
//!
//! The blueprint of a service records what was generated in it. A command changes the blueprint, renders the templates for the
//! old and for the new blueprint, and changes the files from one to the other. Generating, changing and undoing are the same
//! operation. The lines that people have changed meanwhile are merged, or they block the command.

mod block;
mod blueprint;
mod field;
mod json;
mod merge;
mod name;
mod project;
mod regions;
mod reserved;
mod template;
mod words;

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use blueprint::{Blueprint, Resource, Route};
use field::Field;
use name::Name;
use project::Project;
use reserved::reserved_by;
use template::{Service, Templates};

use crate::Tree;

/// What to generate or to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A service without functions.
    Service {
        /// The name of the service.
        name: String,
    },
    /// A table with five routes.
    Resource {
        /// The name, in the singular or in the plural.
        name: String,
        /// The fields, such as `title:string:required:max=200`.
        fields: Vec<String>,
        /// The service that gets the resource.
        service: String,
    },
    /// A function for a route.
    Route {
        /// The HTTP method.
        method: String,
        /// The path, such as `/books/{id}/cover`.
        path: String,
        /// The service that gets the route.
        service: String,
    },
    /// A function that runs regularly.
    Job {
        /// The name of the job.
        name: String,
        /// The pause between two runs, such as `5m`. None to undo.
        every: Option<String>,
        /// The service that gets the job. None for a service of its own.
        service: Option<String>,
    },
    /// A function that handles the messages of a topic.
    Subscriber {
        /// The name of the subscriber.
        name: String,
        /// The name of the topic, such as `purchases`. None to undo.
        topic: Option<String>,
        /// The service that gets the subscriber. None for a service of its own.
        service: Option<String>,
    },
    /// A field of a resource that was generated.
    Field {
        /// The field, such as `title:string:max=200`. Only the name to undo.
        field: String,
        /// The resource.
        resource: String,
    },
}

/// Whether to generate or to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Generate.
    Do,
    /// Undo.
    Undo,
}

/// Adds the changes for a request to a tree. Adds none if the request is already fulfilled. `format` formats the content of a
/// file, given its path.
///
/// # Errors
/// Fails if the request is invalid, or if changes by hand block it. The tree then must not be applied.
pub fn change(
    tree: &mut Tree,
    request: &Request,
    direction: Direction,
    format: &dyn Fn(&str, String) -> Result<String>,
) -> Result<()> {
    let project = Project::read(tree)?;
    let change = match direction {
        Direction::Do => Some(create(tree, &project, request)?),
        Direction::Undo => undo(tree, &project, request)?,
    };
    let Some((service, old, new)) = change.filter(|(_, old, new)| old != new) else {
        return Ok(());
    };
    let templates = Templates::read(tree)?;
    let new = with_objective(&project, &service, new);
    let new = with_dependencies(tree, &templates, &service, new)?;
    let before = templates.render(&service, &old)?;
    let after = templates.render(&service, &new)?;
    merge::change(tree, &before, &after, format)?;
    new.write(tree, &service.folder)
}

/// Returns a blueprint of an existing service with an objective for its first routes.
fn with_objective(project: &Project, service: &Service, mut new: Blueprint) -> Blueprint {
    let is_first = new.objective || !project.has_group(&service.name);
    new.objective = !new.service && !new.routes.is_empty() && is_first;
    new
}

/// Returns a blueprint of an existing service with the dependencies that its library lacks.
fn with_dependencies(
    tree: &Tree,
    templates: &Templates,
    service: &Service,
    mut new: Blueprint,
) -> Result<Blueprint> {
    let own = std::mem::take(&mut new.dependencies);
    if new.service || new.is_empty() {
        return Ok(new);
    }
    let path = format!("services/{}/{}/Cargo.toml", service.folder, service.name);
    let manifest = tree
        .text(&path)?
        .with_context(|| format!("the file {path} is missing"))?;
    let name = |line: &str| line.split(['.', ' ']).next().unwrap_or_default().to_owned();
    for (section, line) in templates.dependencies() {
        let is_own = own.get(section).is_some_and(|lines| lines.contains(line));
        let exists = manifest
            .split("\n\n")
            .filter(|part| part.starts_with(section));
        let exists = exists
            .flat_map(str::lines)
            .any(|existing| name(existing) == name(line));
        let is_needed = !new.resources.is_empty() || FOR_FUNCTIONS.contains(&name(line).as_str());
        if is_needed && (is_own || !exists) {
            new.dependencies
                .entry(section.into())
                .or_default()
                .insert(line.into());
        }
    }
    Ok(new)
}

/// The service to change, and its blueprint before and after the change.
type Change = (Service, Blueprint, Blueprint);

fn create(tree: &Tree, project: &Project, request: &Request) -> Result<Change> {
    let blueprint = |service: &Service| Blueprint::read(tree, &service.folder);
    let (service, old, new) = match request {
        Request::Service { name } => {
            let service = new_service(name, "api")?;
            let old = blueprint(&service)?;
            if !old.service {
                project.check_service(&service.name)?;
            }
            let new = Blueprint {
                service: true,
                ..old.clone()
            };
            (service, old, new)
        }
        Request::Resource {
            name,
            fields,
            service,
        } => {
            let service = project.service(service)?.clone();
            let old = blueprint(&service)?;
            let name = new_name("resource", name)?;
            let (one, many) = (name.singular(), name.plural());
            check_reserved("resource", &one)?;
            check_reserved("resource", &many)?;
            if one == many {
                bail!(
                    "the resource `{name}` has no plural that differs from the singular; choose another name"
                );
            }
            let fields = parse_fields(fields)?;
            field::check(&fields, &one).map_err(|error| anyhow!(error))?;
            let resource = Resource { one, fields };
            match old.resources.get(&many) {
                Some(existing) if *existing == resource => {}
                Some(_) => bail!(
                    "the resource `{many}` exists already with other fields; add one with `cargo xtask new field NAME:TYPE \
                     --of {many}`"
                ),
                None => {
                    project.check_table(&many)?;
                    project.check_route(&service, "GET", many.kebab())?;
                    if many != service.name {
                        project.check_new_group(&many)?;
                    }
                    project.check_group(&many, ACTIONS.len())?;
                    for action in ACTIONS {
                        project
                            .check_function(&format!("{}-{action}", service.prefix_of(&many)))?;
                    }
                }
            }
            let mut new = old.clone();
            new.resources.insert(many, resource);
            (service, old, new)
        }
        Request::Route {
            method,
            path,
            service,
        } => {
            let service = project.service(service)?.clone();
            let old = blueprint(&service)?;
            let (name, route) = parse_route(method, path, &service)?;
            if old.routes.get(&name) != Some(&route) {
                project.check_route(&service, &route.method, &route.path)?;
                project.check_group(&service.name, 1)?;
                project.check_function(&format!("{}-{name}", service.name))?;
            }
            let mut new = old.clone();
            new.routes.insert(name, route);
            (service, old, new)
        }
        Request::Job {
            name,
            every,
            service,
        } => {
            let name = new_name("job", name)?;
            let every = parse(every.as_deref().unwrap_or_default())?;
            let is_own = service.is_none();
            let (service, name, old) = own_service(tree, project, service.as_deref(), name, "run")?;
            let mut new = with_service(project, &service, &old, is_own)?;
            if !old.jobs.contains_key(&name) {
                project.check_function(&format!("{}-{name}", service.name))?;
            }
            new.jobs.insert(name, every);
            (service, old, new)
        }
        Request::Subscriber {
            name,
            topic,
            service,
        } => {
            let name = new_name("subscriber", name)?;
            let topic: Name = parse(topic.as_deref().unwrap_or_default())?;
            if !project.topics.contains(&topic.pascal()) {
                if project.topics.is_empty() {
                    bail!(
                        "there is no topic `{topic}`; add it in infrastructure/lib/topics-stack.ts"
                    );
                }
                let topics: Vec<_> = project
                    .topics
                    .iter()
                    .map(|topic| topic.to_lowercase())
                    .collect();
                bail!(
                    "there is no topic `{topic}`; the topics are {}",
                    topics.join(", ")
                );
            }
            let is_own = service.is_none();
            let (service, name, old) =
                own_service(tree, project, service.as_deref(), name, "receive")?;
            let mut new = with_service(project, &service, &old, is_own)?;
            if !old.subscribers.contains_key(&name) {
                project.check_function(&format!("{}-{name}", service.name))?;
            }
            new.subscribers.insert(name, topic);
            (service, old, new)
        }
        Request::Field { field, resource } => {
            let many = parse::<Name>(resource)?.plural();
            let service = project.service_of(tree, &many)?.clone();
            let old = blueprint(&service)?;
            let mut new = old.clone();
            let resource = new.resources.get_mut(&many).context("no such resource")?;
            let field = parse_field(field)?;
            match resource
                .fields
                .iter()
                .find(|existing| existing.name == field.name)
            {
                Some(existing) if *existing == field => {}
                Some(existing) => bail!("the resource `{many}` has the field `{existing}` already"),
                None if field.is_required && field.default.is_none() => bail!(
                    "the field `{}` cannot be required without a default, because existing {} have no value for it; add \
                     `default=VALUE`, or leave out `required`",
                    field.name.snake(),
                    many.words()
                ),
                None => resource.fields.push(field),
            }
            field::check(&resource.fields, &resource.one).map_err(|error| anyhow!(error))?;
            (service, old, new)
        }
    };
    Ok((service, old, new))
}

/// Returns None if there is nothing to undo.
fn undo(tree: &Tree, project: &Project, request: &Request) -> Result<Option<Change>> {
    let blueprint = |service: &Service| Blueprint::read(tree, &service.folder);
    let (service, old, mut new) = match request {
        Request::Service { name } => {
            let service = new_service(name, "api")?;
            let old = blueprint(&service)?;
            let new = Blueprint {
                service: false,
                ..old.clone()
            };
            if old.service && !new.is_empty() {
                bail!(
                    "the service `{}` still has generated code; undo this first:\n{}",
                    service.name,
                    contents(&new)
                );
            }
            (service, old, new)
        }
        Request::Resource { name, service, .. } => {
            let many = parse::<Name>(name)?.plural();
            let service = project.service(service)?.clone();
            let old = blueprint(&service)?;
            let mut new = old.clone();
            new.resources.remove(&many);
            (service, old, new)
        }
        Request::Route {
            method,
            path,
            service,
        } => {
            let service = project.service(service)?.clone();
            let old = blueprint(&service)?;
            let mut new = old.clone();
            new.routes.remove(&parse_route(method, path, &service)?.0);
            (service, old, new)
        }
        Request::Job { name, service, .. } => {
            let name = parse(name)?;
            let (service, name, old) = own_service(tree, project, service.as_deref(), name, "run")?;
            let mut new = old.clone();
            new.jobs.remove(&name);
            (service, old, new)
        }
        Request::Subscriber { name, service, .. } => {
            let name = parse(name)?;
            let (service, name, old) =
                own_service(tree, project, service.as_deref(), name, "receive")?;
            let mut new = old.clone();
            new.subscribers.remove(&name);
            (service, old, new)
        }
        Request::Field { field, resource } => {
            let many = parse::<Name>(resource)?.plural();
            // The field was removed with its resource.
            let Ok(service) = project.service_of(tree, &many).cloned() else {
                return Ok(None);
            };
            let old = blueprint(&service)?;
            let mut new = old.clone();
            let name: Name = parse(field.split(':').next().unwrap_or_default())?;
            if let Some(resource) = new.resources.get_mut(&many) {
                resource.fields.retain(|field| field.name != name);
                field::check(&resource.fields, &resource.one).map_err(|error| anyhow!(error))?;
            }
            (service, old, new)
        }
    };
    // The service of a job or of a subscriber goes with its last function.
    let is_left = Blueprint {
        service: true,
        ..Blueprint::default()
    };
    if service.folder.ends_with("-job") && old != new && new == is_left {
        new = Blueprint::default();
    }
    Ok(Some((service, old, new)))
}

/// The dependencies of the templates of routes, jobs and subscribers.
const FOR_FUNCTIONS: [&str; 4] = ["domain", "serde", "tokio", "tracing"];

/// The actions on a resource, which are the ends of the names of its functions.
const ACTIONS: [&str; 5] = ["create", "delete", "get", "list", "update"];

fn parse<T: FromStr<Err = String>>(text: &str) -> Result<T> {
    text.parse().map_err(|error: String| anyhow!(error))
}

/// Parses the name of something new, and refuses reserved words.
fn new_name(what: &str, text: &str) -> Result<Name> {
    let name: Name = parse(text)?;
    check_reserved(what, &name)?;
    if let Some(word) = template::words().find(|word| name.kebab().contains(word)) {
        bail!(
            "the {what} `{name}` contains `{word}`, a word of the generator's templates; choose another name"
        );
    }
    Ok(name)
}

fn check_reserved(what: &str, name: &Name) -> Result<()> {
    match reserved_by(&name.snake()) {
        Some(owner) => bail!(
            "the {what} `{name}` has the name of a reserved word of {owner}; choose another name"
        ),
        None => Ok(()),
    }
}

fn new_service(text: &str, end: &str) -> Result<Service> {
    let name = new_name("service", text.strip_suffix("-api").unwrap_or(text))?;
    Ok(Service {
        folder: format!("{name}-{end}"),
        name,
    })
}

/// Returns the service of a job or of a subscriber, and the name of the function. Without a service, it has a service of its own,
/// with its name, and `action` is the name of the function.
fn own_service(
    tree: &Tree,
    project: &Project,
    service: Option<&str>,
    name: Name,
    action: &str,
) -> Result<(Service, Name, Blueprint)> {
    let (service, name) = match service {
        Some(service) => (project.service(service)?.clone(), name),
        None => (new_service(name.kebab(), "job")?, parse(action)?),
    };
    let blueprint = Blueprint::read(tree, &service.folder)?;
    Ok((service, name, blueprint))
}

/// Returns a blueprint in which the service exists.
fn with_service(
    project: &Project,
    service: &Service,
    old: &Blueprint,
    is_own: bool,
) -> Result<Blueprint> {
    let mut new = old.clone();
    if is_own && !old.service {
        project.check_service(&service.name)?;
        new.service = true;
    }
    Ok(new)
}

fn parse_fields(texts: &[String]) -> Result<Vec<Field>> {
    texts.iter().map(|text| parse_field(text)).collect()
}

fn parse_field(text: &str) -> Result<Field> {
    let field: Field = parse(text)?;
    let default = field.default.as_ref().map(ToString::to_string);
    let default = default.unwrap_or_default().to_lowercase();
    let is_in = |word: &&str| field.name.kebab().contains(*word) || default.contains(*word);
    if let Some(word) = template::words().find(is_in) {
        bail!(
            "the field `{field}` contains `{word}`, a word of the generator's templates; choose another name or default"
        );
    }
    Ok(field)
}

/// Parses a route. Returns the name of its function without the prefix of the service: the method, and the path without its
/// parameters.
fn parse_route(method: &str, path: &str, service: &Service) -> Result<(Name, Route)> {
    let method = method.to_uppercase();
    if !["GET", "POST", "PUT", "DELETE"].contains(&method.as_str()) {
        bail!("the method `{method}` must be GET, POST, PUT or DELETE");
    }
    let path = path
        .strip_prefix('/')
        .with_context(|| format!("the path `{path}` must begin with a slash"))?;
    let mut words = vec![method.to_lowercase()];
    for segment in path.split('/') {
        let parameter = segment
            .strip_prefix('{')
            .and_then(|segment| segment.strip_suffix('}'));
        let name: Name = parse(parameter.unwrap_or(segment)).with_context(|| {
            format!("the path `/{path}` is malformed, for example `/books/{{id}}/cover`")
        })?;
        if parameter.is_none() {
            words.push(name.kebab().into());
        }
    }
    // The name of the function begins with the name of the service.
    if words.len() > 2
        && words
            .get(1)
            .is_some_and(|word| word == service.name.kebab())
    {
        words.remove(1);
    }
    let name = new_name("route", &words.join("-"))?;
    let path = path.to_owned();
    Ok((name, Route { method, path }))
}

/// Returns a line for each thing that was generated in a service.
fn contents(blueprint: &Blueprint) -> String {
    let resources = blueprint
        .resources
        .keys()
        .map(|name| format!("  resource {name}"));
    let routes = blueprint.routes.values();
    let routes = routes.map(|route| format!("  route {} /{}", route.method, route.path));
    let jobs = blueprint.jobs.keys().map(|name| format!("  job {name}"));
    let subscribers = blueprint
        .subscribers
        .keys()
        .map(|name| format!("  subscriber {name}"));
    let all: Vec<_> = resources
        .chain(routes)
        .chain(jobs)
        .chain(subscribers)
        .collect();
    all.join("\n")
}
