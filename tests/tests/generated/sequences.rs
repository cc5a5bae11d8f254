//! Random sequences of commands of `cargo xtask new`: the result of each compiles and passes its unit tests, a repeated command
//! changes nothing, and undoing everything in any order restores the checkout.
//!
//! The sequences take turns in one checkout, and Cargo compiles all results together. The names of all crates and modules of
//! sequence 7 begin with `q7` or contain it, so a message of Cargo says which sequence it is about.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::env;
use std::time::Instant;

use fastrand::Rng;
use scaffold::Tree;
use scaffold::new::{Direction, Request, change};
use test_support::checkout::Checkout;

use crate::sequence::{Sequence, Step};

/// The number of sequences, unless the environment variable has another.
const SEQUENCES: usize = 50;
const NUMBER: &str = "SCRATCHPAD_SEQUENCES";

/// The environment variable with the seed of the random numbers.
const SEED: &str = "SCRATCHPAD_SEQUENCES_SEED";

/// The environment variable with the number of the only sequence to run.
const ONLY: &str = "SCRATCHPAD_SEQUENCES_ONLY";

/// Fails if a route belongs to a group without an objective, or if an objective is for a group without routes.
const OBJECTIVES: &str = r#"
import { readServices } from "./infrastructure/lib/manifests.ts";
import { subjectOf } from "./infrastructure/lib/operations-stack.ts";
import { stageNamed } from "./infrastructure/lib/stage.ts";
for (const stage of ["local", "dev", "prod"]) subjectOf(stageNamed(stage), readServices());
"#;

/// A checkout in which the commands run.
struct Project {
    checkout: Checkout,
    /// The formatted contents by path and content, because a formatter takes 0.1 s for each file.
    formatted: RefCell<HashMap<(String, String), String>>,
}

impl Project {
    /// Runs a command, and writes its changes. Returns the number of changed files, or why the command is refused.
    fn run(&self, request: &Request, direction: Direction) -> Result<usize, String> {
        let mut tree = Tree::open(self.checkout.root());
        let format = |path: &str, content: String| {
            let key = (path.to_owned(), content.clone());
            if let Some(formatted) = self.formatted.borrow().get(&key) {
                return Ok(formatted.clone());
            }
            let formatted = scaffold::format(self.checkout.root(), path, content)?;
            self.formatted.borrow_mut().insert(key, formatted.clone());
            Ok(formatted)
        };
        change(&mut tree, request, direction, &format).map_err(|error| format!("{error:#}"))?;
        let changed = tree.changed().unwrap().len();
        tree.apply().unwrap();
        Ok(changed)
    }

    /// Runs a command twice, and checks its results.
    fn step(&self, step: &Step) -> Result<(), String> {
        let run = || self.run(&step.request, step.direction);
        match (run(), step.refusal) {
            (Ok(0), None) => Err("changed nothing".into()),
            (Ok(_), None) => match run() {
                Ok(0) => Ok(()),
                Ok(changed) => Err(format!("changed {changed} files again")),
                // What had it is gone, too.
                Err(_) if step.direction == Direction::Undo => Ok(()),
                Err(error) => Err(format!("failed the second time: {error}")),
            },
            (Err(error), Some(reason)) if error.contains(reason) => Ok(()),
            (Err(error), _) => Err(format!("failed: {error}")),
            (Ok(_), Some(_)) => Err("was not refused".into()),
        }
    }

    /// Compiles everything that the sequences have generated, and runs its unit tests.
    fn check(&self) {
        // Everything is compiled only once.
        self.checkout.succeeds("export CARGO_INCREMENTAL=0");
        let new = self
            .checkout
            .succeeds("git status --porcelain --untracked-files=all");
        let files: Vec<_> = new.lines().filter_map(|line| line.get(3..)).collect();
        // New crates, and the libraries of existing services that have new modules.
        // By their paths, because a package of a registry can have the same name.
        let root = self.checkout.root().display();
        let packages = |ends: &[&str]| -> String {
            let ends = ends.iter();
            let pairs = ends.flat_map(|end| files.iter().map(move |file| (*end, *file)));
            let folders = pairs.filter_map(|(end, file)| file.strip_suffix(end));
            let folders: BTreeSet<_> = folders.collect();
            let option = |folder: &&str| format!(" --package path+file://{root}/{folder}");
            folders.iter().map(option).collect()
        };
        let time = |what: &str, command: &str| {
            let start = Instant::now();
            let output = self.checkout.succeeds(command);
            eprintln!("{what}: {} s", start.elapsed().as_secs());
            output
        };
        time(
            "cargo metadata",
            "cargo metadata --offline --format-version 1 > target/metadata.json",
        );
        time(
            "types of the app",
            "node_modules/.bin/tsc -p web && node_modules/.bin/tsc -p web/test",
        );
        time(
            "objectives of the routes",
            &format!("node --import tsx --input-type=module --eval '{OBJECTIVES}'"),
        );
        time(
            "lints",
            "node_modules/.bin/biome ci --colors=off --error-on-warnings . && cargo fmt --all --check",
        );
        let crates = packages(&["/Cargo.toml", "/src/lib.rs"]);
        // The tests of the tables, and the end-to-end tests, which are in the package test-support.
        let has_tests = files
            .iter()
            .any(|file| file.starts_with("services/") && file.contains("/tests/"));
        let tests = if has_tests { "--test 'q*'" } else { "" };
        time(
            "cargo check",
            &format!(
                "cargo check --offline --lib --bins {tests} --test e2e --package test-support{crates}"
            ),
        );
        let libraries = packages(&["/src/lib.rs"]);
        let tests = time(
            "cargo test",
            // With the features of Cargo that the other packages of this workspace need, so that less is compiled again.
            &format!(
                "cargo test --offline --no-fail-fast --lib --package test-support --package xtask{libraries}"
            ),
        );
        let passed = tests.matches("test result: ok.").count();
        assert_eq!(
            passed,
            1 + libraries.matches("--package").count(),
            "{tests}"
        );
    }
}

