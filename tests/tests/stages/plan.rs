//! What a change of the sources would do: it changes the functions that are made from it, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::account::Account;
use crate::checkout::Checkout;

const STAGE: &str = "pr-1";

/// The functions that a plan says are changed, and through what.
async fn planned(checkout: &Checkout) -> BTreeMap<String, String> {
    let said = checkout.run(&format!("plan --stage {STAGE}")).await.did();
    let lines = said.lines().filter(|line| line.starts_with('~'));
    let reasons = lines.map(|line| line.split_once(": ").unwrap().1);
    let changed = reasons.map(|reason| {
        let (function, why) = reason
            .split_once(" changed, ")
            .unwrap_or_else(|| panic!("something else changes: {said}"));
        (function.to_owned(), why.to_owned())
    });
    changed.collect()
}

/// The functions whose binaries a crate is linked into, as Cargo's own tree says.
fn made_from(checkout: &Checkout, name: &str) -> BTreeSet<String> {
    let inverse = [
        "tree",
        "--workspace",
        "--locked",
        "--edges=normal,build",
        "--prefix=none",
    ];
    let tree = checkout.cargo(&[&inverse[..], &["--invert", name]].concat());
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let functions = e2e::functions::all()
        .into_iter()
        .map(|function| function.name);
    functions
        .filter(|function| crates.contains(function.as_str()))
        .collect()
}

#[tokio::test]
async fn a_plan_names_the_functions_that_a_change_reaches_and_what_it_comes_through() {
    let checkout = Checkout::changed("planned", |_| ()).await;
    checkout.run(&format!("deploy --stage {STAGE}")).await.did();
    let history = Account::dev().history().await;
    assert_eq!(planned(&checkout).await, BTreeMap::new());

    let main = "services/notes-api/notes-get/src/main.rs";
    checkout.append(main, "\n// Nothing.\n");
    let get = (
        "notes-get".to_owned(),
        "through services/notes-api/notes-get".to_owned(),
    );
    assert_eq!(planned(&checkout).await, BTreeMap::from([get]));
    checkout.restore(main);

    let mut reached = Vec::new();
    for library in ["xray", "idempotency", "dynamodb"] {
        let source = format!("libs/{library}/src/lib.rs");
        checkout.append(&source, "\n// Nothing.\n");
        let planned = planned(&checkout).await;
        checkout.restore(&source);
        let through = format!("through libs/{library}");
        assert!(planned.values().all(|why| *why == through), "{planned:?}");
        let functions: BTreeSet<String> = planned.into_keys().collect();
        assert_eq!(functions, made_from(&checkout, library), "{library}");
        reached.push(functions.len());
    }
    let all = e2e::functions::all().len();
    assert_eq!(reached[0], all);
    assert!((1..all).contains(&reached[1]), "{reached:?}");
    assert_eq!(Account::dev().history().await, history);
}

/// Takes a crate that is not ours in a newer version: its own sources under the next number. Returns both numbers.
fn bump(checkout: &Checkout, name: &str) -> (String, String) {
    // Without the filter, Cargo needs the dependencies of all platforms, which nothing has downloaded.
    let metadata = checkout.cargo(&[
        "metadata",
        "--locked",
        "--format-version=1",
        "--filter-platform=host-tuple",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == name).unwrap();
    let version = package["version"].as_str().unwrap();
    let (rest, last) = version.rsplit_once('.').unwrap();
    let next = format!("{rest}.{}", last.parse::<u32>().unwrap() + 1);
    let from = Path::new(package["manifest_path"].as_str().unwrap())
        .parent()
        .unwrap();
    for entry in WalkDir::new(from) {
        let entry = entry.unwrap();
        let below = entry.path().strip_prefix(from).unwrap();
        let to = checkout.path("newer").join(name).join(below);
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(to).unwrap(),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
    let manifest = format!("newer/{name}/Cargo.toml");
    checkout.edit(
        &manifest,
        &format!("version = \"{version}\""),
        &format!("version = \"{next}\""),
    );
    checkout.edit("Cargo.toml", "exclude = [", "exclude = [\"newer\", ");
    checkout.append(
        "Cargo.toml",
        &format!("\n[patch.crates-io]\n{name} = {{ path = \"newer/{name}\" }}\n"),
    );
    checkout.cargo(&["update", "--package", name]);
    (version.into(), next)
}

#[tokio::test]
async fn a_newer_dependency_changes_the_functions_that_it_is_linked_into_alone() {
    const DEPENDENCY: &str = "miniserde";
    let checkout = Checkout::changed("bumped", |_| ()).await;
    checkout.run(&format!("deploy --stage {STAGE}")).await.did();
    let expected = made_from(&checkout, DEPENDENCY);
    let (before, after) = bump(&checkout, DEPENDENCY);
    let planned = planned(&checkout).await;
    for why in planned.values() {
        assert!(
            why.contains(&format!("{DEPENDENCY} {before}")),
            "{before} → {after}: {why}"
        );
    }
    let functions: BTreeSet<String> = planned.into_keys().collect();
    assert_eq!(functions, expected);
    assert!((1..e2e::functions::all().len()).contains(&expected.len()));
}
