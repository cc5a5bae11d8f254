//! Random sequences of requests, without writing them: a repetition changes nothing, and undoing everything in any order restores
//! the checkout.

#![allow(clippy::panic, clippy::unwrap_used)]

mod sequence;

use std::path::Path;

use fastrand::Rng;
use scaffold::Tree;
use scaffold::new::{Direction, Request, change};

use sequence::{Sequence, Step};

const SEEDS: u64 = 5;

/// The number of sequences that change one tree.
const SEQUENCES: usize = 8;

fn checkout() -> Tree {
    Tree::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
}

/// Tries a request. Returns the tree with its changes, or why it is not possible.
fn attempt(tree: &Tree, request: &Request, direction: Direction) -> Result<Tree, String> {
    let mut tree = tree.clone();
    let unformatted = |_: &str, content| Ok(content);
    let result = change(&mut tree, request, direction, &unformatted);
    result.map(|()| tree).map_err(|error| format!("{error:#}"))
}

#[test]
fn everything_that_is_generated_can_be_undone_in_any_order() {
    let mut generated = 0;
    for seed in 0..SEEDS {
        let (mut tree, mut all) = (checkout(), Sequence::all(seed, SEQUENCES));
        // The sequences take turns.
        while {
            let mut is_done = true;
            for sequence in &mut all {
                if let Some(step) = sequence.next() {
                    is_done = false;
                    tree = run(&tree, &step, &format!("seed {seed}, {sequence}"));
                }
            }
            !is_done
        } {}
        let mut left: Vec<_> = all.iter().flat_map(|all| all.generated.clone()).collect();
        generated += left.len();
        Rng::with_seed(seed).shuffle(&mut left);
        while !left.is_empty() {
            let (before, mut reasons) = (left.len(), Vec::new());
            left.retain(|request| match attempt(&tree, request, Direction::Undo) {
                Ok(changed) => {
                    tree = changed;
                    false
                }
                Err(reason) => {
                    reasons.push(reason);
                    true
                }
            });
            assert!(left.len() < before, "seed {seed}: {}", reasons.join("\n"));
        }
        assert_eq!(tree.diff().unwrap(), "", "seed {seed}");
    }
    assert!(generated > 100, "only {generated} things were generated");
}

/// Returns the changed files with their contents.
fn changes(tree: &Tree) -> Vec<(String, Option<Vec<u8>>)> {
    let changed = tree.changed().unwrap().into_iter();
    changed
        .map(|path| (path.to_owned(), tree.read(path).unwrap()))
        .collect()
}

/// Runs a command twice, and checks its results. Returns the changed tree.
fn run(tree: &Tree, step: &Step, sequence: &str) -> Tree {
    let result = attempt(tree, &step.request, step.direction);
    match (result, step.refusal) {
        (Ok(changed), None) => {
            let changes = changes(&changed);
            assert!(
                changes != self::changes(tree),
                "{sequence}\nchanged nothing"
            );
            match attempt(&changed, &step.request, step.direction) {
                Ok(again) => {
                    assert!(
                        self::changes(&again) == changes,
                        "{sequence}\nagain changed something"
                    );
                }
                // What had it is gone, too.
                Err(error) => {
                    assert_eq!(step.direction, Direction::Undo, "{sequence} again: {error}")
                }
            }
            changed
        }
        (Err(error), Some(reason)) if error.contains(reason) => tree.clone(),
        (Err(error), _) => panic!("{sequence}\nfailed: {error}"),
        (Ok(_), Some(_)) => panic!("{sequence}\nwas not refused"),
    }
}

#[test]
fn changes_by_hand_are_kept_or_named() {
    let service = Request::Service {
        name: "library".into(),
    };
    let fields = ["title:string:required".into(), "pages:integer".into()];
    let books = Request::Resource {
        name: "books".into(),
        fields: fields.into(),
        service: "library".into(),
    };
    let tree = attempt(&checkout(), &service, Direction::Do).unwrap();
    let mut tree = attempt(&tree, &books, Direction::Do).unwrap();
    let path = "services/library-api/library/src/books/book.rs";
    let text = tree.text(path).unwrap().unwrap();
    tree.write(
        path,
        text.replace("/// A book, as", "/// A book of the library, as"),
    );

    let field = Request::Field {
        field: "subtitle:string:max=50".into(),
        resource: "books".into(),
    };
    let with_field = attempt(&tree, &field, Direction::Do).unwrap();
    let merged = with_field.text(path).unwrap().unwrap();
    assert!(merged.contains("/// A book of the library, as"), "{merged}");
    assert!(
        merged.contains("pub subtitle: Option<Text<50>>,"),
        "{merged}"
    );
    let without_field = attempt(&with_field, &field, Direction::Undo).unwrap();
    assert_eq!(without_field.diff().unwrap(), tree.diff().unwrap());

    let blocked = attempt(&tree, &books, Direction::Undo).unwrap_err();
    assert!(
        blocked.contains(&format!("{path} was changed by hand, first in line")),
        "{blocked}"
    );
    let blocked = attempt(&tree, &service, Direction::Undo).unwrap_err();
    assert!(
        blocked.contains("undo this first:\n  resource books"),
        "{blocked}"
    );
}

#[test]
fn the_changed_files_are_formatted_and_sorted() {
    let mut tree = checkout();
    let service = |name: &str| Request::Service { name: name.into() };
    let job = |service: &str| Request::Job {
        name: "report".into(),
        every: Some("1h".into()),
        service: Some(service.into()),
    };
    let root = tree.root().to_owned();
    let format = |path: &str, content| scaffold::format(&root, path, content);
    for request in [
        service("library"),
        service("library-desk"),
        job("notes"),
        job("billing"), // part: billing
    ] {
        change(&mut tree, &request, Direction::Do, &format).unwrap();
    }
    for path in tree.changed().unwrap() {
        let text = tree.text(path).unwrap().unwrap();
        assert_eq!(format(path, text.clone()).unwrap(), text, "{path}");
    }
}
