//! Tests of the routes /notes and /notes/{id}.

use serde_json::json;
use test_support::http::Method;
use test_support::stage::{Person, Stage};
use tokio::task::JoinSet;

use crate::path_of;

#[tokio::test]
async fn a_note_can_be_created_read_updated_and_deleted() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;

    let created = ada
        .post("/notes", &json!({"content": "hello", "attachment": null}))
        .await;
    let note = created.json(201);
    assert_eq!(created.header("content-type"), Some("application/json"));
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

    let location = created.resolve(created.header("location").unwrap());
    let read = ada.get(&location).await;
    assert_eq!(read.json(200), note);
    assert_eq!(read.header("etag"), created.header("etag"));
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));

    let changed = ada.put(&path_of(&note), &json!({"content": "bye"})).await;
    assert_eq!(changed.json(200), json!({"status": true}));
    let read = ada.get(&path_of(&note)).await;
    assert_eq!(read.header("etag"), changed.header("etag"));
    assert_ne!(read.header("etag"), created.header("etag"));
    let updated = read.json(200);
    assert!(updated["updatedAt"].as_u64() >= note["updatedAt"].as_u64());
    let mut expected = note.clone();
    expected["content"] = json!("bye");
    expected["updatedAt"] = updated["updatedAt"].clone();
    assert_eq!(updated, expected);

    for _ in 0..2 {
        let deleted = ada.delete(&path_of(&note)).await;
        assert_eq!(deleted.json(200), json!({"status": true}));
        ada.get(&path_of(&note)).await.problem(404);
    }
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn updating_a_missing_note_returns_404() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let missing = "/notes/019aa0b4-e100-7d21-a6e4-3c8f1b52d907";
    let body = json!({"content": "hello"});
    ada.put(missing, &body).await.problem(404);
    for tags in ["*", r#""019aa0b4-e100-7d21-a6e4-3c8f1b52d907""#] {
        let put = ada.request(Method::PUT, missing).json(&body);
        put.header("if-match", tags).send().await.problem(404);
    }
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn any_content_is_returned_unchanged() {
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
        let shown = format!("{:?}", content.chars().take(30).collect::<String>());
        let note = ada.create_note(content, None).await;
        assert!(note["content"] == content, "{shown}, after POST");
        let read = ada.get(&path_of(&note)).await.json(200);
        assert!(read["content"] == content, "{shown}, after GET");

        let other = ada.create_note("other", None).await;
        let body = json!({"content": content});
        ada.put(&path_of(&other), &body).await.json(200);
        let listed = ada.get("/notes?limit=1").await.json(200);
        assert!(listed[0]["content"] == content, "{shown}, in the list");
    }
}

#[tokio::test]
async fn only_one_of_fifty_concurrent_updates_with_the_same_etag_succeeds() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("old", None).await;
    let read = ada.get(&path_of(&note)).await;
    let tag = read.header("etag").unwrap();

    let mut writes = JoinSet::new();
    for number in 0..50 {
        let body = json!({"content": format!("write {number}")});
        let put = ada.request(Method::PUT, &path_of(&note)).json(&body);
        let put = put.header("if-match", tag);
        writes.spawn(async move { (body, put.send().await) });
    }
    let mut succeeded = Vec::new();
    for (body, response) in writes.join_all().await {
        match response.status {
            200 => succeeded.push((body, response)),
            _ => drop(response.problem(412)),
        }
    }
    assert_eq!(succeeded.len(), 1);
    let read = ada.get(&path_of(&note)).await;
    assert_eq!(read.header("etag"), succeeded[0].1.header("etag"));
    assert_eq!(read.json(200)["content"], succeeded[0].0["content"]);
}

#[tokio::test]
async fn concurrent_updates_without_if_match_all_succeed() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("old", None).await;
    let mut writes = JoinSet::new();
    for number in 0..50 {
        let body = json!({"content": format!("write {number}")});
        let put = ada.request(Method::PUT, &path_of(&note)).json(&body);
        writes.spawn(async move { (body, put.send().await) });
    }
    let mut tags = Vec::new();
    for (body, response) in writes.join_all().await {
        response.json(200);
        tags.push((response.header("etag").unwrap().to_owned(), body));
    }
    let read = ada.get(&path_of(&note)).await;
    let last = tags
        .iter()
        .find(|(tag, _)| Some(tag.as_str()) == read.header("etag"));
    assert_eq!(
        read.json(200)["content"],
        last.expect("the note is the result of one of the updates")
            .1["content"]
    );
}

#[tokio::test]
async fn an_update_with_if_match_needs_a_matching_etag() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("old", None).await;
    let first = ada.get(&path_of(&note)).await;
    let first = first.header("etag").unwrap();
    let put = async |tags: &str, content: &str| {
        let put = ada.request(Method::PUT, &path_of(&note));
        let put = put.json(&json!({"content": content}));
        put.header("if-match", tags).send().await
    };

    put("*", "any").await.json(200);
    for stale in [first, &format!("W/{first}"), r#""x""#] {
        put(stale, "stale").await.problem(412);
    }
    let now = ada.get(&path_of(&note)).await;
    let now = now.header("etag").unwrap();
    for malformed in ["x", now.trim_matches('"'), &format!("{now},")] {
        put(malformed, "malformed").await.problem(400);
    }
    let read = ada.get(&path_of(&note)).await.json(200);
    assert_eq!(read["content"], "any");
    put(&format!("{first}, {now}"), "one of two")
        .await
        .json(200);
}

#[tokio::test]
async fn requests_with_one_idempotency_key_create_one_note_and_get_one_response() {
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
    let responses = posts.join_all().await;
    let (created, conflicts): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status == 201);
    for response in conflicts {
        response.problem(409);
        assert!(response.header("retry-after").is_some());
    }
    let again = post().await;
    for response in created {
        assert_eq!(response.body, again.body);
        assert_eq!(response.header("etag"), again.header("etag"));
        assert_eq!(response.header("location"), again.header("location"));
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([again.json(201)]));
}

#[tokio::test]
async fn an_idempotency_key_is_valid_for_one_body_and_one_user() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let post = |person: &Person<'_>, key: &str, content: &str| {
        let request = person.request(Method::POST, "/notes");
        let request = request.json(&json!({"content": content}));
        request.header("Idempotency-Key", key).send()
    };
    let created = post(&ada, "key", "one").await.json(201);
    post(&ada, "key", "another")
        .await
        .assert_invalid(&["Idempotency-Key"]);
    let other = post(&bob, "key", "one").await.json(201);
    assert_ne!(created["noteId"], other["noteId"]);
    for malformed in ["", &"x".repeat(256)] {
        post(&ada, malformed, "one").await.problem(400);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([created]));
}
