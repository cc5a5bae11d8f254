//! Reads the templates, and writes them for a blueprint.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::block::{Block, Place};
use super::blueprint::Blueprint;
use super::field::Field;
use super::json;
use super::merge::Rendered;
use super::name::Name;
use super::regions::{PATTERNS, expand, with_fields};
use super::words::{Language, Word, replace};
use crate::Tree;

/// The folder with the templates. The folders in it correspond to those of the checkout.
const FOLDER: &str = "xtask/scaffold/template/";

/// The folders of the templates that are copied. The other files only serve to compile the templates.
const COPIED: [&str; 6] = [
    "events/",
    "infrastructure/",
    "services/",
    "tests/golden/",
    "tests/tests/",
    "web/",
];

/// The file with the blocks.
const BLOCKS: &str = "blocks.toml";

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Service,
    Resource,
    Route,
    Job,
    Subscriber,
}

/// The word of each kind in the templates: the name of its sample. The files with this word in their path are for one item of the
/// kind. Lines with this word in the other files are repeated for each item.
const SAMPLES: [(Kind, &str); 4] = [
    (Kind::Resource, "specimen"),
    (Kind::Route, "vernissage"),
    (Kind::Job, "finissage"),
    (Kind::Subscriber, "benefactor"),
];

/// The word for the service in the templates.
const SERVICE: &str = "museum";

/// Returns the words of the templates, which no generated thing may have in its name.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    let samples = SAMPLES.iter().map(|(_, word)| *word);
    samples
        .chain([SERVICE])
        .chain(PATTERNS.iter().map(|pattern| pattern.word))
}

/// A row of the file with the blocks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct BlockTemplate {
    /// Which items have the block.
    r#for: Kind,
    /// Whether only generated services, or only existing ones have the block.
    only: Option<Origin>,
    /// Whether the block needs a generated route in the service.
    #[serde(default)]
    if_routes: bool,
    /// Whether the block needs a generated resource in the service.
    #[serde(default)]
    if_resources: bool,
    /// Whether the block is only for an existing service that had no routes before.
    #[serde(default)]
    if_objective: bool,
    /// See [`Block::has_changing_values`].
    #[serde(default)]
    has_changing_values: bool,
    path: String,
    place: Place,
    #[serde(flatten)]
    text: BlockText,
}

/// How a service came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Generated,
    Existing,
}

/// The lines of a block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BlockText {
    Text(String),
    /// The lines of a region for this kind of item in the template of a file. `region` is the number of the region.
    From {
        file: String,
        region: usize,
    },
}

#[derive(Debug, Deserialize)]
struct BlockTemplates {
    block: Vec<BlockTemplate>,
}

/// The templates.
#[derive(Debug)]
pub(super) struct Templates {
    /// The contents by the path in the checkout that the template corresponds to.
    files: BTreeMap<String, String>,
    blocks: Vec<BlockTemplate>,
}

/// The name of a service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// The folder in `services/`, such as `library-api`.
    pub(super) folder: String,
    /// The name without the last part of the folder, such as `library`.
    pub(super) name: Name,
}

/// One thing that was generated in a service.
struct Item<'a> {
    kind: Kind,
    words: Vec<Word>,
    /// Texts that are replaced exactly, before the words.
    exact: Vec<(&'static str, String)>,
    fields: &'a [Field],
    /// The name in messages.
    name: String,
}

impl Templates {
    /// Reads the templates of a checkout.
    ///
    /// # Errors
    /// Fails if a template cannot be read.
    pub(super) fn read(tree: &Tree) -> Result<Self> {
        let mut files = BTreeMap::new();
        for path in tree.files()? {
            let Some(target) = path.strip_prefix(FOLDER) else {
                continue;
            };
            if COPIED.iter().any(|folder| target.starts_with(folder)) {
                let text = tree.text(&path)?;
                let text = text.with_context(|| format!("cannot read the template {path}"))?;
                files.insert(target.to_owned(), text);
            }
        }
        let path = format!("{FOLDER}{BLOCKS}");
        let blocks = tree
            .text(&path)?
            .with_context(|| format!("cannot read {path}"))?;
        let blocks: BlockTemplates =
            toml::from_str(&blocks).with_context(|| format!("cannot parse {path}"))?;
        Ok(Self {
            files,
            blocks: blocks.block,
        })
    }

