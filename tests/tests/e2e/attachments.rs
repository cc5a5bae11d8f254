//! POST /notes/attachments, uploads to S3, and the attachments of notes.

use serde_json::{Value, json};
use test_support::http::{Method, Response};
use test_support::stage::{Person, Stage, wait_for};

use crate::path_of;

/// Requests a presigned URL to upload a file. Returns the JSON body of the response.
pub(crate) async fn request_upload(
    person: &Person<'_>,
    name: &str,
    kind: &str,
    size: usize,
) -> Value {
    let file = json!({"filename": name, "contentType": kind, "size": size});
    let response = person.post("/notes/attachments", &file).await;
    response.json(201)
}

/// Uploads `body` to the presigned URL in `upload`, with the content type in `upload`. The HTTP client adds the content
/// length.
pub(crate) async fn put_file(person: &Person<'_>, upload: &Value, body: &[u8]) -> Response {
    let kind = upload["headers"]["Content-Type"].as_str().unwrap();
    let url = upload["uploadUrl"].as_str().unwrap();
    let put = person.unsigned(Method::PUT, url).body(body);
    put.header("content-type", kind).send().await
}

/// Uploads a file. Returns the name under which a note can refer to the file as its attachment.
async fn upload(person: &Person<'_>, name: &str, kind: &str, body: &[u8]) -> String {
    let upload = request_upload(person, name, kind, body.len()).await;
    let response = put_file(person, &upload, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    upload["attachment"].as_str().unwrap().to_owned()
}

/// Waits until the API returns the note with a download URL. Returns this note.
async fn with_download_url(person: &Person<'_>, note: &Value) -> Value {
    wait_for("the download URL", async || {
        let note = person.get(&path_of(note)).await.json(200);
        note.get("attachmentUrl").is_some().then_some(note)
    })
    .await
}

async fn download(person: &Person<'_>, note: &Value) -> Response {
    let url = note["attachmentUrl"].as_str().unwrap();
    person.unsigned(Method::GET, url).send().await
}

/// Whether S3 responded that the object does not exist. S3 responds with 403 instead of 404 if the role does not have
/// the permission s3:ListBucket.
fn is_missing(download: &Response) -> bool {
    matches!(download.status, 403 | 404)
}

#[tokio::test]
async fn a_downloaded_file_equals_the_upload_with_its_type_and_size() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let body: Vec<u8> = (0..=255).cycle().take(70_001).collect();
    let name = upload(&ada, "cat.png", "image/png", &body).await;
    assert!(name.starts_with(&format!("private/{}/", ada.id)), "{name}");
    let note = ada.create_note("my cat", Some(&name)).await;
    let note = with_download_url(&ada, &note).await;
    assert_eq!(note["attachment"], name.as_str());
    assert_eq!(note["attachmentType"], "image/png");
    assert_eq!(note["attachmentSize"], 70_001);
    let response = download(&ada, &note).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("image/png"));
    assert!(response.body == body);
}

#[tokio::test]
async fn a_note_created_before_the_upload_shows_the_file_afterwards() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let upload = request_upload(&ada, "cat.png", "image/png", 3).await;
    let note = ada
        .create_note("my cat", upload["attachment"].as_str())
        .await;
    assert_eq!(note.get("attachmentUrl"), None);
    ada.create_note("without", None).await;
    assert_eq!(put_file(&ada, &upload, b"cat").await.status, 200);
    with_download_url(&ada, &note).await;
    let listed = ada.get("/notes").await.json(200);
    assert_eq!(listed[0].get("attachmentUrl"), None);
    assert_eq!(listed[1]["attachmentType"], "image/png");
    assert_eq!(listed[1]["attachmentSize"], 3);
    assert_eq!(download(&ada, &listed[1]).await.body, b"cat");
}

#[tokio::test]
async fn a_filename_may_contain_spaces_and_special_characters() {
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
        let note = ada.create_note("x", Some(&attachment)).await;
        let note = with_download_url(&ada, &note).await;
        let response = download(&ada, &note).await;
        assert_eq!(response.text(), name);
    }
}

#[tokio::test]
async fn an_upload_url_accepts_only_the_declared_type_and_length() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let upload = request_upload(&ada, "cat.png", "image/png", 3).await;
    let url = upload["uploadUrl"].as_str().unwrap();
    for body in [&b""[..], b"ca", b"cats"] {
        assert_eq!(put_file(&ada, &upload, body).await.status, 403, "{body:?}");
    }
    for kind in ["text/html", "image/png; charset=utf-8", ""] {
        let request = ada.unsigned(Method::PUT, url).body(*b"cat");
        let response = request.header("content-type", kind).send().await;
        assert_eq!(response.status, 403, "{kind}");
    }
    let elsewhere = url.replace("cat.png", "dog.png");
    let moved = json!({"uploadUrl": elsewhere, "headers": upload["headers"]});
    assert_eq!(put_file(&ada, &moved, b"cat").await.status, 403);
    for method in [Method::GET, Method::DELETE] {
        let response = ada.unsigned(method, url).send().await;
        assert_eq!(response.status, 403);
    }
    assert_eq!(put_file(&ada, &upload, b"cat").await.status, 200);
}

