//! /notes and /notes/{id}

use e2e::http::Method;
use e2e::stage::{Person, Stage};
use serde_json::json;
use tokio::task::JoinSet;

use crate::address;

#[tokio::test]
async fn a_note_is_made_read_changed_and_deleted() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;

    let made = ada
        .post("/notes", &json!({"content": "hello", "attachment": null}))
        .await;
    let note = made.json(201);
    assert_eq!(made.header("content-type"), Some("application/json"));
    let mut fields: Vec<_> = note.as_object().unwrap().keys().collect();
    fields.sort();
    let expected = [
        "attachment",
        "content",
        "createdAt",
        "noteId",
        "updatedAt",
        "userId",
    ];
    assert_eq!(fields, expected);
    assert_eq!(note["userId"], ada.id.as_str());
    assert_eq!(note["content"], "hello");
    assert_eq!(note["attachment"], json!(null));
    assert_eq!(note["createdAt"], note["updatedAt"]);

    let location = made.address(made.header("location").unwrap());
    let read = ada.get(&location).await;
    assert_eq!(read.json(200), note);
    assert_eq!(read.header("etag"), made.header("etag"));
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));

    let changed = ada.put(&address(&note), &json!({"content": "bye"})).await;
    assert_eq!(changed.json(200), json!({"status": true}));
    let read = ada.get(&address(&note)).await;
    assert_eq!(read.header("etag"), changed.header("etag"));
    assert_ne!(read.header("etag"), made.header("etag"));
    let now = read.json(200);
    assert!(now["updatedAt"].as_u64() >= note["updatedAt"].as_u64());
    let mut expected = note.clone();
    expected["content"] = json!("bye");
    expected["updatedAt"] = now["updatedAt"].clone();
    assert_eq!(now, expected);

    for _ in 0..2 {
        let deleted = ada.delete(&address(&note)).await;
        assert_eq!(deleted.json(200), json!({"status": true}));
        ada.get(&address(&note)).await.problem(404);
    }
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn a_note_that_is_not_there_cannot_be_changed() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let nowhere = "/notes/019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
    let body = json!({"content": "hello"});
    ada.put(nowhere, &body).await.problem(404);
    for tags in ["*", r#""019aa0b4-e100-7d21-a6e4-3c8f1b52d907""#] {
        let put = ada.request(Method::PUT, nowhere).json(&body);
        put.header("if-match", tags).send().await.problem(404);
    }
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn whatever_a_note_says_comes_back_byte_for_byte() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for content in [
        " ",
        "a\u{0}b\r\n\t\u{1f}\u{7f}",
        r#""quotes" 'and' \backslashes\ \u0041 </script> {"json":[1]}"#,
        "👩‍👩‍👧‍👦 🏳️‍🌈 😀",
        "Z\u{324}\u{310}a\u{307}\u{301}l\u{33a}g\u{306}o e\u{301} is not \u{e9}",
        "שלום \u{202e}olleh\u{202c} مرحبا",
        "\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
        &"😀".repeat(100_000),
        &"\u{0}".repeat(100_000),
        &"\"\\".repeat(50_000),
    ] {
        let said = format!("{:?}", content.chars().take(30).collect::<String>());
        let note = ada.note(content, None).await;
        assert!(note["content"] == content, "{said}, when it is made");
        let read = ada.get(&address(&note)).await.json(200);
        assert!(read["content"] == content, "{said}, when it is read");

        let other = ada.note("other", None).await;
        let body = json!({"content": content});
        ada.put(&address(&other), &body).await.json(200);
        let listed = ada.get("/notes?limit=1").await.json(200);
        assert!(listed[0]["content"] == content, "{said}, when it is listed");
    }
}

