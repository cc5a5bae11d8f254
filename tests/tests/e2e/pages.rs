//! Tests of the pagination of GET /notes.

use std::collections::HashSet;

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::stage::{Person, Stage};
use tokio::task::JoinSet;

use crate::path_of;

/// Lambda's maximum size of a function's response, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const LAMBDA_LIMIT: usize = 6 * 1024 * 1024;

fn id(note: &Value) -> String {
    note["noteId"].as_str().unwrap().to_owned()
}

/// Creates one note for each of the contents, up to four notes at a time. Returns the IDs of the notes, newest first.
async fn create_notes(person: &Person<'_>, contents: impl Iterator<Item = String>) -> Vec<String> {
    let mut running = JoinSet::new();
    let mut ids = Vec::new();
    for content in contents {
        let post = person.request(Method::POST, "/notes");
        let post = post.json(&json!({"content": content}));
        running.spawn(async move { id(&post.send().await.json(201)) });
        if running.len() >= 4 {
            ids.push(running.join_next().await.unwrap().unwrap());
        }
    }
    ids.extend(running.join_all().await);
    ids.sort_by(|a, b| b.cmp(a));
    ids
}

/// Asserts that a response is smaller than [`LAMBDA_LIMIT`]. A function returns the body to Lambda as a JSON string, so
/// the limit applies to the length of the JSON string.
fn assert_below_lambda_limit(response: &Response) {
    let quoted = serde_json::to_string(&response.text()).unwrap();
    assert!(quoted.len() < LAMBDA_LIMIT, "{} bytes", quoted.len());
}

// part: billing {
/// The number of notes, which is more than the free number.
const NOTES: u32 = 1000;
// part: billing }
// part: without billing {
// /// The number of notes. With those that the test adds, it is at most the free number.
// const NOTES: u32 = 90;
// part: without billing }

#[tokio::test]
async fn every_note_is_listed_once_newest_first_during_concurrent_changes() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    stage.grant_storage(&ada.id, NOTES).await; // part: billing
    let content = |number| match number % 50 {
        0 => "😀".repeat(100_000),
        _ => format!("note {number}"),
    };
    let created = create_notes(&ada, (0..NOTES).map(content)).await;

    let (mut seen, mut deleted) = (Vec::new(), HashSet::new());
    let mut next = Some("/notes".to_owned());
    while let Some(path) = next {
        let response = ada.get(&path).await;
        assert_below_lambda_limit(&response);
        let page = response.json(200);
        let page = page.as_array().unwrap();
        assert!((1..=100).contains(&page.len()));
        seen.extend(page.iter().map(id));
        next = response.next_page();

        // Create a note, and delete the last note of this page and a note that is not listed yet.
        ada.create_note("newer than all", None).await;
        let last = created.iter().position(|id| Some(id) == seen.last());
        for index in [last, last.map(|last| last + 7)].into_iter().flatten() {
            if let Some(id) = created.get(index) {
                ada.delete(&format!("/notes/{id}")).await.json(200);
                deleted.insert(id.clone());
            }
        }
    }

    assert!(
        seen.is_sorted_by(|a, b| a > b),
        "notes are out of order or listed twice"
    );
    let seen: HashSet<_> = seen.into_iter().collect();
    let lost: Vec<_> = created
        .iter()
        .filter(|id| !seen.contains(*id) && !deleted.contains(*id))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let created: HashSet<_> = created.into_iter().collect();
    assert!(seen.is_subset(&created), "a note created later is listed");
}

#[tokio::test]
async fn pages_of_large_notes_stay_below_lambdas_response_limit() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    // U+0000 is one byte in DynamoDB, six bytes in JSON, and seven bytes if this JSON is in a JSON string.
    let created = create_notes(&ada, (0..12).map(|_| "\u{0}".repeat(100_000))).await;
    let (mut seen, mut next) = (Vec::new(), Some("/notes".to_owned()));
    while let Some(path) = next {
        let response = ada.get(&path).await;
        assert_below_lambda_limit(&response);
        seen.extend(response.json(200).as_array().unwrap().iter().map(id));
        next = response.next_page();
    }
    assert_eq!(seen, created);
}

#[tokio::test]
async fn pages_have_the_requested_number_of_notes() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let created = create_notes(&ada, (0..7).map(|number| number.to_string())).await;
    for (limit, expected) in [(3, vec![3, 3, 1]), (7, vec![7]), (100, vec![7])] {
        let pages = ada.pages(&format!("/notes?limit={limit}")).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected);
        assert_eq!(pages.concat().iter().map(id).collect::<Vec<_>>(), created);
    }
}

#[tokio::test]
async fn listed_notes_equal_the_notes_read_one_by_one() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mut created = Vec::new();
    for content in ["one", "two", "three"] {
        created.insert(0, ada.create_note(content, None).await);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!(created));
    for note in created {
        assert_eq!(ada.get(&path_of(&note)).await.json(200), note);
    }
}

/// Creates two notes. Returns the URL of the second page of a list with one note per page.
async fn second_page(person: &Person<'_>) -> String {
    for content in ["one", "two"] {
        person.create_note(content, None).await;
    }
    let page = person.get("/notes?limit=1").await;
    page.next_page().unwrap()
}

#[tokio::test]
async fn a_changed_cursor_is_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let next = second_page(&ada).await;
    ada.get(&next).await.json(200);
    let (start, cursor) = next.split_once("cursor=").unwrap();
    let half = cursor.len() / 2;
    let changed: String = cursor
        .char_indices()
        .map(|(index, c)| match (index == half, c) {
            (true, 'A') => 'B',
            (true, _) => 'A',
            (false, c) => c,
        })
        .collect();
    for tampered in [&changed, &cursor[1..], &cursor[..half], "", "x", "%00"] {
        let problem = ada.get(&format!("{start}cursor={tampered}")).await;
        let problem = problem.problem(400);
        assert!(
            problem["detail"].to_string().contains("cursor"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn another_users_cursor_is_rejected() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let next = second_page(&ada).await;
    bob.create_note("his", None).await;
    bob.get(&next).await.problem(400);
}
