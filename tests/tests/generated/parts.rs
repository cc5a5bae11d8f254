//! Removes each part of the product from a copy of this checkout: what is left compiles, and the linters accept it.

use scaffold::{Tree, lock, parts};
use test_support::checkout::Checkout;

/// The commands that must accept what is left.
const CHECKS: [&str; 4] = [
    "cargo clippy --offline --quiet --workspace --all-targets -- --deny warnings",
    "cargo fmt --all --check",
    "node_modules/.bin/biome check --error-on-warnings .",
    "for project in bench/node infrastructure web web/test; do \
     if [ -e $project ]; then node_modules/.bin/tsc -p $project || exit 1; fi; done",
];

#[test]
fn without_a_part_the_rest_compiles_and_the_linters_accept_it() {
    let checkout = Checkout::new("parts");
    let names = parts::all(&Tree::open(checkout.root())).unwrap();
    assert!(!names.is_empty());
    for name in names.keys() {
        println!("without {name}");
        let mut tree = Tree::open(checkout.root());
        parts::remove(&mut tree, &[name]).unwrap();
        lock(&mut tree).unwrap();
        tree.apply().unwrap();
        checkout.succeeds("cargo fmt --all && node_modules/.bin/biome format --write .");
        for check in CHECKS {
            checkout.succeeds(check);
        }
        checkout.succeeds("git checkout --quiet . && git clean --force -d --quiet");
    }
}
