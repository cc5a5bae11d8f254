//! Checks that each Lambda function has one name everywhere: `SERVICE-ACTION`. SERVICE is the name
//! of the service's folder without its last part (`notes` for `notes-api`). The crate, its folder,
//! its binary, the entry in serverless.yml, the deployed Lambda function, its role, its zip, its
//! sample event and its golden file have this name. The prefix SERVICE lets two services have
//! functions with the same action.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{MetadataCommand, TargetKind};
use serde::Deserialize;

use crate::root;

/// The part of a service's serverless.yml that defines the service's functions.
#[derive(Deserialize)]
struct Manifest {
    functions: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    package: Package,
    iam_role_statements_name: String,
}

#[derive(Deserialize)]
struct Package {
    artifact: String,
}

/// Returns the prefix of the function names of `service`: `notes-` for the service `notes-api`.
fn prefix(service: &str) -> String {
    let (prefix, _) = service.rsplit_once('-').unwrap_or((service, ""));
    format!("{prefix}-")
}

/// Checks the names of a crate, its folder and its binary. Returns a message if a name breaks the
/// naming rule, or else `None`.
fn fault(service: &str, folder: &str, package: &str, binary: &str) -> Option<String> {
    if !package.starts_with(&prefix(service)) {
        return Some(format!(
            "the crate {package} of {service} must be named {}ACTION",
            prefix(service)
        ));
    }
    if folder != package || binary != package {
        return Some(format!(
            "the folder {folder} and the binary {binary} must have the name of their crate, {package}"
        ));
    }
    None
}

/// Returns the names of a service's crates that have a binary. Panics if a name breaks the naming
/// rule.
fn crates(service: &Path) -> BTreeSet<String> {
    let mut metadata = MetadataCommand::new();
    let metadata = metadata.manifest_path(root().join("Cargo.toml")).no_deps();
    let mut crates = BTreeSet::new();
    for package in metadata.exec().unwrap().packages {
        let folder = package.manifest_path.parent().unwrap();
        let binary = package
            .targets
            .iter()
            .find(|target| target.kind.contains(&TargetKind::Bin));
        if let Some(binary) = binary
            && folder.as_std_path().parent() == Some(service)
        {
            let service = service.file_name().unwrap().to_string_lossy();
            let folder = folder.file_name().unwrap();
            let fault = fault(&service, folder, &package.name, &binary.name);
            assert_eq!(fault, None);
            crates.insert(package.name.to_string());
        }
    }
    crates
}

#[test]
fn a_function_has_one_name_everywhere() {
    let mut all = BTreeSet::new();
    for service in fs::read_dir(root().join("services")).unwrap() {
        let service = service.unwrap().path();
        let manifest = fs::read_to_string(service.join("serverless.yml")).unwrap();
        let Manifest { functions } = serde_saphyr::from_str(&manifest).unwrap();
        let names: BTreeSet<_> = functions.keys().cloned().collect();
        assert_eq!(names, crates(&service), "{}", service.display());
        for (name, entry) in functions {
            let deployed = format!("scratchpad-${{sls:stage}}-{name}");
            assert_eq!(entry.name, deployed);
            assert_eq!(entry.iam_role_statements_name, deployed);
            assert!(
                entry.package.artifact.ends_with(&format!("/{name}.zip")),
                "{name}"
            );
            for file in [
                format!("events/{name}.json"),
                format!("tests/golden/{name}.json"),
            ] {
                assert!(root().join(&file).exists(), "{file} is missing");
            }
            all.insert(name);
        }
    }
    for folder in ["events", "tests/golden"] {
        let files = crate::files(folder, &["json"]);
        // The folder `tables` has the tables to which the events refer.
        let files = files
            .iter()
            .filter(|file| file.parent().is_some_and(|parent| parent.ends_with(folder)));
        let names = files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned());
        assert_eq!(names.collect::<BTreeSet<_>>(), all, "{folder}");
    }
}

#[test]
fn a_crate_without_the_prefix_of_its_service_is_rejected() {
    let good = "drafts-list";
    assert_eq!(fault("drafts-api", good, good, good), None);
    let refused = [
        ("list", "list", "list"),
        ("notes-list", "notes-list", "notes-list"),
        ("list", "drafts-list", "drafts-list"),
        ("drafts-list", "drafts-list", "list"),
    ];
    for (folder, package, binary) in refused {
        assert!(fault("drafts-api", folder, package, binary).is_some());
    }
}
