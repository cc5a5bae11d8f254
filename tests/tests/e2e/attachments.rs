//! POST /notes/attachments, the upload itself, and what notes say of their files.

use e2e::http::{Answer, Method};
use e2e::stage::{Person, Stage, until};
use serde_json::{Value, json};

use crate::address;

/// Leave to upload a file.
pub(crate) async fn declare(person: &Person<'_>, name: &str, kind: &str, size: usize) -> Value {
    let file = json!({"filename": name, "contentType": kind, "size": size});
    let answer = person.post("/notes/attachments", &file).await;
    answer.json(201)
}

/// Uploads, with just the headers that the leave says. The client adds the body's own length.
pub(crate) async fn put(person: &Person<'_>, leave: &Value, body: &[u8]) -> Answer {
    let kind = leave["headers"]["Content-Type"].as_str().unwrap();
    let url = leave["uploadUrl"].as_str().unwrap();
    let put = person.unsigned(Method::PUT, url).body(body);
    put.header("content-type", kind).send().await
}

/// Declares and uploads a file, and returns what a note calls it.
async fn upload(person: &Person<'_>, name: &str, kind: &str, body: &[u8]) -> String {
    let leave = declare(person, name, kind, body.len()).await;
    let answer = put(person, &leave, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    leave["attachment"].as_str().unwrap().to_owned()
}

/// The note, once it shows its file.
async fn shown(person: &Person<'_>, note: &Value) -> Value {
    until("the upload", async || {
        let note = person.get(&address(note)).await.json(200);
        note.get("attachmentUrl").is_some().then_some(note)
    })
    .await
}

async fn download(person: &Person<'_>, note: &Value) -> Answer {
    let url = note["attachmentUrl"].as_str().unwrap();
    person.unsigned(Method::GET, url).send().await
}

/// S3 does not tell that an object is missing to those who may not list.
fn is_gone(download: &Answer) -> bool {
    matches!(download.status, 403 | 404)
}

#[tokio::test]
async fn a_file_comes_back_byte_for_byte_with_its_type_and_size() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let body: Vec<u8> = (0..=255).cycle().take(70_001).collect();
    let name = upload(&ada, "cat.png", "image/png", &body).await;
    assert!(name.starts_with(&format!("private/{}/", ada.id)), "{name}");
    let note = ada.note("my cat", Some(&name)).await;
    let note = shown(&ada, &note).await;
    assert_eq!(note["attachment"], name.as_str());
    assert_eq!(note["attachmentType"], "image/png");
    assert_eq!(note["attachmentSize"], 70_001);
    let answer = download(&ada, &note).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert!(answer.body == body);
}

#[tokio::test]
async fn a_note_made_before_the_upload_shows_the_file_after_it_also_in_the_list() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let leave = declare(&ada, "cat.png", "image/png", 3).await;
    let note = ada.note("my cat", leave["attachment"].as_str()).await;
    assert_eq!(note.get("attachmentUrl"), None);
    ada.note("without", None).await;
    assert_eq!(put(&ada, &leave, b"cat").await.status, 200);
    shown(&ada, &note).await;
    let listed = ada.get("/notes").await.json(200);
    assert_eq!(listed[0].get("attachmentUrl"), None);
    assert_eq!(listed[1]["attachmentType"], "image/png");
    assert_eq!(listed[1]["attachmentSize"], 3);
    assert_eq!(download(&ada, &listed[1]).await.body, b"cat");
}

#[tokio::test]
async fn a_files_name_may_have_any_characters_but_those_of_a_path() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for name in [
        "a b.txt",
        "größe 📎.txt",
        "1+1=2&x?#%25.txt",
        "'so' \"on\" ;,@:$!*().txt",
    ] {
        let attachment = upload(&ada, name, "text/plain", name.as_bytes()).await;
        assert!(attachment.ends_with(name), "{attachment}");
        let note = ada.note("x", Some(&attachment)).await;
        let note = shown(&ada, &note).await;
        let answer = download(&ada, &note).await;
        assert_eq!(answer.text(), name);
    }
}

#[tokio::test]
async fn an_upload_takes_the_declared_type_and_length_and_nothing_else() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let leave = declare(&ada, "cat.png", "image/png", 3).await;
    let url = leave["uploadUrl"].as_str().unwrap();
    for body in [&b""[..], b"ca", b"cats"] {
        assert_eq!(put(&ada, &leave, body).await.status, 403, "{body:?}");
    }
    for kind in ["text/html", "image/png; charset=utf-8", ""] {
        let request = ada.unsigned(Method::PUT, url).body(*b"cat");
        let answer = request.header("content-type", kind).send().await;
        assert_eq!(answer.status, 403, "{kind}");
    }
    let elsewhere = url.replace("cat.png", "dog.png");
    let moved = json!({"uploadUrl": elsewhere, "headers": leave["headers"]});
    assert_eq!(put(&ada, &moved, b"cat").await.status, 403);
    for method in [Method::GET, Method::DELETE] {
        let answer = ada.unsigned(method, url).send().await;
        assert_eq!(answer.status, 403);
    }
    assert_eq!(put(&ada, &leave, b"cat").await.status, 200);
}