#[tokio::test]
async fn of_fifty_writes_at_once_over_what_was_read_one_is_done() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("old", None).await;
    let read = ada.get(&address(&note)).await;
    let tag = read.header("etag").unwrap();

    let mut writes = JoinSet::new();
    for number in 0..50 {
        let body = json!({"content": format!("write {number}")});
        let put = ada.request(Method::PUT, &address(&note)).json(&body);
        let put = put.header("if-match", tag);
        writes.spawn(async move { (body, put.send().await) });
    }
    let mut done = Vec::new();
    for (body, answer) in writes.join_all().await {
        match answer.status {
            200 => done.push((body, answer)),
            _ => drop(answer.problem(412)),
        }
    }
    assert_eq!(done.len(), 1);
    let read = ada.get(&address(&note)).await;
    assert_eq!(read.header("etag"), done[0].1.header("etag"));
    assert_eq!(read.json(200)["content"], done[0].0["content"]);
}

#[tokio::test]
async fn writes_at_once_that_expect_nothing_are_all_done() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("old", None).await;
    let mut writes = JoinSet::new();
    for number in 0..50 {
        let body = json!({"content": format!("write {number}")});
        let put = ada.request(Method::PUT, &address(&note)).json(&body);
        writes.spawn(async move { (body, put.send().await) });
    }
    let mut tags = Vec::new();
    for (body, answer) in writes.join_all().await {
        answer.json(200);
        tags.push((answer.header("etag").unwrap().to_owned(), body));
    }
    let read = ada.get(&address(&note)).await;
    let last = tags
        .iter()
        .find(|(tag, _)| Some(tag.as_str()) == read.header("etag"));
    assert_eq!(
        read.json(200)["content"],
        last.expect("the note is as one of them left it").1["content"]
    );
}

#[tokio::test]
async fn a_write_goes_ahead_only_over_what_it_expects() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("old", None).await;
    let first = ada.get(&address(&note)).await;
    let first = first.header("etag").unwrap();
    let put = async |tags: &str, content: &str| {
        let put = ada.request(Method::PUT, &address(&note));
        let put = put.json(&json!({"content": content}));
        put.header("if-match", tags).send().await
    };

    put("*", "any").await.json(200);
    for stale in [first, &format!("W/{first}"), r#""x""#] {
        put(stale, "stale").await.problem(412);
    }
    let now = ada.get(&address(&note)).await;
    let now = now.header("etag").unwrap();
    for malformed in ["x", now.trim_matches('"'), &format!("{now},")] {
        put(malformed, "malformed").await.problem(400);
    }
    let read = ada.get(&address(&note)).await.json(200);
    assert_eq!(read["content"], "any");
    put(&format!("{first}, {now}"), "one of two")
        .await
        .json(200);
}

#[tokio::test]
async fn posts_with_one_idempotency_key_make_one_note_and_have_one_answer() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let body = json!({"content": "once \u{1f600}", "attachment": "hello.jpg"});
    let post = || {
        let request = ada.request(Method::POST, "/notes").json(&body);
        request.header("Idempotency-Key", "form-1").send()
    };
    let mut posts = JoinSet::new();
    for _ in 0..50 {
        posts.spawn(post());
    }
    let answers = posts.join_all().await;
    let (made, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    for answer in waiting {
        answer.problem(409);
        assert!(answer.header("retry-after").is_some());
    }
    let again = post().await;
    for answer in made {
        assert_eq!(answer.body, again.body);
        assert_eq!(answer.header("etag"), again.header("etag"));
        assert_eq!(answer.header("location"), again.header("location"));
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([again.json(201)]));
}

#[tokio::test]
async fn an_idempotency_key_is_for_one_body_and_one_person() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let post = |person: &Person<'_>, key: &str, content: &str| {
        let request = person.request(Method::POST, "/notes");
        let request = request.json(&json!({"content": content}));
        request.header("Idempotency-Key", key).send()
    };
    let made = post(&ada, "key", "one").await.json(201);
    post(&ada, "key", "another")
        .await
        .names(&["Idempotency-Key"]);
    let other = post(&bob, "key", "one").await.json(201);
    assert_ne!(made["noteId"], other["noteId"]);
    for malformed in ["", &"x".repeat(256)] {
        post(&ada, malformed, "one").await.problem(400);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([made]));
}
