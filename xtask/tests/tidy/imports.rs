//! The import graph between the source files of a crate.
//!
//! File A imports file B if A names something that B defines, in a `use` declaration or in a path
//! such as `super::b::parse`. A name that reaches A through a re-export counts as an import of the
//! file that defines it. A `mod` declaration is not an import, and neither is a re-export whose name
//! the file does not use itself. Code under `#[cfg(test)]` is ignored. If a file belongs to a removable part, imports of it by
//! other files are ignored too: the part extends the files that it imports, and they register it in lines that go with it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{MetadataCommand, TargetKind};
use syn::visit::{self, Visit};

use crate::root;

/// The segments of a Rust path, such as `notes` and `get` for `notes::get`. The path of a module
/// starts at the root of its crate.
type Segments = Vec<String>;

/// The names that one module defines and uses.
#[derive(Default)]
struct Module {
    file: PathBuf,
    items: BTreeSet<String>,
    modules: BTreeSet<String>,
    uses: Vec<Use>,
    /// The Rust paths that the module uses and that have at least two segments.
    paths: BTreeSet<Segments>,
    identifiers: BTreeSet<String>,
}

/// One name that a `use` declaration brings into a module. The name of a glob import is `*`.
struct Use {
    name: String,
    path: Segments,
    is_reexport: bool,
}

/// The modules of one crate. The keys are the paths of the modules.
#[derive(Default)]
struct Crate(BTreeMap<Segments, Module>);

impl Crate {
    fn read(file: &Path) -> Self {
        let mut modules = Self::default();
        let folder = file.parent().unwrap();
        modules.read_file(file, folder, vec![]);
        modules
    }

    /// Reads `file`, the source file of the module with the path `path`. The files of the module's
    /// child modules are in `folder`.
    fn read_file(&mut self, file: &Path, folder: &Path, path: Segments) {
        let text = fs::read_to_string(file).unwrap();
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(&parsed.items, file, folder, path);
    }

    fn read_items(&mut self, items: &[syn::Item], file: &Path, folder: &Path, path: Segments) {
        let mut module = Module {
            file: file.to_owned(),
            ..Module::default()
        };
        for item in items {
            if let syn::Item::Mod(child) = item
                && !is_test(&child.attrs)
            {
                let name = child.ident.to_string();
                let child_path = [path.clone(), vec![name.clone()]].concat();
                let child_folder = folder.join(&name);
                if let Some((_, items)) = &child.content {
                    self.read_items(items, file, &child_folder, child_path);
                } else {
                    let candidates = [
                        folder.join(format!("{name}.rs")),
                        child_folder.join("mod.rs"),
                    ];
                    let found = candidates.into_iter().find(|candidate| candidate.exists());
                    self.read_file(&found.unwrap(), &child_folder, child_path);
                }
                module.modules.insert(name);
            }
        }
        for item in items {
            module.visit_item(item);
        }
        self.0.insert(path, module);
    }

    /// Returns the file that defines the item to which `path` refers in the module `module`. `None`
    /// if `path` refers to a module or to another crate. `depth` is the number of `use`
    /// declarations that have been followed.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<&Path> {
        if depth > 16 {
            return None; // two glob imports that refer to each other
        }
        let (mut at, mut rest) = (module.to_vec(), path);
        while let [first, tail @ ..] = rest {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            rest = tail;
        }
        while let [first, tail @ ..] = rest {
            let here = self.0.get(&at)?;
            if here.modules.contains(first) {
                at.push(first.clone());
                rest = tail;
                continue;
            }
            if here.items.contains(first) {
                return Some(&here.file);
            }
            let named = here.uses.iter().find(|import| import.name == *first);
            if let Some(import) = named {
                let path = [&import.path, tail].concat();
                return self.resolve(&at, &path, depth + 1);
            }
            let globs = here.uses.iter().filter(|import| import.name == "*");
            return globs
                .filter_map(|glob| self.resolve(&at, &[&glob.path, rest].concat(), depth + 1))
                .next();
        }
        None
    }

    /// Returns the imports of each file: the keys are the files of the crate, the values are the
    /// other files that they import.
    fn imports(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut graph = BTreeMap::<PathBuf, BTreeSet<PathBuf>>::new();
        for (path, module) in &self.0 {
            let used = module
                .uses
                .iter()
                .filter(|import| !import.is_reexport || module.identifiers.contains(&import.name))
                .map(|import| &import.path);
            let imported = used
                .chain(&module.paths)
                .filter_map(|named| self.resolve(path, named, 0))
                .filter(|file| *file != module.file)
                .map(Path::to_owned);
            graph
                .entry(module.file.clone())
                .or_default()
                .extend(imported);
        }
        graph
    }
}