#[tokio::test]
async fn a_file_of_five_million_bytes_is_accepted_and_a_larger_one_is_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let file = |size: usize| json!({"filename": "x", "contentType": "image/png", "size": size});
    let response = ada.post("/notes/attachments", &file(5_000_001)).await;
    response.assert_invalid(&["size"]);
    let body = vec![7; 5_000_000];
    let name = upload(&ada, "x", "image/png", &body).await;
    let note = ada.create_note("x", Some(&name)).await;
    let note = with_download_url(&ada, &note).await;
    assert_eq!(note["attachmentSize"], 5_000_000);
    assert!(download(&ada, &note).await.body == body);
}

#[tokio::test]
async fn a_note_cannot_reference_another_users_file() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let hers = ada.create_note("hers", Some(&name)).await;
    let his = bob.create_note("his", None).await;
    let draft = json!({"content": "mine?", "attachment": name});
    bob.post("/notes", &draft)
        .await
        .assert_invalid(&["attachment"]);
    let put = bob.put(&path_of(&his), &draft).await;
    put.assert_invalid(&["attachment"]);
    assert_eq!(bob.get("/notes").await.json(200), json!([his]));

    // Without the prefix, the name refers to a file of Bob's own, which does not exist.
    let below = name.rsplit('/').next().unwrap();
    let note = bob.create_note("mine?", Some(below)).await;
    bob.delete(&path_of(&note)).await.json(200);
    let hers = with_download_url(&ada, &hers).await;
    assert_eq!(download(&ada, &hers).await.body, b"cat");
}

#[tokio::test]
async fn deleting_a_note_deletes_its_file() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let note = ada.create_note("my cat", Some(&name)).await;
    let note = with_download_url(&ada, &note).await;
    assert_eq!(download(&ada, &note).await.status, 200);
    ada.delete(&path_of(&note)).await.json(200);
    assert!(is_missing(&download(&ada, &note).await));
    let new = ada.create_note("my cat", Some(&name)).await;
    assert_eq!(
        new.get("attachmentUrl"),
        None,
        "the attachment record of the file must be deleted"
    );
}

#[tokio::test]
async fn a_file_of_two_notes_is_deleted_only_after_both_notes_are_deleted() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let one = ada.create_note("one", Some(&name)).await;
    // Clients of the original API send the name of a file without the user's prefix.
    let short = name.strip_prefix(&format!("private/{}/", ada.id)).unwrap();
    let two = ada.create_note("two", Some(short)).await;
    let two = with_download_url(&ada, &two).await;
    ada.delete(&path_of(&one)).await.json(200);
    assert_eq!(download(&ada, &two).await.body, b"cat");
    ada.delete(&path_of(&two)).await.json(200);
    assert!(is_missing(&download(&ada, &two).await));
}

#[tokio::test]
async fn an_update_deletes_only_a_file_that_it_replaces_or_removes() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let old = upload(&ada, "old.png", "image/png", b"old").await;
    let new = upload(&ada, "new.png", "image/png", b"new!").await;
    let note = ada.create_note("x", Some(&old)).await;
    let with_old = with_download_url(&ada, &note).await;

    let put = async |attachment: Option<&str>| {
        let body = json!({"content": "y", "attachment": attachment});
        ada.put(&path_of(&note), &body).await.json(200);
    };
    put(Some(&old)).await;
    assert_eq!(download(&ada, &with_old).await.body, b"old");
    put(Some(&new)).await;
    assert!(is_missing(&download(&ada, &with_old).await));
    let with_new = with_download_url(&ada, &note).await;
    assert_eq!(with_new["attachmentSize"], 4);
    assert_eq!(download(&ada, &with_new).await.body, b"new!");
    put(None).await;
    assert!(is_missing(&download(&ada, &with_new).await));
    let without_file = ada.get(&path_of(&note)).await.json(200);
    assert_eq!(without_file["attachment"], json!(null));
    assert_eq!(without_file.get("attachmentUrl"), None);
}

#[tokio::test]
async fn a_rejected_update_deletes_no_file() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let name = upload(&ada, "cat.png", "image/png", b"cat").await;
    let note = ada.create_note("my cat", Some(&name)).await;
    let note = with_download_url(&ada, &note).await;
    for attachment in [json!(name), json!(null)] {
        let body = json!({"content": "stale", "attachment": attachment});
        let put = ada.request(Method::PUT, &path_of(&note)).json(&body);
        let put = put.header("if-match", r#""stale""#).send().await;
        put.problem(412);
    }
    assert_eq!(download(&ada, &note).await.body, b"cat");
}