#[tokio::test]
async fn a_file_of_five_million_bytes_is_taken_and_a_larger_one_refused_before() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let file = |size: usize| json!({"filename": "x", "contentType": "image/png", "size": size});
    let answer = ada.post("/notes/attachments", &file(5_000_001)).await;
    answer.names(&["size"]);
    let body = vec![7; 5_000_000];
    let name = upload(&ada, "x", "image/png", &body).await;
    let note = ada.note("x", Some(&name)).await;
    let note = shown(&ada, &note).await;
    assert_eq!(note["attachmentSize"], 5_000_000);
    assert!(download(&ada, &note).await.body == body);
}

#[tokio::test]
async fn a_note_cannot_name_the_file_of_another() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let hers = ada.note("hers", Some(&name)).await;
    let his = bob.note("his", None).await;
    let draft = json!({"content": "mine?", "attachment": name});
    bob.post("/notes", &draft).await.names(&["attachment"]);
    let put = bob.put(&address(&his), &draft).await;
    put.names(&["attachment"]);
    assert_eq!(bob.get("/notes").await.json(200), json!([his]));

    // What it is called below her prefix is, to him, a file of his own that is not there.
    let below = name.rsplit('/').next().unwrap();
    let note = bob.note("mine?", Some(below)).await;
    bob.delete(&address(&note)).await.json(200);
    let hers = shown(&ada, &hers).await;
    assert_eq!(download(&ada, &hers).await.body, b"cat");
}

#[tokio::test]
async fn a_note_is_deleted_with_its_file() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let note = ada.note("my cat", Some(&name)).await;
    let note = shown(&ada, &note).await;
    assert_eq!(download(&ada, &note).await.status, 200);
    ada.delete(&address(&note)).await.json(200);
    assert!(is_gone(&download(&ada, &note).await));
    let new = ada.note("my cat", Some(&name)).await;
    assert_eq!(new.get("attachmentUrl"), None, "nothing remembers the file");
}

#[tokio::test]
async fn a_file_of_two_notes_goes_with_the_second() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let one = ada.note("one", Some(&name)).await;
    // The original API's clients name a file by what follows their own prefix.
    let short = name.strip_prefix(&format!("private/{}/", ada.id)).unwrap();
    let two = ada.note("two", Some(short)).await;
    let two = shown(&ada, &two).await;
    ada.delete(&address(&one)).await.json(200);
    assert_eq!(download(&ada, &two).await.body, b"cat");
    ada.delete(&address(&two)).await.json(200);
    assert!(is_gone(&download(&ada, &two).await));
}

#[tokio::test]
async fn a_file_that_is_replaced_or_left_out_is_deleted_and_one_that_is_kept_stays() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let old = upload(&ada, "old.png", "image/png", b"old").await;
    let new = upload(&ada, "new.png", "image/png", b"new!").await;
    let note = ada.note("x", Some(&old)).await;
    let with_old = shown(&ada, &note).await;

    let put = async |attachment: Option<&str>| {
        let body = json!({"content": "y", "attachment": attachment});
        ada.put(&address(&note), &body).await.json(200);
    };
    put(Some(&old)).await;
    assert_eq!(download(&ada, &with_old).await.body, b"old");
    put(Some(&new)).await;
    assert!(is_gone(&download(&ada, &with_old).await));
    let with_new = shown(&ada, &note).await;
    assert_eq!(with_new["attachmentSize"], 4);
    assert_eq!(download(&ada, &with_new).await.body, b"new!");
    put(None).await;
    assert!(is_gone(&download(&ada, &with_new).await));
    let without = ada.get(&address(&note)).await.json(200);
    assert_eq!(without["attachment"], json!(null));
    assert_eq!(without.get("attachmentUrl"), None);
}

#[tokio::test]
async fn a_write_that_was_refused_takes_no_file_away() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let note = ada.note("my cat", Some(&name)).await;
    let note = shown(&ada, &note).await;
    for attachment in [json!(name), json!(null)] {
        let body = json!({"content": "stale", "attachment": attachment});
        let put = ada.request(Method::PUT, &address(&note)).json(&body);
        let put = put.header("if-match", r#""stale""#).send().await;
        put.problem(412);
    }
    assert_eq!(download(&ada, &note).await.body, b"cat");
}
