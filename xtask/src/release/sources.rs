//! What a function is made from, by Cargo's graph: it says whether there is anything to build, without building.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::{
    table::{Architecture, Build},
    template::{hash, short_hash},
};
use crate::{package, workspace::Workspace};

/// What a function is made from: its crates, theirs of others, the compiler and how it is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// A hash of each part, by what it is: a crate's folder, `name version` of what is not ours, or a setting.
    parts: BTreeMap<String, String>,
}

/// Parts that are no crates.
const COMPILER: &str = "the compiler";
const PROFILE: &str = "the build profile";
const TARGET: &str = "what it is built for";
const LINKER: &str = "how it is linked";

impl Sources {
    /// What is known of a binary that was built by whoever has the sources at hand: that it is this one.
    pub(crate) fn of_binary(artefact: &str) -> Self {
        Self {
            parts: BTreeMap::from([("its binary".into(), artefact.into())]),
        }
    }

    /// One hash of all.
    pub(crate) fn fingerprint(&self) -> String {
        hash(&self.parts)
    }

    /// Why these are not the earlier ones, in words.
    pub(crate) fn reasons(&self, earlier: &Self) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut versions: BTreeMap<&str, [BTreeSet<&str>; 2]> = BTreeMap::new();
        for (side, parts, others) in [
            (0, &earlier.parts, &self.parts),
            (1, &self.parts, &earlier.parts),
        ] {
            for (part, hash) in parts {
                if others.get(part) == Some(hash) {
                    continue;
                }
                match part.rsplit_once(' ') {
                    Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
                        if let Some(versions) = versions.entry(name).or_default().get_mut(side) {
                            versions.insert(version);
                        }
                    }
                    // Once, with the side that has it.
                    _ if side == 0 && others.contains_key(part) => {}
                    _ => reasons.push(format!("through {part}")),
                }
            }
        }
        for (name, [before, after]) in versions {
            let list =
                |versions: BTreeSet<&str>| versions.into_iter().collect::<Vec<_>>().join(", ");
            reasons.push(match (list(before), list(after)) {
                (before, after) if before == after => {
                    format!("through {name} {after}, which is built otherwise")
                }
                (before, after) if before.is_empty() => {
                    format!("through {name} {after}, which is new")
                }
                (before, after) if after.is_empty() => {
                    format!("through {name} {before}, which is gone")
                }
                (before, after) => format!("through {name} {before} → {after}"),
            });
        }
        reasons
    }
}

/// Reads what each function of the checkout is made from, by the functions' names.
///
/// # Errors
/// When Cargo cannot read the workspace, or a file cannot be read.
pub(crate) fn read(
    workspace: &Workspace,
    build: Build,
    architecture: Architecture,
) -> Result<BTreeMap<String, Sources>> {
    let root = workspace.root();
    let target = match (build, architecture) {
        (Build::Release, _) => package::target(architecture),
        (Build::Dev, Architecture::Arm64) => "aarch64-unknown-linux-gnu",
        (Build::Dev, Architecture::X86) => "x86_64-unknown-linux-gnu",
    };
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            target.to_owned(),
        ])
        .exec()
        .context("Cargo cannot read the workspace")?;
    let resolve = metadata
        .resolve
        .as_ref()
        .context("Cargo resolves dependencies")?;
    let packages: BTreeMap<&PackageId, &Package> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package))
        .collect();
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let built = node.deps.iter().filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development)
            });
            (&node.id, built.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    let features: BTreeMap<&PackageId, String> = resolve
        .nodes
        .iter()
        .map(|node| (&node.id, hash(&node.features)))
        .collect();
    let locked = locked(root)?;
    let mut own = BTreeMap::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none())
    {
        own.insert(&package.id, of_folder(package)?);
    }
    let settings = settings(root, &metadata, build, target)?;
    let mut sources = BTreeMap::new();
    for function in workspace.functions() {
        let package = metadata.packages.iter().find(|package| {
            package.source.is_none()
                && package
                    .targets
                    .iter()
                    .any(|target| target.is_bin() && target.name == function.name)
        });
        let package = package.with_context(|| format!("Cargo does not know {}", function.name))?;
        let mut parts = settings.clone();
        let (mut reached, mut next) = (BTreeSet::new(), vec![&package.id]);
        while let Some(id) = next.pop() {
            if !reached.insert(id) {
                continue;
            }
            next.extend(edges.get(id).into_iter().flatten());
            let package = packages.get(id).context("Cargo lists what it resolves")?;
            let features = features.get(id).map_or("", String::as_str);
            match own.get(id) {
                Some(content) => {
                    let folder = package
                        .manifest_path
                        .parent()
                        .context("a manifest is in a folder")?;
                    let folder = folder
                        .as_std_path()
                        .strip_prefix(root)
                        .unwrap_or(folder.as_std_path());
                    parts.insert(
                        folder.display().to_string(),
                        short_hash(&(content, features)),
                    );
                }
                None => {
                    let name = format!("{} {}", package.name, package.version);
                    let checksum = locked.get(&name).cloned().unwrap_or_default();
                    parts.insert(name, short_hash(&(checksum, features)));
                }
            }
        }
        sources.insert(function.name.clone(), Sources { parts });
    }
    Ok(sources)
}