impl Module {
    fn read_use(&mut self, tree: &syn::UseTree, before: &[String], is_reexport: bool) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        let (name, path) = match tree {
            syn::UseTree::Path(path) => {
                return self.read_use(&path.tree, &with(&path.ident), is_reexport);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, before, is_reexport);
                }
                return;
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            syn::UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
            syn::UseTree::Glob(_) => ("*".into(), before.to_vec()),
        };
        self.uses.push(Use {
            name,
            path,
            is_reexport,
        });
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Use(item) => {
                if !is_test(&item.attrs) {
                    let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
                    self.read_use(&item.tree, &[], is_reexport);
                }
                return;
            }
            // `Crate::read_items` reads child modules.
            _ => return,
        };
        if !is_test(attributes) {
            self.items.extend(name.map(ToString::to_string));
            visit::visit_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.identifiers.extend(segments.first().cloned());
        if segments.len() > 1 {
            self.paths.insert(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // syn does not parse the arguments of macros.
        let text = call.tokens.to_string().replace(" :: ", "::");
        let is_in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in text.split(|c| !is_in_path(c)) {
            let segments: Segments = word.split("::").map(str::to_owned).collect();
            self.identifiers.extend(segments.first().cloned());
            if segments.len() > 1 {
                self.paths.insert(segments);
            }
        }
        visit::visit_macro(self, call);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|argument| argument == "test")
    })
}

/// The Rust paths that a source file uses, except in its tests.
pub(crate) fn named_paths(file: &Path) -> BTreeSet<Segments> {
    let text = fs::read_to_string(file).unwrap();
    let mut module = Module::default();
    for item in &syn::parse_file(&text).unwrap().items {
        module.visit_item(item);
    }
    let uses = module.uses.into_iter().map(|import| import.path);
    uses.chain(module.paths).collect()
}

