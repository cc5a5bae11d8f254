//! GET /notes, page by page

use std::collections::HashSet;

use e2e::http::{Answer, Method};
use e2e::stage::{Person, Stage};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::address;

/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LAMBDA_LIMIT: usize = 6 * 1024 * 1024;

fn id(note: &Value) -> String {
    note["noteId"].as_str().unwrap().to_owned()
}

/// Makes a note of each content, some at once, and returns the ids in descending order.
async fn fill(person: &Person<'_>, contents: impl Iterator<Item = String>) -> Vec<String> {
    let mut under_way = JoinSet::new();
    let mut ids = Vec::new();
    for content in contents {
        let post = person.request(Method::POST, "/notes");
        let post = post.json(&json!({"content": content}));
        under_way.spawn(async move { id(&post.send().await.json(201)) });
        if under_way.len() >= 4 {
            ids.push(under_way.join_next().await.unwrap().unwrap());
        }
    }
    ids.extend(under_way.join_all().await);
    ids.sort_by(|a, b| b.cmp(a));
    ids
}

/// Lambda gives a function's answer on as JSON, with the body quoted in it.
fn assert_lambda_could_give_it(answer: &Answer) {
    let quoted = serde_json::to_string(&answer.text()).unwrap();
    assert!(quoted.len() < LAMBDA_LIMIT, "{} bytes", quoted.len());
}

#[tokio::test]
async fn a_thousand_notes_come_back_exactly_once_newest_first_while_others_come_and_go() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let content = |number| match number % 50 {
        0 => "😀".repeat(100_000),
        _ => format!("note {number}"),
    };
    let made = fill(&ada, (0..1000).map(content)).await;

    let (mut seen, mut deleted) = (Vec::new(), HashSet::new());
    let mut next = Some("/notes".to_owned());
    while let Some(path) = next {
        let answer = ada.get(&path).await;
        assert_lambda_could_give_it(&answer);
        let page = answer.json(200);
        let page = page.as_array().unwrap();
        assert!((1..=100).contains(&page.len()));
        seen.extend(page.iter().map(id));
        next = answer.next_page();

        // One comes, and of those that were not yet listed one goes; so does the note that the
        // next page starts after.
        ada.note("newer than all", None).await;
        let last = made.iter().position(|made| Some(made) == seen.last());
        for gone in [last, last.map(|last| last + 7)].into_iter().flatten() {
            if let Some(id) = made.get(gone) {
                ada.delete(&format!("/notes/{id}")).await.json(200);
                deleted.insert(id.clone());
            }
        }
    }

    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
    let seen: HashSet<_> = seen.into_iter().collect();
    let lost: Vec<_> = made
        .iter()
        .filter(|id| !seen.contains(*id) && !deleted.contains(*id))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let made: HashSet<_> = made.into_iter().collect();
    assert!(seen.is_subset(&made), "none that came later");
}

#[tokio::test]
async fn notes_that_grow_on_their_way_out_are_cut_into_answers_that_lambda_can_give() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    // A byte to DynamoDB, six in JSON, and seven once that is quoted.
    let made = fill(&ada, (0..12).map(|_| "\u{0}".repeat(100_000))).await;
    let (mut seen, mut next) = (Vec::new(), Some("/notes".to_owned()));
    while let Some(path) = next {
        let answer = ada.get(&path).await;
        assert_lambda_could_give_it(&answer);
        seen.extend(answer.json(200).as_array().unwrap().iter().map(id));
        next = answer.next_page();
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_page_has_as_many_notes_as_asked_for_and_so_have_those_after_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let made = fill(&ada, (0..7).map(|number| number.to_string())).await;
    for (limit, expected) in [(3, vec![3, 3, 1]), (7, vec![7]), (100, vec![7])] {
        let pages = ada.pages(&format!("/notes?limit={limit}")).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected);
        assert_eq!(pages.concat().iter().map(id).collect::<Vec<_>>(), made);
    }
}

#[tokio::test]
async fn a_list_says_what_each_note_says() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mut made = Vec::new();
    for content in ["one", "two", "three"] {
        made.insert(0, ada.note(content, None).await);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!(made));
    for note in made {
        assert_eq!(ada.get(&address(&note)).await.json(200), note);
    }
}

/// The address of the second page of a person's two notes.
async fn second_page(person: &Person<'_>) -> String {
    for content in ["one", "two"] {
        person.note(content, None).await;
    }
    let page = person.get("/notes?limit=1").await;
    page.next_page().unwrap()
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_refused() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let next = second_page(&ada).await;
    ada.get(&next).await.json(200);
    let (start, cursor) = next.split_once("cursor=").unwrap();
    let half = cursor.len() / 2;
    let swapped: String = cursor
        .char_indices()
        .map(|(place, c)| match (place == half, c) {
            (true, 'A') => 'B',
            (true, _) => 'A',
            (false, c) => c,
        })
        .collect();
    for tampered in [&swapped, &cursor[1..], &cursor[..half], "", "x", "%00"] {
        let problem = ada.get(&format!("{start}cursor={tampered}")).await;
        let problem = problem.problem(400);
        assert!(
            problem["detail"].to_string().contains("cursor"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn the_cursor_of_another_shows_nothing_of_theirs() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let next = second_page(&ada).await;
    bob.note("his", None).await;
    bob.get(&next).await.problem(400);
}
