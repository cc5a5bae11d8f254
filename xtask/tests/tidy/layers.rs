//! Checks the layers of the services' code: a controller does not depend on Lambda, HTTP or AWS,
//! and a service does not depend on a controller.

use std::path::PathBuf;

use crate::{files, imports::named_paths};

/// The crates that a controller must not use. An entry also matches the crates whose names begin
/// with the entry and `_`: the entry `aws` matches `aws_sdk_s3`.
const OUTSIDE: [&str; 9] = [
    "api", "aws", "dynamodb", "http", "https", "hyper", "lambda", "reqwest", "stripe",
];

/// The source files of the layer `name` in all services and in the template of services, without the in-memory
/// implementations.
fn layer(name: &str) -> Vec<PathBuf> {
    let mut found = files("services", &["rs"]);
    found.extend(files("xtask/scaffold/template/services", &["rs"]));
    found.retain(|file| {
        // Skip the in-memory services, because they are only for tests.
        if file.ends_with("memory.rs") {
            return false;
        }
        let is_module = file.file_stem().is_some_and(|stem| stem == name);
        is_module || file.iter().any(|folder| folder == name)
    });
    assert!(found.len() > 2, "{found:?}");
    found
}

#[test]
fn controllers_import_neither_lambda_nor_http_nor_aws() {
    for file in layer("controller") {
        for path in named_paths(&file) {
            let [first, _, ..] = path.as_slice() else {
                continue;
            };
            let is_outside = OUTSIDE
                .iter()
                .any(|name| first == name || first.starts_with(&format!("{name}_")));
            let is_http = first == "crate" && path.iter().any(|name| name == "http");
            assert!(
                !is_outside && !is_http,
                "{}: {}",
                file.display(),
                path.join("::")
            );
        }
    }
}

#[test]
fn services_do_not_import_controllers() {
    for file in layer("service") {
        for path in named_paths(&file) {
            assert!(
                !path.iter().any(|name| name == "controller"),
                "{}: {}",
                file.display(),
                path.join("::")
            );
        }
    }
}
