//! Tests of the API's responses to invalid input.

use serde_json::{Value, json};
use test_support::http::{Method, Request};
use test_support::stage::{Person, Stage};

use crate::path_of;

/// Returns invalid request bodies to create or update a note, each with the names of its invalid fields.
fn invalid_drafts() -> Vec<(Value, Vec<&'static str>)> {
    let long = "x".repeat(100_001);
    vec![
        (json!({}), vec!["content"]),
        (json!({"attachment": null}), vec!["content"]),
        (json!({"content": ""}), vec!["content"]),
        (json!({"content": long}), vec!["content"]),
        (json!({"content": null}), vec!["content"]),
        (json!({"content": 5}), vec!["content"]),
        (json!({"content": ["x"]}), vec!["content"]),
        (json!({"content": {"text": "x"}}), vec!["content"]),
        (json!({"content": "x", "attachment": 5}), vec!["attachment"]),
        (
            json!({"content": "x", "attachment": ""}),
            vec!["attachment"],
        ),
        (
            json!({"content": "x", "attachment": "../x"}),
            vec!["attachment"],
        ),
        (
            json!({"content": "x", "attachment": "a\u{0}b"}),
            vec!["attachment"],
        ),
        (
            json!({"content": "x", "attachment": "x".repeat(901)}),
            vec!["attachment"],
        ),
        (
            json!({"content": "", "attachment": true}),
            vec!["content", "attachment"],
        ),
        (json!([]), vec![""]),
        (json!("content"), vec![""]),
        (json!(null), vec![""]),
    ]
}

/// Asserts that a route rejects malformed bodies, unsupported content types and bodies that are too large. `request`
/// creates a request for the route, and `valid` is a valid body.
pub(crate) async fn assert_unreadable_bodies_are_rejected(
    request: impl Fn() -> Request,
    valid: &Value,
) {
    for text in [
        "{",
        "hello",
        r#"{"content":}"#,
        "\u{0}",
        r#"{"content":"x"} x"#,
    ] {
        let response = request()
            .header("content-type", "application/json")
            .body(text);
        response.send().await.problem(400);
    }
    let invalid = request()
        .header("content-type", "application/json")
        .body([0xff, 0xfe]);
    invalid.send().await.problem(400);
    request().send().await.problem(400);
    for kind in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "x",
    ] {
        let response = request().json(valid).header("content-type", kind);
        response.send().await.problem(415);
    }
    let large = json!({"content": "x".repeat(2_000_001)});
    request().json(&large).send().await.problem(413);
}

#[tokio::test]
async fn invalid_notes_are_not_created() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let request = || ada.request(Method::POST, "/notes");
    for (draft, fields) in invalid_drafts() {
        request().json(&draft).send().await.assert_invalid(&fields);
    }
    assert_unreadable_bodies_are_rejected(request, &json!({"content": "x"})).await;
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn invalid_updates_do_not_change_a_note() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("hello", None).await;
    let request = || ada.request(Method::PUT, &path_of(&note));
    for (draft, fields) in invalid_drafts() {
        request().json(&draft).send().await.assert_invalid(&fields);
    }
    assert_unreadable_bodies_are_rejected(request, &json!({"content": "x"})).await;
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn invalid_upload_requests_are_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let request = || ada.request(Method::POST, "/notes/attachments");
    let good = json!({"filename": "cat.png", "contentType": "image/png", "size": 3});
    request().json(&good).send().await.json(201);
    for (field, values) in [
        (
            "filename",
            vec![
                json!(""),
                json!("a/b"),
                json!("a\u{0}"),
                json!(5),
                json!("x".repeat(256)),
            ],
        ),
        (
            "contentType",
            vec![
                json!(""),
                json!("png"),
                json!("image/png\r\nx: y"),
                json!(null),
            ],
        ),
        (
            "size",
            vec![
                json!(0),
                json!(-1),
                json!(5_000_001),
                json!("3"),
                json!(1.5),
            ],
        ),
    ] {
        for value in values {
            let mut bad = good.clone();
            bad[field] = value;
            request().json(&bad).send().await.assert_invalid(&[field]);
        }
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        request()
            .json(&without)
            .send()
            .await
            .assert_invalid(&[field]);
    }
    let all = ["filename", "contentType", "size"];
    let bad = json!({"filename": "", "contentType": "", "size": 0});
    request().json(&bad).send().await.assert_invalid(&all);
    assert_unreadable_bodies_are_rejected(request, &good).await;
}

#[tokio::test]
async fn invalid_page_limits_are_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for limit in ["0", "101", "x", "-1", "1.5", "", "99999999999999999999"] {
        let list = ada.get(&format!("/notes?limit={limit}")).await;
        list.assert_invalid(&["limit"]);
    }
}

#[tokio::test]
async fn get_and_put_with_a_malformed_note_id_return_404_but_delete_succeeds() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for id in [
        "x",
        "1",
        "019aa0b4e1007d21a6e43c8f1b52d907",
        "%F0%9F%98%80",
        "a%20b",
    ] {
        let path = format!("/notes/{id}");
        ada.get(&path).await.problem(404);
        ada.put(&path, &json!({"content": "x"})).await.problem(404);
        let deleted = ada.delete(&path).await.json(200);
        assert_eq!(deleted, json!({"status": true}));
    }
    assert!(ada.has_no_notes().await);
}