/// The pins in requirements.txt of what links: zig's C library is in every function.
const LINKERS: [&str; 2] = ["cargo-lambda==", "ziglang=="];

/// What all functions share.
fn settings(
    root: &Path,
    metadata: &Metadata,
    build: Build,
    target: &str,
) -> Result<BTreeMap<String, String>> {
    let profile = match build {
        Build::Dev => "dev",
        Build::Release => "release",
    };
    // The profile alone: the rest of the workspace's manifest is known by what Cargo makes of it.
    let manifest =
        fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml cannot be read")?;
    let mut sections = String::new();
    let mut wanted = false;
    for line in manifest.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let named = section.strip_prefix("profile.").unwrap_or_default();
            wanted = named.split('.').next() == Some(profile);
        }
        if wanted && !line.trim_start().starts_with('#') && !line.trim().is_empty() {
            sections = sections + line + "\n";
        }
    }
    let configuration = fs::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
    let rustc = Command::new("rustc")
        .arg("-vV")
        .current_dir(&metadata.workspace_root)
        .output();
    let rustc = rustc.context("rustc cannot be started")?;
    if !rustc.status.success() {
        bail!(
            "rustc does not say its version: {}",
            String::from_utf8_lossy(&rustc.stderr)
        );
    }
    let mut settings = BTreeMap::from([
        (
            COMPILER.into(),
            hash(&String::from_utf8_lossy(&rustc.stdout)),
        ),
        (PROFILE.into(), hash(&(profile, sections, configuration))),
        (TARGET.into(), hash(&target)),
    ]);
    if build == Build::Release {
        let pins = fs::read_to_string(root.join("requirements.txt"));
        let pins = pins.context("requirements.txt cannot be read")?;
        settings.insert(LINKER.into(), linked(&pins));
    }
    Ok(settings)
}

/// What links a release: the flags, and what of the pinned tools is part of a binary or makes it.
fn linked(pins: &str) -> String {
    let part = |line: &&str| LINKERS.iter().any(|tool| line.starts_with(tool));
    hash(&(package::STATIC, Vec::from_iter(pins.lines().filter(part))))
}

/// The checksums of what is not ours, by `name version`.
fn locked(root: &Path) -> Result<BTreeMap<String, String>> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = package
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(checksum)) =
            (field("name"), field("version"), field("checksum"))
        {
            checksums.insert(format!("{name} {version}"), checksum);
        }
    }
    Ok(checksums)
}

