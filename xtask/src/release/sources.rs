//! The inputs that each function is built from: the crates in Cargo's dependency graph, the compiler and the build
//! settings. A comparison of the inputs of two releases shows which functions differ, without a build.

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
    hash::{hex, json_hash, short_json_hash},
    table::{Architecture, Build},
};
use crate::{package, workspace::Workspace};

/// The inputs of a function: the crates that it is built from, the compiler and the build settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// The hash of each input. The key is the folder of a workspace crate, `name version` of another crate, or one of
    /// [`COMPILER`], [`PROFILE`], [`TARGET`], [`LINKER`] and [`BINARY`].
    parts: BTreeMap<String, String>,
}

/// The key of the compiler in [`Sources::parts`]. The next four constants are the keys of the other inputs that are not
/// crates.
const COMPILER: &str = "the compiler";
const PROFILE: &str = "the build profile";
const TARGET: &str = "the target platform";
const LINKER: &str = "the linker settings";
const BINARY: &str = "the binary";

impl Sources {
    /// Returns inputs that consist only of a binary that is already built. `artifact` is the hash of the binary's zip.
    pub(crate) fn of_binary(artifact: &str) -> Self {
        Self {
            parts: BTreeMap::from([(BINARY.into(), artifact.into())]),
        }
    }

    /// Returns one hash of all inputs. Two functions have the same hash only if all their inputs are equal.
    pub(crate) fn fingerprint(&self) -> String {
        json_hash(&self.parts)
    }

    /// Returns a text such as `through libs/api` for each input that differs from the same input in `earlier`.
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
                    // An input that is in both `earlier` and `self` is listed only once, for `self`.
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
                    format!("through {name} {after} (other features or checksum)")
                }
                (before, after) if before.is_empty() => format!("through {name} {after} (new)"),
                (before, after) if after.is_empty() => {
                    format!("through {name} {before} (removed)")
                }
                (before, after) => format!("through {name} {before} → {after}"),
            });
        }
        reasons
    }
}

/// Returns the inputs of each function in the checkout. The keys are the functions' names.
///
/// # Errors
/// Fails if Cargo cannot read the workspace, `rustc -vV` fails, or a file cannot be read.
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
        .context("cannot read the workspace with cargo metadata")?;
    let settings = build_settings(root, &metadata, build, target)?;
    let graph = Graph::new(root, &metadata)?;
    let mut sources = BTreeMap::new();
    for function in workspace.functions() {
        let mut parts = settings.clone();
        for id in graph.reachable(graph.function_package(&function.name)?) {
            let (part, hash) = graph.part(id)?;
            parts.insert(part, hash);
        }
        sources.insert(function.name.clone(), Sources { parts });
    }
    Ok(sources)
}

/// Returns one hash per function, of the inputs of its release build for this machine and of the files in `others`. The paths of
/// `others` are relative to the root of the checkout. `{}` in a path stands for the function's name.
///
/// # Errors
/// Fails as [`read`] does.
pub(crate) fn fingerprints(
    workspace: &Workspace,
    others: &[&str],
) -> Result<BTreeMap<String, String>> {
    let sources = read(workspace, Build::Release, Architecture::HOST)?;
    let mut fingerprints = BTreeMap::new();
    for (function, sources) in sources {
        let mut hashes = vec![sources.fingerprint()];
        for other in others {
            let path = workspace.root().join(other.replace("{}", &function));
            hashes.push(match path.is_dir() {
                true => folder_hash(&path)?,
                false => json_hash(&fs::read_to_string(&path).unwrap_or_default()),
            });
        }
        fingerprints.insert(function, short_json_hash(&hashes));
    }
    Ok(fingerprints)
}

/// Cargo's dependency graph, with a hash of each crate.
struct Graph<'a> {
    root: &'a Path,
    packages: BTreeMap<&'a PackageId, &'a Package>,
    /// The direct dependencies of each package, without its dev-dependencies.
    dependencies: BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
    /// The hash of the enabled features of each package.
    features: BTreeMap<&'a PackageId, String>,
    /// The hash of the files of each workspace crate. Crates from registries have no entry.
    own: BTreeMap<&'a PackageId, String>,
    /// The checksum in Cargo.lock of each crate from a registry. The keys have the form `name version`.
    checksums: BTreeMap<String, String>,
}