#[test]
fn random_sequences_of_commands_compile_pass_their_tests_and_can_be_undone() {
    let number = |name| env::var(name).ok().map(|value| value.parse().unwrap());
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    let count = number(NUMBER).map_or(SEQUENCES, |count| count as usize);
    let only = number(ONLY).map(|only| only as usize);
    println!("{SEED}={seed}");
    let mut sequences = Sequence::all(seed, only.map_or(count, |only| only + 1));
    sequences.retain(|sequence| only.is_none_or(|only| sequence.number == only));
    let project = Project {
        checkout: Checkout::new("sequences"),
        formatted: RefCell::default(),
    };

    let start = Instant::now();
    let mut is_done = false;
    while !is_done {
        is_done = true;
        for sequence in &mut sequences {
            if let Some(step) = sequence.next() {
                is_done = false;
                if let Err(problem) = project.step(&step) {
                    let number = sequence.number;
                    panic!(
                        "{sequence}\n{problem}\nrun it alone with {SEED}={seed} {ONLY}={number}"
                    );
                }
            }
        }
    }
    for sequence in &sequences {
        eprintln!("{sequence}");
    }
    eprintln!("commands: {} s", start.elapsed().as_secs());
    project.check();

    let start = Instant::now();
    let mut left: Vec<_> = sequences
        .iter()
        .flat_map(|sequence| {
            sequence
                .generated
                .iter()
                .map(move |request| (sequence, request))
        })
        .collect();
    Rng::with_seed(seed).shuffle(&mut left);
    // What others depend on can be undone only after them.
    while !left.is_empty() {
        let before = left.len();
        left.retain(
            |(sequence, request)| match project.run(request, Direction::Undo) {
                Ok(_) => false,
                Err(error) if error.contains("undo this first") => true,
                Err(error) => panic!(
                    "{sequence}\ncannot undo {request:?}: {error}\nrun it alone with {SEED}={seed} {ONLY}={}",
                    sequence.number
                ),
            },
        );
        assert!(left.len() < before, "nothing of {left:?} can be undone");
    }
    eprintln!("undoing everything: {} s", start.elapsed().as_secs());
    project
        .checkout
        .succeeds("cargo metadata --offline --format-version 1 > target/metadata.json");
    let changes = project.checkout.succeeds("git status --porcelain");
    assert_eq!(changes, "", "{SEED}={seed}");
    if only.is_none() && count >= 10 {
        check_variety(&sequences);
    }
}

/// Checks that the sequences had enough commands of each kind.
fn check_variety(sequences: &[Sequence]) {
    let enough = |what: &str, minimum: usize, is_wanted: &dyn Fn(&Step) -> bool| {
        let steps = sequences.iter().flat_map(|sequence| &sequence.steps);
        let count = steps.filter(|step| is_wanted(step)).count();
        eprintln!("{count} commands: {what}");
        assert!(count >= minimum, "only {count} commands: {what}");
    };
    let is_new = |step: &Step| step.direction == Direction::Do;
    let n = sequences.len();
    enough("a resource", n / 2, &|step| {
        is_new(step) && matches!(step.request, Request::Resource { .. })
    });
    enough("a field", n / 4, &|step| {
        is_new(step) && matches!(step.request, Request::Field { .. })
    });
    enough("a route, a job or a subscriber", n / 4, &|step| {
        let is_function = matches!(
            step.request,
            Request::Route { .. } | Request::Job { .. } | Request::Subscriber { .. }
        );
        is_new(step) && is_function
    });
    enough("undone", n / 4, &|step| {
        !is_new(step) && step.refusal.is_none()
    });
    enough("refused", n / 25, &|step| step.refusal.is_some());
}