    /// Returns everything that the blueprint of a service generates, unformatted.
    ///
    /// # Errors
    /// Fails if a template is malformed.
    pub(super) fn render(&self, service: &Service, blueprint: &Blueprint) -> Result<Rendered> {
        let items = items(service, blueprint);
        let mut rendered = Rendered::default();
        let own = Item::service(service);
        for (path, text) in &self.files {
            let kind = kind_of(path);
            // The new tables of an existing service have a stack of their own.
            let is_new_stack =
                path.starts_with("infrastructure/") && !blueprint.resources.is_empty();
            if kind == Kind::Service && !blueprint.service && !is_new_stack {
                continue;
            }
            let of_kind = items.iter().filter(|item| item.kind == kind);
            let of_kind = of_kind.chain((kind == Kind::Service).then_some(&own));
            for item in of_kind {
                let target = item.path(path);
                let text = match kind {
                    // An empty map is not the same as none.
                    Kind::Service => own
                        .write(path, &repeat(text, path, &items))?
                        .replace("functions:\nresources:", "functions: {}\n\nresources:"),
                    _ => item.write(path, text)?,
                };
                rendered.files.insert(target, text);
            }
        }
        let origin = match blueprint.service {
            true => Origin::Generated,
            false => Origin::Existing,
        };
        for (number, block) in self.blocks.iter().enumerate() {
            let is_wanted = block.only.is_none_or(|only| only == origin)
                && (!block.if_routes || !blueprint.routes.is_empty())
                && (!block.if_resources || !blueprint.resources.is_empty())
                && (!block.if_objective || blueprint.objective);
            let items = items.iter().chain([&own]);
            for item in items.filter(|item| is_wanted && item.kind == block.r#for) {
                rendered.blocks.push(Block {
                    path: item.path(&block.path),
                    key: format!("{} (block {})", item.name, number + 1),
                    place: block.place.clone(),
                    text: item.write(&block.path, &self.text(block)?)?,
                    has_changing_values: block.has_changing_values,
                });
            }
        }
        if !blueprint.service {
            rendered.blocks.extend(dependencies(service, blueprint));
        }
        Ok(rendered)
    }

    /// Returns the template of a block's lines.
    fn text(&self, block: &BlockTemplate) -> Result<String> {
        let (file, region) = match &block.text {
            BlockText::Text(text) => return Ok(text.clone()),
            BlockText::From { file, region } => (file, *region),
        };
        let template = self
            .files
            .get(file)
            .with_context(|| format!("there is no template of {file}"))?;
        let mut regions = Vec::new();
        expand(template, &mut |kind, body| {
            let is_wanted = region_of(kind) == Some(block.r#for);
            regions.extend(is_wanted.then(|| body.to_owned()));
            Some(String::new())
        });
        let found = (region < regions.len()).then(|| regions.swap_remove(region));
        found.with_context(|| format!("the template of {file} has no region {region}"))
    }

    /// Returns the dependencies that the generated code needs in the library of its service: the line of their section, and
    /// their own lines.
    pub(super) fn dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        let manifest = self.files.get("services/museum-api/museum/Cargo.toml");
        let sections = manifest
            .map(String::as_str)
            .unwrap_or_default()
            .split("\n\n");
        let sections = sections.filter_map(|section| section.split_once('\n'));
        let sections = sections.filter(|(section, _)| section.ends_with("dependencies]"));
        sections.flat_map(|(section, lines)| lines.lines().map(move |line| (section, line)))
    }
}

/// Returns what a template is for, from its path.
fn kind_of(path: &str) -> Kind {
    let path = path.to_ascii_lowercase();
    let sample = SAMPLES.iter().find(|(_, word)| path.contains(word));
    sample.map_or(Kind::Service, |(kind, _)| *kind)
}

/// Returns the kind of the items for which a region is repeated. None if the region is for fields.
fn region_of(region: &str) -> Option<Kind> {
    match region {
        "each resource" => Some(Kind::Resource),
        "each route" => Some(Kind::Route),
        "each job" => Some(Kind::Job),
        "each subscriber" => Some(Kind::Subscriber),
        _ => None,
    }
}

/// Returns the dependencies that were added to the library of an existing service.
fn dependencies(service: &Service, blueprint: &Blueprint) -> impl Iterator<Item = Block> {
    let path = format!("services/{}/{}/Cargo.toml", service.folder, service.name);
    let lines = blueprint.dependencies.iter();
    let lines = lines.flat_map(|(section, lines)| lines.iter().map(move |line| (section, line)));
    lines.map(move |(section, line)| Block {
        path: path.clone(),
        key: format!("the dependency {line} in {section}"),
        place: Place::Sorted {
            after: section.clone(),
            prefix: String::new(),
        },
        text: format!("{line}\n"),
        has_changing_values: false,
    })
}

