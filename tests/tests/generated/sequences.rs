//! Random sequences of commands of `cargo xtask new`: after each of them, the code compiles, its unit tests pass, and undoing
//! everything in any order restores the checkout.

use std::env;

use fastrand::Rng;
use scaffold::Tree;
use scaffold::new::{Direction, Request, change};
use test_support::checkout::Checkout;

/// The number of sequences, unless the environment variable has another. Each is a random number of commands.
const SEQUENCES: usize = 50;
const NUMBER: &str = "SCRATCHPAD_SEQUENCES";

/// The environment variable with the seed of the random numbers.
const SEED: &str = "SCRATCHPAD_SEQUENCES_SEED";

const SERVICES: [&str; 2] = ["library", "cinema"];
const RESOURCES: [&str; 4] = ["books", "movies", "book-reviews", "library"];
const FIELDS: [&str; 9] = [
    "title:string:required:max=200",
    "isbn:string:required:unique:max=20",
    "subtitle:string",
    "pages:integer:max=5000",
    "price:decimal:required",
    "lent_out:boolean:required",
    "published_on:date",
    "opened_at:time",
    "homepage:url:required:unique",
];
const ADDED: [&str; 3] = [
    "contact:email",
    "weight:decimal:max=100",
    "shelf:string:max=10",
];

/// Returns a command that can be valid.
fn any(random: &mut Rng) -> Request {
    let one = |random: &mut Rng, all: &[&str]| all[random.usize(..all.len())].to_owned();
    let service = one(random, &SERVICES);
    match random.u32(..12) {
        0..3 => Request::Service { name: service },
        3..6 => {
            let mut fields = FIELDS.to_vec();
            random.shuffle(&mut fields);
            fields.truncate(random.usize(1..=fields.len()));
            Request::Resource {
                name: one(random, &RESOURCES),
                fields: fields.into_iter().map(Into::into).collect(),
                service,
            }
        }
        6..8 => Request::Route {
            method: one(random, &["GET", "POST", "DELETE"]),
            path: format!(
                "/{service}-extra/{}",
                one(random, &["list", "{id}/cover", "{id}"])
            ),
            service,
        },
        8 => Request::Job {
            name: one(random, &["cleanup", "report"]),
            every: Some(one(random, &["5m", "1h", "2d"])),
            service: random.bool().then_some(service),
        },
        9 => Request::Subscriber {
            name: one(random, &["receipts", "audit"]),
            topic: Some("purchases".into()),
            service: random.bool().then_some(service),
        },
        _ => Request::Field {
            field: one(random, &ADDED),
            resource: one(random, &RESOURCES),
        },
    }
}

/// Runs a command, and writes its changes. Returns whether it was valid. An invalid command changes nothing.
fn run(checkout: &Checkout, request: &Request, direction: Direction) -> bool {
    let mut tree = Tree::open(checkout.root());
    let format = |path: &str, content| scaffold::format(checkout.root(), path, content);
    let result = change(&mut tree, request, direction, &format);
    if result.is_ok() {
        tree.apply().unwrap();
    }
    result.is_ok()
}

#[test]
fn random_sequences_of_commands_compile_pass_their_tests_and_can_be_undone() {
    let seed = env::var(SEED).map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut random = Rng::with_seed(seed);
    let checkout = Checkout::new("sequences");
    let sequences = env::var(NUMBER).map_or(SEQUENCES, |number| number.parse().unwrap());
    for number in 0..sequences {
        let mut done: Vec<Request> = Vec::new();
        for _ in 0..random.usize(2..8) {
            if !done.is_empty() && random.u32(..4) == 0 {
                let request = done[random.usize(..done.len())].clone();
                if run(&checkout, &request, Direction::Undo) {
                    done.retain(|other| *other != request);
                }
            } else {
                let request = any(&mut random);
                if run(&checkout, &request, Direction::Do) && !done.contains(&request) {
                    done.push(request);
                }
            }
        }
        eprintln!("sequence {number}: {done:?}");
        checkout.succeeds("cargo metadata --offline --format-version 1 > target/metadata.json");
        let packages = generated_packages(&checkout);
        if !packages.is_empty() {
            // The functions have no unit tests of their own, so they are only checked.
            checkout.succeeds(&format!("cargo check --offline --all-targets {packages}"));
            checkout.succeeds(&format!(
                "cargo test --offline --no-fail-fast --lib {}",
                libraries(&checkout)
            ));
        }
        random.shuffle(&mut done);
        // What others depend on can be undone only after them.
        while !done.is_empty() {
            let left = done.len();
            done.retain(|request| !run(&checkout, request, Direction::Undo));
            assert!(
                done.len() < left,
                "sequence {number}: nothing of {done:?} can be undone"
            );
        }
        checkout.succeeds("cargo metadata --offline --format-version 1 > target/metadata.json");
        let changes = checkout.succeeds("git status --porcelain");
        assert_eq!(changes, "", "sequence {number}");
    }
}

/// Returns the options of Cargo for the generated crates.
fn generated_packages(checkout: &Checkout) -> String {
    let new = checkout.succeeds("git status --porcelain --untracked-files=all");
    let manifests = new
        .lines()
        .filter_map(|line| line.strip_prefix("?? ")?.strip_suffix("/Cargo.toml"));
    let names = manifests.filter_map(|folder| folder.rsplit('/').next());
    names.map(|name| format!("--package {name} ")).collect()
}

/// Returns the options of Cargo for the generated libraries.
fn libraries(checkout: &Checkout) -> String {
    let new = checkout.succeeds("git status --porcelain --untracked-files=all");
    let files = new.lines().filter_map(|line| line.strip_prefix("?? "));
    let names = files.filter_map(|file| file.strip_suffix("/src/lib.rs")?.rsplit('/').next());
    names.map(|name| format!("--package {name} ")).collect()
}
