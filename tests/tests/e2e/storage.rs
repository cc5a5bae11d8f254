//! Tests of GET /storage, of the limit of notes, and of the credits of purchases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::{Value, json};
use test_support::http::{Method, Request, Response};
use test_support::proxy::{Lost, forward, listen};
use test_support::stage::{Person, Stage, wait_for_up_to};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{path_of, sample};

/// The number of notes that each person may have on the stage local without buying storage.
const FREE: u64 = 100;

/// How soon after its message a credit must take effect.
const CREDIT_TIME: Duration = Duration::from_secs(5);

fn storage(used: u64, bought: u64) -> Value {
    json!({"used": used, "allowed": FREE + bought, "free": FREE, "bought": bought})
}

/// Creates `count` notes, up to eight at a time. Returns them.
async fn create_notes(person: &Person<'_>, count: u64) -> Vec<Value> {
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
async fn ids(person: &Person<'_>) -> BTreeSet<String> {
    let pages = person.pages("/notes").await.into_iter().flatten();
    pages.map(|note| path_of(&note)).collect()
}

/// Asserts that a new note is refused, because the storage is full.
async fn assert_full(person: &Person<'_>, used: u64, allowed: u64) {
    let refused = person.post("/notes", &json!({"content": "hello"})).await;
    let problem = refused.problem(402);
    assert_eq!(problem["code"], "storage_full", "{problem}");
    assert_eq!(problem["used"], used, "{problem}");
    assert_eq!(problem["allowed"], allowed, "{problem}");
}

#[tokio::test]
async fn used_counts_the_notes_of_a_person() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let used = async |used| assert_eq!(ada.get("/storage").await.json(200), storage(used, 0));
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
    assert_eq!(bob.get("/storage").await.json(200), storage(0, 0));
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
        let problem = response.problem(402);
        assert_eq!(problem["code"], "storage_full", "{problem}");
        assert_eq!(
            (&problem["used"], &problem["allowed"]),
            (&json!(FREE), &json!(FREE))
        );
    }
    assert_eq!(ids(&ada).await.len() as u64, FREE);
    assert_eq!(ada.get("/storage").await.json(200), storage(FREE, 0));
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
        assert_eq!(post("hello").await.problem(402)["code"], "storage_full");
    }
    ada.delete(&path_of(&notes[0])).await.json(200);
    let created = post("hello").await.json(201);
    // The storage is full again, but this note exists.
    assert_eq!(post("hello").await.json(201), created);
    assert_full(&ada, FREE, FREE).await;
}

/// Sends a request through a proxy that loses some requests and some responses. Repeats it until the response has a
/// status other than 409 (an earlier attempt is in progress) and 503 (too many conflicts in DynamoDB).
async fn send_until_answered(request: impl Fn() -> Request, proxy: &Url) -> Response {
    loop {
        match request().send_through(proxy).await {
            Ok(response) if [409, 503].contains(&response.status) => {
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
                        assert_eq!(response.problem(402)["code"], "storage_full");
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
    assert_eq!(ada.get("/storage").await.json(200), storage(used, 0));
    // Two thirds of the changes create notes, so the storage was full most of the time.
    assert!(used <= FREE && refused > 100, "{used}, {refused}");
}

/// A message of the SNS topic Purchases: the purchase `id` grants `granted` notes in its revision `revision`.
fn message(user: &str, id: Uuid, revision: u64, granted: u32) -> Value {
    json!({
        "purchaseId": id, "userId": user, "amount": 4000, "currency": "usd",
        "description": "storage for 10 notes", "granted": granted, "revision": revision, "notices": [],
    })
}

/// Waits until a person has bought storage for `bought` notes.
async fn wait_until_bought(person: &Person<'_>, used: u64, bought: u64) {
    wait_for_up_to(CREDIT_TIME, "the credit", async || {
        let current = person.get("/storage").await.json(200);
        (current == storage(used, bought)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_purchase_grants_storage_once_and_a_refund_revokes_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let id = Uuid::now_v7();
    let publish = async |revision, granted| {
        for _ in 0..3 {
            stage
                .publish(&message(&ada.id, id, revision, granted).to_string())
                .await;
        }
    };
    publish(1, 10).await;
    wait_until_bought(&ada, 0, 10).await;
    create_notes(&ada, FREE + 10).await;
    assert_full(&ada, FREE + 10, FREE + 10).await;

    publish(2, 0).await;
    wait_until_bought(&ada, FREE + 10, 0).await;
    assert_full(&ada, FREE + 10, FREE).await;
    // No note is deleted or hidden.
    let notes = ids(&ada).await;
    assert_eq!(notes.len() as u64, FREE + 10);
    for path in notes.iter().take(10) {
        ada.delete(path).await.json(200);
    }
    assert_full(&ada, FREE, FREE).await;
}

#[tokio::test]
async fn messages_about_a_purchase_have_the_same_result_in_any_order_and_any_number() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let revisions = [(1, 10), (2, 4), (3, 7)];
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let id = Uuid::now_v7();
        let mut deliveries = JoinSet::new();
        for (revision, granted) in order.map(|next| revisions[next]) {
            let mut event = sample("notes-credit");
            let text = message(&ada.id, id, revision, granted).to_string();
            event["Records"][0]["Sns"]["Message"] = json!(text);
            stage.invoke("notes-credit", &event).await.unwrap();
            for _ in 0..2 {
                let (event, stage) = (event.clone(), stage.for_task());
                deliveries.spawn(async move { stage.invoke("notes-credit", &event).await });
            }
        }
        for delivered in deliveries.join_all().await {
            delivered.unwrap();
        }
        let bought = 7 * (number as u64 + 1);
        assert_eq!(
            ada.get("/storage").await.json(200),
            storage(0, bought),
            "{order:?}"
        );
    }
    let entries = stage
        .items_of(&stage.storage_table().await, &ada.id)
        .await
        .len();
    assert_eq!(entries, 1 + orders.len());
}

#[tokio::test]
async fn an_unreadable_message_goes_to_the_dead_letter_queue_of_notes_credit() {
    let stage = Stage::shared().await;
    let marker = Uuid::now_v7().to_string();
    stage.publish(&marker).await;
    wait_for_up_to(
        Duration::from_secs(40), // Lambda retries the event twice
        "the dead-letter queue",
        async || {
            let messages = stage.dead_letters_of("notes-credit").await;
            let matching = messages.iter().filter(|message| message.contains(&marker));
            (matching.count() == 1).then_some(())
        },
    )
    .await;
}
