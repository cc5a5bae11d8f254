//! Random sequences of commands of `cargo xtask new`. Each command is chosen from those that are valid after the earlier ones.
//!
//! The names of a sequence contain its number, so many sequences can change one checkout at the same time.

use std::fmt;

use fastrand::Rng;
use scaffold::new::{Direction, Request};

/// The services of the product that sequences add something to. Sequences that add routes are in [`can_have_route`].
const EXISTING: &[&str] = &[
    "notes",   // no part can remove it
    "billing", // part: billing
    "notify",  // part: notify
];

const TOPICS: &[&str] = &[
    "purchases", // part: billing
];

/// The ends of the names of resources, with several plurals.
const RESOURCES: [&str; 6] = [
    "books",
    "boxes",
    "movies",
    "keys",
    "tool-kits",
    "categories",
];

/// The fields of new resources.
const FIELDS: [&str; 10] = [
    "title:string:required:max=200",
    "isbn:string:required:unique:max=20",
    "subtitle:string",
    "pages:integer:max=5000",
    "price:decimal:required",
    "lent_out:boolean:required",
    "published_on:date",
    "opened_at:time",
    "homepage:url:required:unique",
    "curated_by:email",
];

/// The fields that are added to a resource later, of each type.
const ADDED: [&str; 10] = [
    "contact:email",
    "weight:decimal:max=100",
    "shelf:string:max=10",
    "copies:integer",
    "due_on:date",
    "seen_at:time",
    "is_signed:boolean",
    "cover:url",
    "shape:string:required:max=10:default=as new",
    "rating:decimal:required:max=5:default=2.5",
];

const PAUSES: [&str; 4] = ["5m", "1h", "2d", "90m"];

/// The maximum number of characters of the name of a function.
const LONGEST_FUNCTION: usize = 25;

/// A command of a sequence.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) request: Request,
    pub(crate) direction: Direction,
    /// A part of the message with which the command is refused. None if it succeeds.
    pub(crate) refusal: Option<&'static str>,
}

/// A random sequence of commands.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) number: usize,
    random: Rng,
    /// The number of commands.
    length: usize,
    /// The commands so far.
    pub(crate) steps: Vec<Step>,
    /// What the commands have generated and not undone.
    pub(crate) generated: Vec<Request>,
}

/// The kinds of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Resource,
    Field,
    Route,
    Job,
    Subscriber,
    Undo,
}

impl Sequence {
    /// Returns `count` sequences. A sequence depends only on the seed and on its number.
    pub(crate) fn all(seed: u64, count: usize) -> Vec<Self> {
        let mut random = Rng::with_seed(seed);
        let sequence = |number| {
            let mut random = random.fork();
            Self {
                number,
                length: random.usize(2..=7),
                random,
                steps: Vec::new(),
                generated: Vec::new(),
            }
        };
        (0..count).map(sequence).collect()
    }

    fn weighted(&mut self, kinds: &[(Kind, u32)]) -> Kind {
        let sum: u32 = kinds.iter().map(|(_, weight)| weight).sum();
        let mut rest = self.random.u32(..sum);
        for (kind, weight) in kinds {
            if rest < *weight {
                return *kind;
            }
            rest -= weight;
        }
        Kind::Resource
    }

    /// Chooses a command of a kind. None if none is valid.
    fn choose(&mut self, kind: Kind) -> Option<Step> {
        if kind == Kind::Undo {
            let (refused, possible): (Vec<_>, Vec<_>) = self
                .undos()
                .into_iter()
                .partition(|step| step.refusal.is_some());
            let is_refused = self.random.u32(..4) == 0 && !refused.is_empty();
            return self
                .random
                .choice(if is_refused { refused } else { possible });
        }
        let requests = match kind {
            Kind::Service => self.services(),
            Kind::Field => self.fields(),
            Kind::Resource => self.resources(),
            Kind::Route => self.routes(),
            Kind::Job => self.jobs(),
            Kind::Subscriber => self.subscribers(),
            Kind::Undo => Vec::new(),
        };
        let request = self.random.choice(requests)?;
        Some(Step {
            request,
            direction: Direction::Do,
            refusal: None,
        })
    }

    fn name(&self, end: &str) -> String {
        format!("q{}-{end}", self.number)
    }

