//! Tests of GET /storage and of the limit of notes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::{Value, json};
use test_support::http::{Method, Request, Response};
use test_support::proxy::{Lost, forward, listen};
use test_support::stage::{Person, Stage};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::path_of;

/// The number of notes that every person may have on the stage local.
pub(crate) const FREE: u64 = 100;

/// Asserts that a person has `used` notes, and may have only the free ones.
async fn assert_used(person: &Person<'_>, used: u64) {
    let storage = person.get("/storage").await.json(200);
    let numbers = [&storage["used"], &storage["allowed"], &storage["free"]];
    assert_eq!(numbers, [used, FREE, FREE], "{storage}");
}

/// Creates `count` notes, up to eight at a time. Returns them.
pub(crate) async fn create_notes(person: &Person<'_>, count: u64) -> Vec<Value> {
    let (mut running, mut created) = (JoinSet::new(), Vec::new());
    for number in 0..count {
        let post = person.request(Method::POST, "/notes");
        let post = post.json(&json!({"content": format!("note {number}")}));
        running.spawn(async move { post.send().await.json(201) });
        if running.len() >= 8 {
            created.push(running.join_next().await.unwrap().unwrap());
        }
    }
    created.extend(running.join_all().await);
    created
}

/// The IDs of all notes of a person.
pub(crate) async fn ids(person: &Person<'_>) -> BTreeSet<String> {
    let pages = person.pages("/notes").await.into_iter().flatten();
    pages.map(|note| path_of(&note)).collect()
}

/// Asserts that a new note is refused, because the storage is full.
pub(crate) async fn assert_full(person: &Person<'_>, used: u64, allowed: u64) {
    let refused = person.post("/notes", &json!({"content": "hello"})).await;
    let problem = refused.problem(409);
    assert_eq!(problem["code"], "storage_full", "{problem}");
    assert_eq!(problem["used"], used, "{problem}");
    assert_eq!(problem["allowed"], allowed, "{problem}");
}

#[tokio::test]
async fn used_counts_the_notes_of_a_person() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let used = async |used| assert_used(&ada, used).await;
    used(0).await;
    let note = ada.create_note("hello", None).await;
    ada.create_note("hello too", None).await;
    used(2).await;
    ada.put(&path_of(&note), &json!({"content": "bye"}))
        .await
        .json(200);
    used(2).await;
    for _ in 0..2 {
        ada.delete(&path_of(&note)).await.json(200);
        used(1).await;
    }
    assert_used(&bob, 0).await;
}

#[tokio::test]
async fn one_of_64_concurrent_notes_is_created_if_there_is_room_for_one() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    create_notes(&ada, FREE - 1).await;
    let mut creations = JoinSet::new();
    for number in 0..64 {
        let post = ada.request(Method::POST, "/notes");
        let post = post.json(&json!({"content": format!("concurrent {number}")}));
        creations.spawn(async move { post.send().await });
    }
    let responses = creations.join_all().await;
    let (created, refused): (Vec<_>, Vec<_>) = responses
        .into_iter()
        .partition(|response| response.status == 201);
    assert_eq!((created.len(), refused.len()), (1, 63));
    for response in refused {
        let problem = response.problem(409);
        assert_eq!(problem["code"], "storage_full", "{problem}");
        assert_eq!(
            (&problem["used"], &problem["allowed"]),
            (&json!(FREE), &json!(FREE))
        );
    }
    assert_eq!(ids(&ada).await.len() as u64, FREE);
    assert_used(&ada, FREE).await;
}

#[tokio::test]
async fn a_refused_request_succeeds_when_it_is_repeated_with_room() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let notes = create_notes(&ada, FREE).await;
    let key = Uuid::now_v7().to_string();
    let post = async |content: &str| {
        let post = ada.request(Method::POST, "/notes");
        let post = post.json(&json!({"content": content}));
        post.header("idempotency-key", &key).send().await
    };
    for _ in 0..2 {
        assert_eq!(post("hello").await.problem(409)["code"], "storage_full");
    }
    ada.delete(&path_of(&notes[0])).await.json(200);
    let created = post("hello").await.json(201);
    // The storage is full again, but this note exists.
    assert_eq!(post("hello").await.json(201), created);
    assert_full(&ada, FREE, FREE).await;
}

/// Whether an earlier attempt of the request is in progress.
fn is_in_progress(response: &Response) -> bool {
    response.status == 409 && response.header("retry-after").is_some()
}

/// Sends a request through a proxy that loses some requests and some responses. Repeats it while an earlier attempt is in
/// progress, or the response has the status 503 (too many conflicts in DynamoDB).
async fn send_until_answered(request: impl Fn() -> Request, proxy: &Url) -> Response {
    loop {
        match request().send_through(proxy).await {
            Ok(response) if is_in_progress(&response) || response.status == 503 => {
                sleep(Duration::from_millis(100)).await;
            }
            Ok(response) => return response,
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn used_is_the_number_of_notes_after_1000_changes_by_16_clients_with_dropped_connections() {
    let stage = Stage::shared().await;
    let ada = Arc::new(Person::sign_up(stage.for_task()).await);
    let api = Url::parse(&stage.api_url).unwrap();
    let upstream = api.origin().ascii_serialization();
    let (client, requests) = (Client::new(), Arc::new(AtomicUsize::new(0)));
    let (proxy, server) = listen(move |head, body| {
        let (client, upstream) = (client.clone(), upstream.clone());
        let number = requests.fetch_add(1, SeqCst);
        async move {
            if number % 11 == 4 {
                return Err(Lost); // before the request is sent
            }
            let response = forward(&client, &upstream, head, body).await;
            match number % 11 {
                8 => Err(Lost), // after it took effect
                _ => Ok(response),
            }
        }
    })
    .await;
    let proxy = Arc::new(Url::parse(&proxy).unwrap());

    let changes = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (ada, proxy, changes) = (Arc::clone(&ada), Arc::clone(&proxy), Arc::clone(&changes));
        clients.spawn(async move {
            let (mut own, mut refused) = (Vec::new(), 0);
            loop {
                let number = changes.fetch_add(1, SeqCst);
                if number >= 1000 {
                    return (own, refused);
                }
                // Each third change deletes a note.
                if number % 3 == 2 && !own.is_empty() {
                    let path: String = own.remove(0);
                    let delete = || ada.request(Method::DELETE, &path);
                    send_until_answered(delete, &proxy).await.json(200);
                    continue;
                }
                let (key, body) = (Uuid::now_v7().to_string(), json!({"content": "hello"}));
                let post = || {
                    let post = ada.request(Method::POST, "/notes").json(&body);
                    post.header("idempotency-key", &key)
                };
                let response = send_until_answered(post, &proxy).await;
                match response.status {
                    201 => own.push(path_of(&response.json(201))),
                    _ => {
                        assert_eq!(response.problem(409)["code"], "storage_full");
                        refused += 1;
                    }
                }
            }
        });
    }
    let (mut kept, mut refused) = (BTreeSet::new(), 0);
    for (own, own_refused) in clients.join_all().await {
        kept.extend(own);
        refused += own_refused;
    }
    server.abort();
    assert_eq!(ids(&ada).await, kept);
    let used = kept.len() as u64;
    assert_used(&ada, used).await;
    // Two thirds of the changes create notes, so the storage was full most of the time.
    assert!(used <= FREE && refused > 100, "{used}, {refused}");
}
