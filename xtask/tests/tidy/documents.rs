//! Checks that the Markdown documents refer only to files and tests that exist.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::{files, root};

/// The Markdown documents of the repository.
fn documents() -> Vec<PathBuf> {
    let documents = files("", &["md"]);
    assert!(documents.len() > 5, "{documents:?}");
    documents
}

/// The paths to which the links in a Markdown document point, without anchors. Web URLs are
/// skipped.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn every_link_in_a_document_points_to_an_existing_file() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for link in links(&text) {
            assert!(
                folder.join(link).exists(),
                "{}: {link} is missing",
                document.display()
            );
        }
    }
}

/// The name of each invariant in ARCHITECTURE.md, with the names of its tests. An invariant is a
/// list item of one or more lines: `- **name**: description. *Test:* `test`, `test``.
fn invariants(text: &str) -> Vec<(String, Vec<String>)> {
    let items = text.split("\n- **").skip(1);
    items
        .map(|item| {
            let item = item.split("\n\n").next().unwrap_or_default();
            let (name, rest) = item.split_once("**").unwrap();
            let tests = rest.split_once("*Test:*").map_or("", |(_, tests)| tests);
            let tests = tests.split('`').skip(1).step_by(2);
            let tests = tests.map(|test| test.split_whitespace().collect::<Vec<_>>().join(" "));
            (name.to_owned(), tests.collect())
        })
        .collect()
}

/// The names of all Rust functions and of all TypeScript tests (the first arguments of `test`) in
/// the repository.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files("", &["rs"]) {
        let text = fs::read_to_string(&file).unwrap();
        let functions = text.split("fn ").skip(1);
        names.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
    }
    for file in files("", &["ts", "mjs"]) {
        let text = fs::read_to_string(&file).unwrap();
        for call in text.split("test(").skip(1) {
            let name = call.trim_start().strip_prefix(['"', '`']);
            let name = name.and_then(|rest| Some(rest.split_once(['"', '`'])?.0));
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_invariant_of_the_architecture_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let invariants = invariants(&text);
    assert!(invariants.len() > 20, "{} invariants", invariants.len());
    let known = tests();
    for (invariant, named) in invariants {
        assert!(!named.is_empty(), "{invariant:?} names no test");
        for test in named {
            assert!(
                known.contains(&test),
                "{invariant:?} names a test that does not exist: {test}"
            );
        }
    }
}
