//! Access control: the permissions of users in the API, and of functions through their roles.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use test_support::functions;
use test_support::http::{Method, Request};
use test_support::stage::{Person, Stage, wait_for};

use crate::attachments::{put_file, request_upload};
use crate::path_of;

/// Returns a request for each route that requires a signature: method, path and body. A request is valid if the user
/// who owns `note` signs it.
fn routes(note: &Value) -> Vec<(Method, String, Option<Value>)> {
    let file = json!({"filename": "cat.png", "contentType": "image/png", "size": 3});
    let draft = json!({"content": "not hers"});
    let routes = vec![
        (Method::POST, "/notes".into(), Some(draft.clone())),
        (Method::GET, "/notes".into(), None),
        (Method::GET, path_of(note), None),
        (Method::PUT, path_of(note), Some(draft)),
        (Method::DELETE, path_of(note), None),
        (Method::POST, "/notes/attachments".into(), Some(file)),
    ];
    let all = [
        routes,
        crate::billing_access::routes(), // part: billing
    ];
    all.concat()
}

fn with_body(request: Request, body: &Option<Value>) -> Request {
    match body {
        Some(body) => request.json(body),
        None => request,
    }
}

#[tokio::test]
async fn users_can_access_only_their_own_notes() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    assert_ne!(ada.id, bob.id);
    let hers = ada.create_note("hers", None).await;
    let his = bob.create_note("his", None).await;

    assert_eq!(bob.get("/notes").await.json(200), json!([his]));
    bob.get(&path_of(&hers)).await.problem(404);
    let draft = json!({"content": "his by now"});
    bob.put(&path_of(&hers), &draft).await.problem(404);
    let put = bob.request(Method::PUT, &path_of(&hers)).json(&draft);
    put.header("if-match", "*").send().await.problem(404);
    // The response is the same as for a note that does not exist.
    bob.delete(&path_of(&hers)).await.json(200);
    assert_eq!(ada.get(&path_of(&hers)).await.json(200), hers);
    assert_eq!(ada.get("/notes").await.json(200), json!([hers]));
}

#[tokio::test]
async fn a_user_id_in_the_body_or_a_header_is_ignored() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let body = json!({"content": "whose?", "userId": ada.id, "noteId": "x"});
    let post = bob.request(Method::POST, "/notes").json(&body);
    let post = post.header("x-amz-cognito-identity-id", &ada.id);
    assert_eq!(post.send().await.json(201)["userId"], bob.id.as_str());
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn unsigned_requests_are_rejected_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("hers", None).await;
    for (method, path, body) in routes(&note) {
        let request = with_body(ada.unsigned(method, &path), &body);
        request.send().await.problem(403);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn requests_changed_after_signing_are_rejected_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("hers", None).await;
    for (method, path, body) in routes(&note) {
        let request = || with_body(ada.request(method.clone(), &path), &body);
        let signature = request().send_tampered(|request| {
            let header = &request.headers()["authorization"];
            let mut header = header.to_str().unwrap().to_owned();
            let last = if header.ends_with('0') { "1" } else { "0" };
            header.replace_range(header.len() - 1.., last);
            let header = header.try_into().unwrap();
            request.headers_mut().insert("authorization", header);
        });
        signature.await.problem(403);
        let query = request().send_tampered(|request| {
            request.url_mut().set_query(Some("limit=1"));
        });
        query.await.problem(403);
        let method = request().send_tampered(|request| {
            let other = match request.method() {
                &Method::GET => Method::DELETE,
                _ => Method::GET,
            };
            // Not every path supports both methods, so the path changes as well.
            request.url_mut().set_path(&{
                let api = stage.api_url.split_once("/_aws").unwrap().1;
                format!("/_aws{api}{}", path_of(&note))
            });
            *request.method_mut() = other;
        });
        method.await.problem(403);
        if body.is_some() {
            let body = request().send_tampered(|request| {
                *request.body_mut() = Some(json!({"content": "other"}).to_string().into());
            });
            body.await.problem(403);
        }
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn requests_signed_an_hour_ago_are_rejected_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("hers", None).await;
    let long_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    for (method, path, body) in routes(&note) {
        let request = with_body(ada.request(method, &path), &body);
        request.signed_at(long_ago).send().await.problem(403);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn unknown_or_incomplete_credentials_are_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for (key_id, secret, token) in [
        (Some("ASIAIOSFODNN7EXAMPLE"), None, true),
        (None, Some("not the secret"), true),
        (None, None, false),
    ] {
        let signer = ada.signer_with(key_id, secret, token);
        let request = ada.unsigned(Method::GET, "/notes").signed_by(&signer);
        request.send().await.problem(403);
    }
}

#[tokio::test]
async fn preflight_requests_allow_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.create_note("hers", None).await;
    for (method, path, _) in routes(&note) {
        let preflight = ada
            .unsigned(Method::OPTIONS, &path)
            .header("origin", "http://localhost:5173")
            .header("access-control-request-method", method.as_str())
            .header(
                "access-control-request-headers",
                "authorization,content-type,if-match,x-amz-date,x-amz-security-token",
            );
        let response = preflight.send().await;
        assert!(matches!(response.status, 200 | 204), "{response:?}");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        let allowed = |name| response.header(name).unwrap_or_default().to_lowercase();
        let methods = allowed("access-control-allow-methods");
        assert!(
            methods
                .split(',')
                .any(|allowed| allowed.trim() == method.as_str().to_lowercase()),
            "{method} {path}: {methods}"
        );
        let headers = allowed("access-control-allow-headers");
        let headers: HashSet<_> = headers.split(',').map(str::trim).collect();
        for header in [
            "authorization",
            "content-type",
            "idempotency-key",
            "if-match",
            "x-amz-content-sha256",
            "x-amz-date",
            "x-amz-security-token",
        ] {
            assert!(headers.contains(header), "{method} {path}: {headers:?}");
        }
    }
}

#[tokio::test]
async fn unknown_routes_return_a_problem_with_cors_headers() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::PATCH, "/notes"),
        (Method::GET, "/notes/attachments/x"),
    ] {
        let response = ada.request(method, path).send().await;
        assert!(matches!(response.status, 403 | 404), "{response:?}");
        response.problem(response.status);
    }
}

