//! Tests of `cargo xtask plan`: a changed source file changes only the functions that are built from this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs; // part: billing
use std::path::Path; // part: billing

use serde_json::Value; // part: billing
use walkdir::WalkDir; // part: billing

use crate::account::Account;
use crate::checkout::Checkout;

const STAGE: &str = "feature-1";

/// Runs `cargo xtask plan`. Returns the functions that the plan changes, each with the cause of the change.
async fn planned(checkout: &Checkout) -> BTreeMap<String, String> {
    let output = checkout
        .run(&format!("plan --stage {STAGE}"))
        .await
        .success();
    let lines = output.lines().filter(|line| line.starts_with('~'));
    let reasons = lines.map(|line| line.split_once(": ").unwrap().1);
    let changed = reasons.map(|reason| {
        let (function, why) = reason.split_once(" changed, ").unwrap_or_else(|| {
            panic!("the plan lists a change that is not of a function: {output}")
        });
        (function.to_owned(), why.to_owned())
    });
    changed.collect()
}

/// Returns the names of the functions that link the crate `name`, according to `cargo tree`.
fn functions_with(checkout: &Checkout, name: &str) -> BTreeSet<String> {
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
    let functions = test_support::functions::all()
        .into_iter()
        .map(|function| function.name);
    functions
        .filter(|function| crates.contains(function.as_str()))
        .collect()
}

#[tokio::test]
async fn a_plan_lists_each_function_that_a_change_affects_with_the_cause() {
    let checkout = Checkout::changed("planned", |_| ()).await;
    checkout
        .run(&format!("deploy --stage {STAGE}"))
        .await
        .success();
    let history = Account::dev().history().await;
    assert_eq!(planned(&checkout).await, BTreeMap::new());

    let main = "services/notes-api/notes-get/src/main.rs";
    checkout.append(main, "\n// A comment.\n");
    let get = (
        "notes-get".to_owned(),
        "through services/notes-api/notes-get".to_owned(),
    );
    assert_eq!(planned(&checkout).await, BTreeMap::from([get]));
    checkout.restore(main);

    let mut counts = Vec::new();
    for library in ["xray", "idempotency", "dynamodb"] {
        let source = format!("libs/{library}/src/lib.rs");
        checkout.append(&source, "\n// A comment.\n");
        let planned = planned(&checkout).await;
        checkout.restore(&source);
        let through = format!("through libs/{library}");
        assert!(planned.values().all(|why| *why == through), "{planned:?}");
        let functions: BTreeSet<String> = planned.into_keys().collect();
        assert_eq!(functions, functions_with(&checkout, library), "{library}");
        counts.push(functions.len());
    }
    let all = test_support::functions::all().len();
    assert_eq!(counts[0], all);
    assert!((1..all).contains(&counts[1]), "{counts:?}");
    assert_eq!(Account::dev().history().await, history);
}

// part: billing {
/// Replaces a third-party crate by a copy with the next patch version. Returns the old and the new version.
fn bump(checkout: &Checkout, name: &str) -> (String, String) {
    let metadata = checkout.cargo(&[
        "metadata",
        "--locked",
        "--format-version=1",
        // Without the filter, Cargo needs the dependencies of all platforms, which nothing has downloaded.
        "--filter-platform=host-tuple",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == name).unwrap();
    let version = package["version"].as_str().unwrap();
    let (rest, last) = version.rsplit_once('.').unwrap();
    let next = format!("{rest}.{}", last.parse::<u32>().unwrap() + 1);
    let sources = Path::new(package["manifest_path"].as_str().unwrap())
        .parent()
        .unwrap();
    for entry in WalkDir::new(sources) {
        let entry = entry.unwrap();
        let relative = entry.path().strip_prefix(sources).unwrap();
        let to = checkout.path("newer").join(name).join(relative);
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
async fn a_dependency_update_changes_only_the_functions_that_link_the_dependency() {
    const DEPENDENCY: &str = "miniserde";
    let checkout = Checkout::changed("bumped", |_| ()).await;
    checkout
        .run(&format!("deploy --stage {STAGE}"))
        .await
        .success();
    let expected = functions_with(&checkout, DEPENDENCY);
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
    assert!((1..test_support::functions::all().len()).contains(&expected.len()));
}
// part: billing }