/// Returns the items of a blueprint, in alphabetical order within each kind.
fn items<'a>(service: &Service, blueprint: &'a Blueprint) -> Vec<Item<'a>> {
    let mut items = Vec::new();
    for (many, resource) in &blueprint.resources {
        items.push(Item::resource(
            service,
            many,
            &resource.one,
            &resource.fields,
        ));
    }
    for (name, route) in &blueprint.routes {
        let mut item = Item::function(Kind::Route, service, name);
        item.exact.push((
            "method: get",
            format!("method: {}", route.method.to_lowercase()),
        ));
        item.exact.push(("museum/vernissage", route.path.clone()));
        item.exact
            .push(("\"GET\"", format!("\"{}\"", route.method)));
        item.exact.push(("`GET ", format!("`{} ", route.method)));
        item.exact
            .push(("Method::GET", format!("Method::{}", route.method)));
        items.push(item);
    }
    for (name, every) in &blueprint.jobs {
        let mut item = Item::function(Kind::Job, service, name);
        item.exact.push(("rate(5 minutes)", every.expression()));
        item.exact
            .push(("timeout: 240", format!("timeout: {}", every.timeout())));
        item.exact
            .push(("the 5 minutes until", format!("the {every} until")));
        item.exact.push((
            "monthly = 8640",
            format!("monthly = {}", every.runs_per_month()),
        ));
        items.push(item);
    }
    for (name, topic) in &blueprint.subscribers {
        let mut item = Item::function(Kind::Subscriber, service, name);
        item.words.push(word("purchases", topic.clone()));
        items.push(item);
    }
    items
}

fn word(word: &'static str, name: Name) -> Word {
    Word {
        word,
        name,
        is_field: false,
    }
}

impl<'a> Item<'a> {
    fn service(service: &Service) -> Self {
        Item {
            kind: Kind::Service,
            words: vec![word(SERVICE, service.name.clone())],
            exact: vec![("museum-api", service.folder.clone())],
            fields: &[],
            name: format!("the service {}", service.name),
        }
    }

    fn resource(service: &Service, many: &Name, one: &Name, fields: &'a [Field]) -> Self {
        let prefix = service.prefix_of(many);
        Item {
            kind: Kind::Resource,
            words: vec![
                // Function names, modules and test types of a resource that has the name of its service do not repeat the name.
                word("museum-specimens", prefix.clone()),
                word("museum_specimens", prefix.clone()),
                word("museumspecimens", prefix),
                word("specimens", many.clone()),
                word("specimen", one.clone()),
                word(SERVICE, service.name.clone()),
            ],
            exact: vec![("museum-api", service.folder.clone())],
            fields,
            name: format!("the resource {many}"),
        }
    }

    fn function(kind: Kind, service: &Service, name: &Name) -> Self {
        let sample = SAMPLES.iter().find(|(of, _)| *of == kind);
        Item {
            kind,
            words: vec![
                word(sample.map_or(SERVICE, |(_, word)| word), name.clone()),
                word(SERVICE, service.name.clone()),
            ],
            exact: vec![("museum-api", service.folder.clone())],
            fields: &[],
            name: format!("the function {}-{name}", service.name),
        }
    }

    /// Returns the path for the item that corresponds to the path of a template.
    fn path(&self, template: &str) -> String {
        let parts: Vec<_> = template
            .split('/')
            .scan(false, |is_in_source, part| {
                let is_rust = part.ends_with(".rs") || *is_in_source && template.ends_with(".rs");
                *is_in_source |= part == "src" || part == "e2e";
                let language = if is_rust {
                    Language::Rust
                } else {
                    Language::Other
                };
                Some(replace(&self.exactly(part), &self.words, language))
            })
            .collect();
        parts.join("/")
    }

    /// Writes a template for the item.
    fn write(&self, path: &str, template: &str) -> Result<String> {
        let language = Language::of(path);
        let text = match path.ends_with(".json") && self.kind == Kind::Resource {
            true => {
                let parsed = serde_json::from_str(template)
                    .with_context(|| format!("cannot parse {path}"))?;
                json::with_fields(&parsed, self.fields).to_string()
            }
            false if self.kind == Kind::Resource => with_fields(template, self.fields, language),
            false => template.to_owned(),
        };
        let text = replace(&self.exactly(&text), &self.words, language);
        if !path.ends_with(".json") {
            return Ok(text);
        }
        // The members are in alphabetical order, also after their names were replaced.
        let parsed: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("cannot parse {path}"))?;
        Ok(format!("{parsed:#}\n"))
    }

    fn exactly(&self, text: &str) -> String {
        let mut exact = self.exact.iter();
        exact
            .try_fold(text.to_owned(), |text, (old, new)| {
                Some(text.replace(old, new))
            })
            .unwrap_or_default()
    }
}

impl Service {
    /// Returns the beginning of the names of a resource's functions: `library-books`, or `books` if the service has this name, too.
    pub(super) fn prefix_of(&self, many: &Name) -> Name {
        match *many == self.name {
            true => many.clone(),
            false => self.name.join(many),
        }
    }
}