/// Returns the shortest import cycle through each file. A cycle that contains several files is
/// returned only once.
fn cycles(graph: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeSet<Vec<PathBuf>> {
    graph
        .keys()
        .filter_map(|file| shortest_cycle(graph, file))
        .map(|mut cycle| {
            let least = cycle.iter().min().cloned();
            let start = cycle.iter().position(|file| Some(file) == least.as_ref());
            cycle.rotate_left(start.unwrap_or_default());
            cycle
        })
        .collect()
}

/// Returns the files of the shortest import cycle through the file `start`. `None` if there is no
/// cycle.
fn shortest_cycle(
    graph: &BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    start: &Path,
) -> Option<Vec<PathBuf>> {
    let mut came_from = BTreeMap::<&Path, &Path>::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in graph.get(file).into_iter().flatten() {
            if next == start {
                let mut cycle = vec![file.to_owned()];
                while let Some(before) = came_from.get(cycle.last()?.as_path()) {
                    cycle.push((*before).to_owned());
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !came_from.contains_key(next.as_path()) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Returns the files and folders that belong to removable parts.
fn parts() -> Vec<PathBuf> {
    let table = fs::read_to_string(root().join("xtask/parts.toml")).unwrap();
    let table: toml::Table = table.parse().unwrap();
    let paths = table.values().filter_map(|part| part.get("paths"));
    let paths = paths.flat_map(|paths| paths.as_array().unwrap());
    paths
        .map(|path| root().join(path.as_str().unwrap()))
        .collect()
}

/// Removes the imports of files in `parts` by other files.
fn without_registrations(graph: &mut BTreeMap<PathBuf, BTreeSet<PathBuf>>, parts: &[PathBuf]) {
    let belongs = |file: &Path| parts.iter().any(|part| file.starts_with(part));
    for (_, imported) in graph.iter_mut().filter(|(file, _)| !belongs(file)) {
        imported.retain(|file| !belongs(file));
    }
}

#[test]
fn no_source_files_import_each_other_in_a_cycle() {
    let mut metadata = MetadataCommand::new();
    let metadata = metadata.manifest_path(root().join("Cargo.toml")).no_deps();
    let packages = metadata.exec().unwrap().packages;
    let kinds = [TargetKind::Lib, TargetKind::Bin];
    let targets = packages.iter().flat_map(|package| &package.targets);
    let roots: Vec<_> = targets
        .filter(|target| target.kind.iter().any(|kind| kinds.contains(kind)))
        .map(|target| target.src_path.as_std_path())
        .collect();
    assert!(roots.len() > 20, "only {roots:?} were read");
    let parts = parts();
    let found = roots.iter().flat_map(|root| {
        let mut graph = Crate::read(root).imports();
        without_registrations(&mut graph, &parts);
        cycles(&graph)
    });
    let found: Vec<_> = found.collect();
    assert!(
        found.is_empty(),
        "files that import each other in a cycle: {found:#?}"
    );
}

/// Writes a crate with the given files (names and texts), and returns the import cycles of the
/// crate.
fn cycles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let name = |file: PathBuf| {
        let below = file.strip_prefix(folder.path()).unwrap();
        below.to_string_lossy().into_owned()
    };
    let graph = Crate::read(&folder.path().join("lib.rs")).imports();
    cycles(&graph)
        .into_iter()
        .map(|cycle| cycle.into_iter().map(name).collect())
        .collect()
}

#[test]
fn cycles_are_found_in_use_declarations_paths_and_macros() {
    let ways = [
        "use crate::b::two;",
        "fn x() { super::b::two() }",
        "fn x() { vec![crate::b::two()]; }",
    ];
    for way in ways {
        let found = cycles_of(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", &format!("{way} pub fn one() {{}}")),
            ("b.rs", "use crate::a; pub fn two() { a::one() }"),
        ]);
        assert_eq!(found, [["a.rs", "b.rs"]], "{way}");
    }
}

#[test]
fn using_a_reexported_name_imports_the_file_that_defines_the_name() {
    let root = "mod a; mod b; pub use a::one; pub use b::two;";
    let a = "pub fn one() {}";
    let b = "use crate::one; pub fn two() { one() }";
    assert!(cycles_of(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]).is_empty());
    let a = "use super::two; pub fn one() { two() }";
    let found = cycles_of(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}

#[test]
fn a_parent_and_a_child_module_that_use_each_other_are_a_cycle() {
    let root = "mod a; pub struct Shared; fn run() { a::one() }";
    let a = "use super::Shared; pub fn one() { Shared; }";
    let found = cycles_of(&[("lib.rs", root), ("a.rs", a)]);
    assert_eq!(found, [["a.rs", "lib.rs"]]);
}

#[test]
fn imports_in_test_modules_are_ignored() {
    let root = "mod a; mod b;";
    let a = "pub fn one() {} #[cfg(test)] mod tests { use crate::b::two; }";
    let b = "use crate::a::one; pub fn two() { one() }";
    assert!(cycles_of(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]).is_empty());
}

#[test]
fn only_the_imports_of_a_part_by_other_files_are_ignored() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = BTreeMap::<PathBuf, BTreeSet<PathBuf>>::new();
        for (from, to) in edges {
            graph.entry(from.into()).or_default().insert(to.into());
        }
        without_registrations(&mut graph, &["part".into()]);
        cycles(&graph).len()
    };
    assert_eq!(graph(&[("a", "part/b"), ("part/b", "a")]), 0);
    assert_eq!(graph(&[("part/c", "part/b"), ("part/b", "part/c")]), 1);
    assert_eq!(graph(&[("a", "d"), ("d", "a"), ("a", "part/b")]), 1);
}