/// Returns the strings in a field of an IAM policy. The field contains either one string or a list of strings.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap()).collect(),
        text => vec![text.as_str().unwrap()],
    }
}

#[tokio::test]
async fn every_function_has_its_own_role_limited_to_named_resources() {
    let stage = Stage::shared().await;
    let mut roles = HashSet::new();
    for function in functions::all() {
        let role = stage.role_of(&function.name).await;
        let name = role.rsplit('/').next().unwrap();
        assert!(roles.insert(role.clone()), "{role} is shared");
        let shared = stage.attached_policies(name).await;
        assert!(shared.is_empty(), "{role}: {shared:?}");
        let policies = stage.inline_policies(name).await;
        assert!(!policies.is_empty(), "{role}");
        for policy in policies {
            let policy = stage.inline_policy(name, &policy).await;
            for statement in policy["Statement"].as_array().unwrap() {
                let actions = strings(&statement["Action"]);
                let tracing = actions.iter().all(|action| action.starts_with("xray:"));
                for action in &actions {
                    assert!(!action.contains('*'), "{role}: {statement}");
                }
                // part: notify {
                // Phone numbers have no ARN, so the permission to send SMS is for all resources except topics.
                if actions == ["sns:Publish"] && statement["NotResource"] == "arn:aws:sns:*:*:*" {
                    continue;
                }
                // part: notify }
                for resource in strings(&statement["Resource"]) {
                    // A wildcard may follow the bucket's private/ prefix and the function's log group.
                    let prefix = resource
                        .split_once('*')
                        .map_or(resource, |(prefix, _)| prefix);
                    let names = ["scratchpad-{}-", "/scratchpad/{}/"];
                    let names = names.map(|name| name.replace("{}", stage.name()));
                    assert!(
                        tracing || names.iter().any(|name| prefix.contains(name)),
                        "{role}: {statement}"
                    );
                }
            }
        }
    }
    assert_eq!(roles.len(), functions::all().len());
}