impl<'a> Graph<'a> {
    fn new(root: &'a Path, metadata: &'a Metadata) -> Result<Self> {
        let resolve = metadata
            .resolve
            .as_ref()
            .context("cannot find the dependency graph in the output of cargo metadata")?;
        let mut dependencies = BTreeMap::new();
        let mut features = BTreeMap::new();
        for node in &resolve.nodes {
            let built = node.deps.iter().filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development)
            });
            let built: Vec<_> = built.map(|dependency| &dependency.pkg).collect();
            dependencies.insert(&node.id, built);
            features.insert(&node.id, json_hash(&node.features));
        }
        let mut packages = BTreeMap::new();
        let mut own = BTreeMap::new();
        for package in &metadata.packages {
            packages.insert(&package.id, package);
            if package.source.is_none() {
                own.insert(&package.id, folder_hash(crate_folder(package)?)?);
            }
        }
        Ok(Self {
            root,
            packages,
            dependencies,
            features,
            own,
            checksums: locked_checksums(root)?,
        })
    }

    /// Returns the workspace package that has a binary with the name `function`.
    fn function_package(&self, function: &str) -> Result<&'a PackageId> {
        let package = self.packages.values().find(|package| {
            package.source.is_none()
                && package
                    .targets
                    .iter()
                    .any(|target| target.is_bin() && target.name == function)
        });
        let package =
            package.with_context(|| format!("cannot find the crate with the binary {function}"))?;
        Ok(&package.id)
    }

    /// Returns `package` and all its direct and transitive dependencies.
    fn reachable(&self, package: &'a PackageId) -> BTreeSet<&'a PackageId> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![package]);
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                next.extend(self.dependencies.get(id).into_iter().flatten());
            }
        }
        reached
    }

    /// Returns the entry of a package in [`Sources::parts`]: its key, and the hash of its content and enabled features.
    fn part(&self, id: &PackageId) -> Result<(String, String)> {
        let package = self
            .packages
            .get(id)
            .context("cannot find a dependency in the output of cargo metadata")?;
        let features = self.features.get(id).map_or("", String::as_str);
        match self.own.get(id) {
            Some(content) => {
                let folder = crate_folder(package)?;
                let folder = folder.strip_prefix(self.root).unwrap_or(folder);
                let hash = short_json_hash(&(content, features));
                Ok((folder.display().to_string(), hash))
            }
            None => {
                let name = format!("{} {}", package.name, package.version);
                let checksum = self.checksums.get(&name).cloned().unwrap_or_default();
                let hash = short_json_hash(&(checksum, features));
                Ok((name, hash))
            }
        }
    }
}

fn crate_folder(package: &Package) -> Result<&Path> {
    let folder = package
        .manifest_path
        .parent()
        .context("cannot find the folder of a manifest")?;
    Ok(folder.as_std_path())
}

/// The beginnings of the lines in requirements.txt that pin the tools which link a function. These tools are inputs of
/// the function because zig's C library becomes part of the binary.
const LINKERS: [&str; 2] = ["cargo-lambda==", "ziglang=="];

/// Returns the inputs that are the same for all functions: the compiler, the build profile, the target platform and the
/// linker. The keys and hashes are entries of [`Sources::parts`].
fn build_settings(
    root: &Path,
    metadata: &Metadata,
    build: Build,
    target: &str,
) -> Result<BTreeMap<String, String>> {
    let profile = match build {
        Build::Dev => "dev",
        Build::Release => "release",
    };
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let profile_text = profile_sections(&manifest, profile);
    let configuration = fs::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
    let rustc = Command::new("rustc")
        .arg("-vV")
        .current_dir(&metadata.workspace_root)
        .output();
    let rustc = rustc.context("cannot start rustc")?;
    if !rustc.status.success() {
        bail!(
            "rustc -vV failed: {}",
            String::from_utf8_lossy(&rustc.stderr)
        );
    }
    let mut settings = BTreeMap::from([
        (
            COMPILER.into(),
            json_hash(&String::from_utf8_lossy(&rustc.stdout)),
        ),
        (
            PROFILE.into(),
            json_hash(&(profile, profile_text, configuration)),
        ),
        (TARGET.into(), json_hash(&target)),
    ]);
    if build == Build::Release {
        let pins = fs::read_to_string(root.join("requirements.txt"));
        let pins = pins.context("cannot read requirements.txt")?;
        settings.insert(LINKER.into(), linker_hash(&pins));
    }
    Ok(settings)
}

