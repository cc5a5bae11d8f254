//! Checks that the log of functions has no lines of other people's crates.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

use crate::root;

/// Returns the prefixes in the list `DISABLED_TARGETS` of libs/function/src/log.rs.
fn disabled() -> Vec<String> {
    let text = fs::read_to_string(root().join("libs/function/src/log.rs")).unwrap();
    let (_, list) = text.split_once("const DISABLED_TARGETS").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.split('"').skip(1).step_by(2).map(Into::into).collect()
}

#[test]
fn crates_from_registries_write_no_log_lines() {
    let manifest = root().join("Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .exec()
        .unwrap();
    let packages: HashMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let nodes: HashMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let services = root().join("services");
    let functions = metadata.packages.iter().filter(|package| {
        package
            .manifest_path
            .starts_with(services.to_str().unwrap())
    });
    let mut open: Vec<&PackageId> = functions.map(|package| &package.id).collect();
    let (mut seen, mut tracing) = (BTreeSet::new(), BTreeSet::new());
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in &nodes[id].deps {
            let kinds = &dependency.dep_kinds;
            if !kinds.iter().any(|kind| kind.kind == DependencyKind::Normal) {
                continue;
            }
            open.push(&dependency.pkg);
            if packages[&dependency.pkg].name == "tracing" && packages[id].source.is_some() {
                tracing.insert(packages[id].targets[0].name.replace('-', "_"));
            }
        }
    }
    assert!(tracing.len() > 5, "{tracing:?}");
    let disabled = disabled();
    tracing.retain(|name| !disabled.iter().any(|prefix| name.starts_with(prefix)));
    assert!(
        tracing.is_empty(),
        "add {tracing:?} to DISABLED_TARGETS in libs/function/src/log.rs"
    );
}