/// Writes a template of a service: repeats the regions and the lines about a sample for each item of its kind.
fn repeat(template: &str, path: &str, items: &[Item]) -> String {
    let of_kind = |kind: Kind, text: &str| -> String {
        let items = items.iter().filter(|item| item.kind == kind);
        // The templates of services have no JSON.
        items
            .map(|item| item.write(path, text).unwrap_or_default())
            .collect()
    };
    // The written regions are replaced by lines with their numbers, so that the lines in them are not repeated again.
    let mut regions = Vec::new();
    let expanded = expand(template, &mut |region, body| {
        regions.push(of_kind(region_of(region)?, body));
        Some(format!("\0{}\n", regions.len() - 1))
    });
    // Lines outside of regions: the consecutive lines about the same sample belong together.
    let mut result = String::new();
    let mut group: Option<(Kind, String)> = None;
    for line in expanded.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let kind = SAMPLES
            .iter()
            .find(|(_, word)| lower.contains(word))
            .map(|(kind, _)| *kind);
        match (&mut group, kind) {
            (Some((of, lines)), Some(kind)) if *of == kind => lines.push_str(line),
            (_, kind) => {
                if let Some((of, lines)) = group.take() {
                    result.push_str(&of_kind(of, &lines));
                }
                match kind {
                    Some(kind) => group = Some((kind, line.to_owned())),
                    None => result.push_str(line),
                }
            }
        }
    }
    if let Some((of, lines)) = group {
        result.push_str(&of_kind(of, &lines));
    }
    for (number, region) in regions.iter().enumerate() {
        result = result.replace(&format!("\0{number}\n"), region);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::blueprint::{Resource, Route};
    use super::*;
    use crate::format;

    /// The fields of the sample resource.
    const FIELDS: [&str; 10] = [
        "epithet:string:required:max=200",
        "provenance:string:max=100",
        "accession:string:required:unique:max=40",
        "quantity:integer:required",
        "weight:decimal",
        "on_display:boolean:required",
        "found_on:date",
        "examined_at:time",
        "website:url",
        "curator:email",
    ];

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn sample() -> (Service, Blueprint) {
        let service = Service {
            folder: "museum-api".into(),
            name: name("museum"),
        };
        let mut fields: Vec<Field> = FIELDS.map(|field| field.parse().unwrap()).into();
        fields[0].default = Some("An epithet".into());
        let resource = Resource {
            one: name("specimen"),
            fields,
        };
        let route = Route {
            method: "GET".into(),
            path: "museum/vernissage".into(),
        };
        let blueprint = Blueprint {
            service: true,
            resources: BTreeMap::from([(name("specimens"), resource)]),
            routes: BTreeMap::from([(name("vernissage"), route)]),
            jobs: BTreeMap::from([(name("finissage"), "5m".parse().unwrap())]),
            subscribers: BTreeMap::from([(name("benefactor"), name("purchases"))]),
            ..Blueprint::default()
        };
        (service, blueprint)
    }

    /// Removes the markers of regions, and the blank lines that are left.
    fn without_markers(template: &str) -> String {
        let is_marker = |line: &str| {
            let line = line
                .trim_start()
                .trim_start_matches(['/', '#'])
                .trim_start();
            let is_start =
                line.ends_with('{') && (line.starts_with("each ") || line.starts_with("if "));
            is_start
                || line == "}" && !line.is_empty()
                || line.starts_with("each optional")
                || line == "the others:"
        };
        let lines = template.split_inclusive('\n');
        lines
            .filter(|line| {
                !(line.trim_start().starts_with(['/', '#']) && is_marker(line.trim_end()))
            })
            .collect()
    }

    #[test]
    fn the_template_of_the_sample_is_the_template_itself() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let templates = Templates::read(&Tree::open(&root)).unwrap();
        let (service, blueprint) = sample();
        let is_rust = |path: &str| path.ends_with(".rs");
        let rustfmt = |path: &str, text| {
            if is_rust(path) {
                format(&root, path, text)
            } else {
                Ok(text)
            }
        };
        let rendered = templates.render(&service, &blueprint).unwrap();
        assert_eq!(rendered.files.len(), templates.files.len());
        for (path, template) in &templates.files {
            let actual = rustfmt(path, rendered.files[path].clone()).unwrap();
            if path.ends_with(".json") {
                let parsed: serde_json::Value = serde_json::from_str(&actual).unwrap();
                assert!(parsed.is_object(), "{path}");
            } else {
                let expected = rustfmt(path, without_markers(template)).unwrap();
                let difference = similar::TextDiff::from_lines(&expected, &actual)
                    .unified_diff()
                    .to_string();
                assert!(difference.is_empty(), "{path}:\n{difference}");
            }
        }
    }
}