/// Returns the sections of the build profile `profile` in the text of the workspace's Cargo.toml, without comments. The
/// other sections need no hash, because their effects are in the packages and features that `cargo metadata` prints.
fn profile_sections(manifest: &str, profile: &str) -> String {
    let mut sections = String::new();
    let mut in_profile = false;
    for line in manifest.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let name = section.strip_prefix("profile.").unwrap_or_default();
            in_profile = name.split('.').next() == Some(profile);
        }
        if in_profile && !line.trim_start().starts_with('#') && !line.trim().is_empty() {
            sections = sections + line + "\n";
        }
    }
    sections
}

/// Returns one hash of the linker flags and of the pinned versions of the tools in [`LINKERS`]. `pins` is the text of
/// requirements.txt.
fn linker_hash(pins: &str) -> String {
    let is_linker = |line: &&str| LINKERS.iter().any(|tool| line.starts_with(tool));
    json_hash(&(
        package::STATIC,
        Vec::from_iter(pins.lines().filter(is_linker)),
    ))
}

/// Reads the checksum of each registry crate from Cargo.lock. The keys have the form `name version`.
fn locked_checksums(root: &Path) -> Result<BTreeMap<String, String>> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
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

/// The names of folders in a crate whose files do not affect the crate's binary.
const NOT_BUILT: [&str; 6] = [
    "benches",
    "examples",
    "node_modules",
    "target",
    "test",
    "tests",
];

/// Returns the hash of the files in a crate's folder, without the folders in [`NOT_BUILT`] and without nested crates.
fn folder_hash(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let entries = WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| {
            let is_skipped = entry.depth() == 1
                && entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| NOT_BUILT.contains(&name));
            // A nested crate has its own hash.
            let is_other_crate = entry.depth() > 0 && entry.path().join("Cargo.toml").exists();
            !(entry.file_type().is_dir() && (is_skipped || is_other_crate))
        });
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path())?;
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            hash.update(name.to_string_lossy().as_bytes());
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        }
    }
    Ok(hex(&hash.finalize()))
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
    fn changed_inputs_are_listed() {
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
    fn new_removed_and_reconfigured_dependencies_are_listed() {
        let [one, two] = [
            sources(&[("a 1.0.0", "1")]),
            sources(&[("a 1.0.0", "2"), ("b 2.0.0", "1")]),
        ];
        assert_eq!(
            two.reasons(&one),
            [
                "through a 1.0.0 (other features or checksum)",
                "through b 2.0.0 (new)"
            ]
        );
        assert_eq!(
            one.reasons(&two).last().unwrap(),
            "through b 2.0.0 (removed)"
        );
    }

    #[test]
    fn only_the_pins_of_linkers_change_the_linker_hash() {
        let before = linker_hash("botocore==1.0\nziglang==0.17.0 \\\n    --hash=1\n");
        let other_tool = linker_hash("botocore==1.1\nziglang==0.17.0 \\\n    --hash=1\n");
        let other_linker = linker_hash("botocore==1.0\nziglang==0.18.0 \\\n    --hash=2\n");
        assert_eq!(before, other_tool);
        assert_ne!(before, other_linker);
    }

    #[test]
    fn inputs_of_a_function_include_only_the_crates_that_it_depends_on() {
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
            with("services/notes-api/notes-upload"),
            BTreeSet::from(["notes-upload"])
        );
        assert!(
            with("libs/idempotency").contains("notes-create")
                && !with("libs/idempotency").contains("notes-get")
        );
        // part: billing {
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
        // part: billing }
        assert!(
            !with("libs/api").is_empty()
                && with("xtask").is_empty()
                && with("local/aws").is_empty()
        );
    }
}