/// A hash of the files of a crate that its binary can be made from.
fn of_folder(package: &Package) -> Result<String> {
    let folder = package
        .manifest_path
        .parent()
        .context("a manifest is in a folder")?
        .as_std_path();
    let not_built = [
        "benches",
        "examples",
        "node_modules",
        "target",
        "test",
        "tests",
    ];
    let mut content = Sha256::new();
    let entries = WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let skipped = entry.depth() == 1
                && entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| not_built.contains(&name));
            // A crate below is a crate of its own.
            let other = entry.depth() > 0 && entry.path().join("Cargo.toml").exists();
            !(entry.file_type().is_dir() && (skipped || other))
        });
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path())?;
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            content.update(name.to_string_lossy().as_bytes());
            content.update(bytes.len().to_le_bytes());
            content.update(bytes);
        }
    }
    Ok(content
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(parts: &[(&str, &str)]) -> Sources {
        let parts = parts
            .iter()
            .map(|(part, hash)| ((*part).to_owned(), (*hash).to_owned()));
        Sources {
            parts: parts.collect(),
        }
    }

    #[test]
    fn what_changed_is_told_by_name() {
        let before = sources(&[
            ("libs/api", "1"),
            ("libs/aws", "1"),
            ("serde 1.0.1", "1"),
            (PROFILE, "1"),
        ]);
        let after = sources(&[
            ("libs/api", "2"),
            ("libs/aws", "1"),
            ("serde 1.0.2", "1"),
            (PROFILE, "2"),
        ]);
        assert!(before.reasons(&before).is_empty());
        assert_eq!(
            after.reasons(&before),
            [
                "through libs/api",
                "through the build profile",
                "through serde 1.0.1 → 1.0.2",
            ]
        );
    }

    #[test]
    fn a_dependency_that_comes_or_goes_or_has_other_features_is_told() {
        let [one, two] = [
            sources(&[("a 1.0.0", "1")]),
            sources(&[("a 1.0.0", "2"), ("b 2.0.0", "1")]),
        ];
        assert_eq!(
            two.reasons(&one),
            [
                "through a 1.0.0, which is built otherwise",
                "through b 2.0.0, which is new"
            ]
        );
        assert_eq!(
            one.reasons(&two).last().unwrap(),
            "through b 2.0.0, which is gone"
        );
    }

    #[test]
    fn another_linker_makes_other_functions_and_another_tool_does_not() {
        let before = linked("botocore==1.0\nziglang==0.17.0 \\\n    --hash=1\n");
        let other_tool = linked("botocore==1.1\nziglang==0.17.0 \\\n    --hash=1\n");
        let other_linker = linked("botocore==1.0\nziglang==0.18.0 \\\n    --hash=2\n");
        assert_eq!(before, other_tool);
        assert_ne!(before, other_linker);
    }

    #[test]
    fn a_function_is_made_from_what_it_reaches_and_nothing_else() {
        let workspace = Workspace::read().unwrap();
        let sources = read(&workspace, Build::Release, Architecture::Arm64).unwrap();
        let with = |part: &str| {
            let having = sources
                .iter()
                .filter(|(_, sources)| sources.parts.contains_key(part));
            having
                .map(|(name, _)| name.as_str())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            with("services/notes-api/notes-get"),
            BTreeSet::from(["notes-get"])
        );
        assert_eq!(with("libs/xray").len(), sources.len());
        assert_eq!(
            with("services/notify-job/notify-send"),
            BTreeSet::from(["notify-send"])
        );
        assert!(
            with("libs/idempotency").contains("notes-create")
                && !with("libs/idempotency").contains("notes-get")
        );
        let of_stripe = sources["billing-purchase"]
            .parts
            .keys()
            .filter(|part| part.starts_with("async-stripe-core "));
        assert_eq!(of_stripe.count(), 1);
        assert!(
            !sources["notes-get"]
                .parts
                .keys()
                .any(|part| part.starts_with("async-stripe-core "))
        );
        assert!(
            !with("libs/api").is_empty()
                && with("xtask").is_empty()
                && with("local/stripe").is_empty()
        );
    }
}