/// Removes the permission for `action` from the role of `function`, runs `work`, and restores the permission.
pub(crate) async fn without_permission<T>(
    stage: &Stage,
    (function, action): (&str, &str),
    work: impl AsyncFnOnce() -> T,
) -> T {
    let role = stage.role_of(function).await;
    let role = role.rsplit('/').next().unwrap();
    let name = &stage.inline_policies(role).await[0];
    let whole = stage.inline_policy(role, name).await;
    let mut trimmed = whole.clone();
    let statements = trimmed["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        let mut actions = strings(&statement["Action"]);
        actions.retain(|allowed| *allowed != action);
        statement["Action"] = json!(actions);
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    assert!(
        whole.to_string().contains(action) && !trimmed.to_string().contains(action),
        "{function} must have the permission {action} once: {whole}"
    );
    stage.put_inline_policy(role, name, &trimmed).await;
    let result = work().await;
    stage.put_inline_policy(role, name, &whole).await;
    result
}

/// Creates a note with an attachment whose file is not uploaded yet. Returns the note, and a request body that replaces
/// the attachment with another one.
async fn note_with_file(person: &Person<'_>) -> (Value, Value) {
    let mut names = [(); 2].map(|()| Value::Null);
    for name in &mut names {
        let upload = request_upload(person, "cat.png", "image/png", 3).await;
        *name = upload["attachment"].clone();
    }
    let note = person.create_note("hello", names[0].as_str()).await;
    (note, json!({"content": "hello", "attachment": names[1]}))
}

/// The permissions that functions of notes-api need. Each element has the function, an HTTP method, and the permissions
/// that the function needs for a request with this method.
const NEEDED: [(&str, Method, &[&str]); 5] = [
    (
        "notes-create",
        Method::POST,
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "notes-list",
        Method::GET,
        &["dynamodb:Query", "dynamodb:BatchGetItem"],
    ),
    (
        "notes-get",
        Method::GET,
        &["dynamodb:GetItem", "dynamodb:BatchGetItem"],
    ),
    ("notes-update", Method::PUT, &["dynamodb:UpdateItem"]),
    (
        "notes-delete",
        Method::DELETE,
        &[
            "dynamodb:GetItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
            "s3:DeleteObject",
        ],
    ),
];

#[tokio::test]
async fn a_missing_permission_returns_500_without_internal_details() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let permissions = NEEDED.into_iter().flat_map(|(function, method, actions)| {
        let actions = actions.iter();
        actions.map(move |action| (function, method.clone(), *action))
    });
    for (function, method, action) in permissions {
        let (note, body) = note_with_file(&ada).await;
        if (function, action) == ("notes-delete", "dynamodb:UpdateItem") {
            // With a second note for the file, notes-delete keeps the file and only updates the attachment record.
            ada.create_note("hello too", note["attachment"].as_str())
                .await;
        }
        let path = match function {
            "notes-create" | "notes-list" => "/notes".to_owned(),
            _ => path_of(&note),
        };
        let request = || {
            let request = ada.request(method.clone(), &path);
            match method {
                Method::POST | Method::PUT => request.json(&body),
                _ => request,
            }
        };
        let response =
            without_permission(&stage, (function, action), async || request().send().await);
        let problem = response.await.problem(500).to_string();
        for inside in ["dynamodb", "DynamoDB", "s3", "AccessDenied", "arn:", "role"] {
            assert!(
                !problem.contains(inside),
                "{function} without {action}: {problem}"
            );
        }
        let again = request().send().await;
        let succeeded = matches!(again.status, 200 | 201);
        assert!(
            succeeded,
            "{function} with {action} again: {}",
            again.text()
        );
    }
}

#[tokio::test]
async fn a_note_with_a_recorded_upload_is_read_without_the_attachments_table() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let upload = request_upload(&ada, "cat.png", "image/png", 3).await;
    let name = upload["attachment"].as_str();
    let earlier = ada.create_note("before the upload", name).await;
    assert_eq!(put_file(&ada, &upload, b"cat").await.status, 200);
    without_permission(&stage, ("notes-get", "dynamodb:BatchGetItem"), async || {
        let read = async |note: &Value| {
            let response = ada.get(&path_of(note)).await;
            (response.status == 200).then(|| response.json(200))
        };
        let shown = wait_for("the upload to reach the note", async || {
            read(&earlier).await
        })
        .await;
        assert_eq!(shown["attachmentSize"], 3);
        let later = ada.create_note("after it", name).await;
        let shown = read(&later).await.unwrap();
        assert_eq!(shown["attachmentSize"], 3);
    })
    .await;
}

#[tokio::test]
async fn a_presigned_url_grants_only_what_the_function_role_allows() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let upload = request_upload(&ada, "cat.png", "image/png", 3).await;
    let put = async || put_file(&ada, &upload, b"cat").await.status;
    let refused = without_permission(&stage, ("notes-upload", "s3:PutObject"), &put).await;
    assert_eq!((refused, put().await), (403, 200));

    let note = ada
        .create_note("my cat", upload["attachment"].as_str())
        .await;
    for (function, path) in [
        ("notes-get", path_of(&note)),
        ("notes-list", "/notes".to_owned()),
    ] {
        let shown = wait_for("the download URL", async || {
            let response = ada.get(&path).await.json(200);
            let note = response.get(0).unwrap_or(&response);
            Some(note.get("attachmentUrl")?.as_str()?.to_owned())
        })
        .await;
        let get = async || ada.unsigned(Method::GET, &shown).send().await.status;
        let refused = without_permission(&stage, (function, "s3:GetObject"), &get).await;
        assert_eq!((refused, get().await), (403, 200), "{function}");
    }
}
