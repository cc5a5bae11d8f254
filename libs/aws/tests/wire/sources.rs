//! Searches the source code of the functions and libraries for the AWS operations that they call.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Returns the service and the name of every AWS operation in the source code. Finds an operation by the name of its
/// input type, such as `GetItemInput`, and an operation of `aws::Objects` by the call that creates it.
pub(crate) fn operations() -> BTreeSet<(String, String)> {
    let mut operations = BTreeSet::new();
    for (path, source) in files() {
        let services: BTreeSet<_> = between(&source, "aws_sdk_", |c| c.is_alphanumeric()).collect();
        let words = source.split(|c: char| !c.is_alphanumeric());
        for word in words {
            let word = word.strip_suffix("Builder").unwrap_or(word);
            let name = word.strip_suffix("Input").unwrap_or_default();
            if name.starts_with(|c: char| c.is_uppercase()) && !services.is_empty() {
                assert_eq!(services.len(), 1, "{path} uses several services: split it");
                operations.extend(
                    services
                        .iter()
                        .map(|&service| (service.into(), name.into())),
                );
            }
        }
        for name in between(&source, "operation(bucket, \"", |c| c != '"') {
            operations.insert(("s3".into(), name.into()));
        }
    }
    operations
}

/// Returns the AWS services for which the source code creates a client.
pub(crate) fn services() -> BTreeSet<String> {
    let mut services = BTreeSet::new();
    for (_, source) in files() {
        let clients = between(&source, ".client(\"", |c| c != '"').map(str::to_owned);
        services.extend(clients);
        if source.contains(".objects(") {
            services.insert("s3".into());
        }
    }
    services
}

/// Returns the text after each occurrence of `start`, up to the first character for which `part` returns false.
fn between<'a>(
    source: &'a str,
    start: &'a str,
    part: fn(char) -> bool,
) -> impl Iterator<Item = &'a str> {
    let rest = source.split(start).skip(1);
    rest.map(move |rest| rest.split(|c| !part(c)).next().unwrap_or_default())
}

/// Returns the path and the content of every Rust file below `libs` and `services`, except tests.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["libs", "services"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        read(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty());
    files
}

fn read(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !["node_modules", "target", "tests"]
                .iter()
                .any(|name| path.ends_with(name))
            {
                read(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            files.push((path.display().to_string(), source));
        }
    }
}
