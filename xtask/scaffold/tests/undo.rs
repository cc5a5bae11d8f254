//! Random sequences of requests, without writing them: a repetition changes nothing, and undoing everything in any order restores
//! the checkout.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use fastrand::Rng;
use scaffold::Tree;
use scaffold::new::{Direction, Request, change};

const SEQUENCES: u64 = 20;

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

fn one(random: &mut Rng, all: &[&str]) -> String {
    random.choice(all).unwrap().to_string()
}

/// Returns a request that can be valid.
fn any(random: &mut Rng) -> Request {
    let service = one(random, &["library", "cinema", "notes", "notify"]);
    match random.u32(..7) {
        0 => Request::Service {
            name: one(random, &["library", "cinema"]),
        },
        1 => {
            let mut fields = vec![
                "title:string:required:max=200",
                "isbn:string:required:unique:max=20",
                "pages:integer:max=5000",
                "lent_out:boolean:required",
                "homepage:url",
            ];
            random.shuffle(&mut fields);
            fields.truncate(random.usize(1..=5));
            Request::Resource {
                name: one(random, &["books", "movies", "book-reviews", "categories"]),
                fields: fields.into_iter().map(Into::into).collect(),
                service,
            }
        }
        2 => Request::Route {
            method: one(random, &["GET", "POST"]),
            path: format!("/{service}-extra/{}", one(random, &["list", "{id}/cover"])),
            service,
        },
        3 => Request::Job {
            name: one(random, &["cleanup", "report"]),
            every: Some(one(random, &["5m", "1h"])),
            service: random.bool().then_some(service),
        },
        4 => Request::Subscriber {
            name: one(random, &["receipts", "audit"]),
            topic: Some("purchases".into()),
            service: random.bool().then_some(service),
        },
        _ => Request::Field {
            field: one(random, &["contact:email", "weight:decimal:max=100"]),
            resource: one(random, &["books", "movies", "book-reviews", "categories"]),
        },
    }
}

#[test]
fn everything_that_is_generated_can_be_undone_in_any_order() {
    let mut generated = 0;
    for seed in 0..SEQUENCES {
        let mut random = Rng::with_seed(seed);
        let (mut tree, mut done) = (checkout(), Vec::new());
        for _ in 0..12 {
            let request = any(&mut random);
            if let Ok(changed) = attempt(&tree, &request, Direction::Do) {
                tree = changed;
                let before = tree.diff().unwrap();
                let again = attempt(&tree, &request, Direction::Do).unwrap();
                assert_eq!(
                    again.diff().unwrap(),
                    before,
                    "seed {seed}: {request:?} again"
                );
                done.push(request);
            }
        }
        generated += done.len();
        random.shuffle(&mut done);
        while !done.is_empty() {
            let (left, mut reasons) = (done.len(), Vec::new());
            done.retain(|request| match attempt(&tree, request, Direction::Undo) {
                Ok(changed) => {
                    tree = changed;
                    false
                }
                Err(reason) => {
                    reasons.push(reason);
                    true
                }
            });
            assert!(done.len() < left, "seed {seed}: {}", reasons.join("\n"));
        }
        assert_eq!(tree.diff().unwrap(), "", "seed {seed}");
    }
    assert!(generated > 50, "only {generated} requests were valid");
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