    /// The generated services, including those of jobs and subscribers without a service, as long as they have something.
    fn own_services(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .generated
            .iter()
            .filter_map(|request| match request {
                Request::Service { name } => Some(name.clone()),
                _ => service_of(request),
            })
            .filter(|name| !EXISTING.contains(&name.as_str()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The service for something new: mostly one of the sequence.
    fn hosts(&mut self) -> Vec<String> {
        let own = self.own_services();
        match own.is_empty() || self.random.u32(..4) == 0 {
            true => EXISTING.iter().map(|name| (*name).into()).collect(),
            false => own,
        }
    }

    /// The services that have routes, with the first segments of the paths.
    fn segments(&self) -> Vec<(String, String)> {
        let segment = |request: &Request| match request {
            Request::Resource { name, service, .. } => Some((service.clone(), name.clone())),
            Request::Route { path, service, .. } => {
                let segment = path.trim_start_matches('/').split('/').next()?;
                Some((service.clone(), segment.into()))
            }
            _ => None,
        };
        self.generated.iter().filter_map(segment).collect()
    }

    fn services(&self) -> Vec<Request> {
        let names = [
            format!("q{}", self.number),
            self.name("desk"),
            self.name("books"),
        ];
        let is_free = |name: &String| {
            let request = Request::Service { name: name.clone() };
            !self.generated.contains(&request)
                && !self.segments().iter().any(|(_, segment)| segment == name)
        };
        let names = names.into_iter().filter(is_free);
        names.map(|name| Request::Service { name }).collect()
    }

    fn resources(&mut self) -> Vec<Request> {
        let mut fields = FIELDS.to_vec();
        self.random.shuffle(&mut fields);
        fields.truncate(self.random.usize(1..=fields.len()));
        if !fields.iter().any(|field| field.contains(":required")) {
            fields.insert(0, "name_of:string:required");
        }
        let segments = self.segments();
        let mut requests = Vec::new();
        for service in self.hosts() {
            for name in RESOURCES.map(|end| self.name(end)) {
                let prefix = match service == name {
                    true => name.clone(),
                    false => format!("{service}-{name}"),
                };
                let is_taken = segments
                    .iter()
                    .any(|(of, segment)| *segment == name && *of != service)
                    || self.resource(&name).is_some();
                if !is_taken && prefix.len() + "-create".len() <= LONGEST_FUNCTION {
                    requests.push(Request::Resource {
                        name,
                        fields: fields.iter().map(|&field| field.into()).collect(),
                        service: service.clone(),
                    });
                }
            }
        }
        requests
    }

    fn resource(&self, wanted: &str) -> Option<&Request> {
        let is_wanted = |request: &&Request| matches!(request, Request::Resource { name, .. } if name == wanted);
        self.generated.iter().find(is_wanted)
    }

    fn fields(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for request in &self.generated {
            if let Request::Resource { name, .. } = request {
                let of = |field: &str| Request::Field {
                    field: field.into(),
                    resource: name.clone(),
                };
                let new = ADDED.map(of);
                requests.extend(new.into_iter().filter(|new| !self.generated.contains(new)));
            }
        }
        requests
    }

    fn routes(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        for service in self.hosts() {
            let existing = EXISTING.contains(&service.as_str());
            if existing && !self.can_have_route(&service) {
                continue;
            }
            let mut paths = vec![
                format!("/{service}/{}", self.name("hours")),
                format!("/{service}/{{id}}/{}", self.name("cover")),
            ];
            for (of, segment) in self.segments() {
                if of == service && !existing && !service.starts_with(&segment) {
                    paths.push(format!("/{segment}/{{id}}/map"));
                }
            }
            for path in paths {
                for method in ["GET", "POST", "PUT", "DELETE"] {
                    let words: Vec<_> = path.split('/').skip(1).collect();
                    let words = words
                        .iter()
                        .filter(|word| **word != service && **word != "{id}");
                    let function = words.fold(
                        format!("{service}-{}", method.to_lowercase()),
                        |name, word| format!("{name}-{word}"),
                    );
                    let request = Request::Route {
                        method: method.into(),
                        path: path.clone(),
                        service: service.clone(),
                    };
                    if function.len() <= LONGEST_FUNCTION && !self.generated.contains(&request) {
                        requests.push(request);
                    }
                }
            }
        }
        requests
    }

    /// Whether the sequence may add a route to an existing service: its group can have at most eight, and the sequences share
    /// it.
    fn can_have_route(&self, service: &str) -> bool {
        let is_here = |request: &&Request| matches!(request, Request::Route { service: of, .. } if of == service);
        let routes = self.generated.iter().filter(is_here).count();
        match service {
            "notes" => self.number == 0 && routes == 0,
            "notify" => (1..=4).contains(&self.number) && routes < 2,
            _ => false,
        }
    }

    /// New jobs, and other pauses of those that exist.
    fn jobs(&mut self) -> Vec<Request> {
        let mut services: Vec<_> = self.hosts().into_iter().map(Some).collect();
        services.push(None);
        let every = self.random.choice(PAUSES).map(Into::into);
        let job = |service| Request::Job {
            name: self.name("sweep"),
            every: every.clone(),
            service,
        };
        let jobs = services.into_iter().map(job);
        jobs.filter(|job| !self.generated.contains(job)).collect()
    }

    fn subscribers(&mut self) -> Vec<Request> {
        let mut services: Vec<_> = self.hosts().into_iter().map(Some).collect();
        services.push(None);
        let Some(topic) = self.random.choice(TOPICS) else {
            return Vec::new();
        };
        let subscriber = |service| Request::Subscriber {
            name: self.name("audit"),
            topic: Some((*topic).into()),
            service,
        };
        let subscribers = services.into_iter().map(subscriber);
        subscribers
            .filter(|subscriber| !self.generated.contains(subscriber))
            .collect()
    }

    /// Returns a command that undoes each generated thing, and each optional field of a resource.
    fn undos(&self) -> Vec<Step> {
        let mut undone = self.generated.clone();
        for request in &self.generated {
            if let Request::Resource { name, fields, .. } = request {
                let optional = fields.iter().filter(|field| !field.contains(":required"));
                undone.extend(optional.map(|field| Request::Field {
                    field: field.clone(),
                    resource: name.clone(),
                }));
            }
        }
        let undo = |request: Request| Step {
            refusal: self.refusal(&request),
            request,
            direction: Direction::Undo,
        };
        undone.into_iter().map(undo).collect()
    }

    /// Returns why something cannot be undone. None if it can.
    fn refusal(&self, request: &Request) -> Option<&'static str> {
        let Request::Service { name } = request else {
            return None;
        };
        let mut others = self.generated.iter().filter_map(service_of);
        others
            .any(|service| service == *name)
            .then_some("undo this first")
    }

    fn apply(&mut self, step: &Step) {
        let Step { request, .. } = step;
        // Also another pause of a job replaces it.
        self.generated.retain(|other| !is_same(other, request));
        if step.direction == Direction::Do {
            self.generated.push(request.clone());
            return;
        }
        match request {
            Request::Resource { name, .. } => self.generated.retain(
                |other| !matches!(other, Request::Field { resource, .. } if resource == name),
            ),
            Request::Field { field, resource } => {
                for other in &mut self.generated {
                    if let Request::Resource { name, fields, .. } = other
                        && name == resource
                    {
                        fields.retain(|other| other != field);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Iterator for Sequence {
    type Item = Step;

    /// Chooses the next command, and assumes that it has the expected result. None after the last one.
    fn next(&mut self) -> Option<Step> {
        if self.steps.len() == self.length {
            return None;
        }
        let is_resource = |request: &Request| matches!(request, Request::Resource { .. });
        let had_resource = self.steps.iter().any(|step| is_resource(&step.request));
        let has_resource = self.generated.iter().any(is_resource);
        let has_service = !self.own_services().is_empty();
        let is_last = self.steps.len() + 1 == self.length;
        let kinds = [
            (Kind::Service, if has_service { 2 } else { 12 }),
            (Kind::Resource, if has_resource { 3 } else { 12 }),
            (Kind::Field, if has_resource { 9 } else { 0 }),
            (Kind::Route, 2),
            (Kind::Job, 2),
            (Kind::Subscriber, 2),
            (Kind::Undo, if self.generated.len() > 1 { 9 } else { 1 }),
        ];
        let step = loop {
            let kind = match is_last && !had_resource {
                true => Kind::Resource,
                false => self.weighted(&kinds),
            };
            if let Some(step) = self.choose(kind) {
                break step;
            }
        };
        if step.refusal.is_none() {
            self.apply(&step);
        }
        self.steps.push(step.clone());
        Some(step)
    }
}

/// Returns the service that a thing other than a service belongs to. A field belongs to its resource.
fn service_of(request: &Request) -> Option<String> {
    match request {
        Request::Service { .. } | Request::Field { .. } => None,
        Request::Resource { service, .. } | Request::Route { service, .. } => Some(service.clone()),
        Request::Job { name, service, .. } | Request::Subscriber { name, service, .. } => {
            Some(service.clone().unwrap_or_else(|| name.clone()))
        }
    }
}

/// Whether two requests are about the same thing.
fn is_same(one: &Request, other: &Request) -> bool {
    let identity = |request: &Request| match request.clone() {
        Request::Resource { name, service, .. } => Request::Resource {
            name,
            fields: Vec::new(),
            service,
        },
        Request::Job { name, service, .. } => Request::Job {
            name,
            every: None,
            service,
        },
        other => other,
    };
    identity(one) == identity(other)
}

/// The command that a developer types, after `cargo xtask`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = |service: &Option<String>| match service {
            Some(service) => format!(" --service {service}"),
            None => String::new(),
        };
        match &self.request {
            Request::Service { name } => write!(f, "new service {name}"),
            Request::Resource {
                name,
                fields,
                service,
            } => write!(
                f,
                "new resource {name} {} --service {service}",
                fields.join(" ")
            ),
            Request::Route {
                method,
                path,
                service,
            } => write!(f, "new route {method} {path} --service {service}"),
            Request::Job {
                name,
                every,
                service: of,
            } => {
                let every = every.as_deref().unwrap_or_default();
                write!(f, "new job {name} --every {every}{}", service(of))
            }
            Request::Subscriber {
                name,
                topic,
                service: of,
            } => {
                let topic = topic.as_deref().unwrap_or_default();
                write!(f, "new subscriber {name} --of {topic}{}", service(of))
            }
            Request::Field { field, resource } => write!(f, "new field {field} --of {resource}"),
        }?;
        if self.direction == Direction::Undo {
            f.write_str(" --undo")?;
        }
        match self.refusal {
            Some(_) => f.write_str("  # refused"),
            None => Ok(()),
        }
    }
}

/// The number of the sequence, and a line for each command.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {}", self.number)?;
        let mut steps = self.steps.iter();
        steps.try_for_each(|step| write!(f, "\n  cargo xtask {step}"))
    }
}
