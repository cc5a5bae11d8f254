//! Who may do what: people through the API, functions by their roles.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use e2e::functions;
use e2e::http::{Method, Request};
use e2e::stage::{Person, Stage, until};
use serde_json::{Value, json};

use crate::address;
use crate::attachments::{declare, put};

/// Every route, as a request that would do if it were signed by `ada`, who has that note.
fn routes(note: &Value) -> Vec<(Method, String, Option<Value>)> {
    let file = json!({"filename": "cat.png", "contentType": "image/png", "size": 3});
    let draft = json!({"content": "not hers"});
    let order = json!({"storage": 10, "source": "tok_visa"});
    vec![
        (Method::POST, "/notes".into(), Some(draft.clone())),
        (Method::GET, "/notes".into(), None),
        (Method::GET, address(note), None),
        (Method::PUT, address(note), Some(draft)),
        (Method::DELETE, address(note), None),
        (Method::POST, "/notes/attachments".into(), Some(file)),
        (Method::POST, "/billing".into(), Some(order)),
        (Method::GET, "/billing".into(), None),
    ]
}

fn with(request: Request, body: &Option<Value>) -> Request {
    match body {
        Some(body) => request.json(body),
        None => request,
    }
}

#[tokio::test]
async fn two_people_see_and_touch_their_own_notes_alone() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    assert_ne!(ada.id, bob.id);
    let hers = ada.note("hers", None).await;
    let his = bob.note("his", None).await;

    assert_eq!(bob.get("/notes").await.json(200), json!([his]));
    bob.get(&address(&hers)).await.problem(404);
    let draft = json!({"content": "his by now"});
    bob.put(&address(&hers), &draft).await.problem(404);
    let put = bob.request(Method::PUT, &address(&hers)).json(&draft);
    put.header("if-match", "*").send().await.problem(404);
    // As if it were gone: whether it ever was is not his to know.
    bob.delete(&address(&hers)).await.json(200);
    assert_eq!(ada.get(&address(&hers)).await.json(200), hers);
    assert_eq!(ada.get("/notes").await.json(200), json!([hers]));
}

#[tokio::test]
async fn nobody_is_who_a_request_says_they_are() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let body = json!({"content": "whose?", "userId": ada.id, "noteId": "x"});
    let post = bob.request(Method::POST, "/notes").json(&body);
    let post = post.header("x-amz-cognito-identity-id", &ada.id);
    assert_eq!(post.send().await.json(201)["userId"], bob.id.as_str());
    assert!(ada.has_no_notes().await);
}

#[tokio::test]
async fn an_unsigned_request_is_refused_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("hers", None).await;
    for (method, path, body) in routes(&note) {
        let request = with(ada.unsigned(method, &path), &body);
        request.send().await.problem(403);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn a_request_changed_after_it_was_signed_is_refused_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("hers", None).await;
    for (method, path, body) in routes(&note) {
        let request = || with(ada.request(method.clone(), &path), &body);
        let signature = request().send_altered(|request| {
            let header = &request.headers()["authorization"];
            let mut header = header.to_str().unwrap().to_owned();
            let last = if header.ends_with('0') { "1" } else { "0" };
            header.replace_range(header.len() - 1.., last);
            let header = header.try_into().unwrap();
            request.headers_mut().insert("authorization", header);
        });
        signature.await.problem(403);
        let query = request().send_altered(|request| {
            request.url_mut().set_query(Some("limit=1"));
        });
        query.await.problem(403);
        let verb = request().send_altered(|request| {
            let other = match request.method() {
                &Method::GET => Method::DELETE,
                _ => Method::GET,
            };
            // A list cannot be deleted, nor attachments read: there a changed note has to do.
            request.url_mut().set_path(&{
                let api = stage.api_url.split_once("/_aws").unwrap().1;
                format!("/_aws{api}{}", address(&note))
            });
            *request.method_mut() = other;
        });
        verb.await.problem(403);
        if body.is_some() {
            let body = request().send_altered(|request| {
                *request.body_mut() = Some(json!({"content": "other"}).to_string().into());
            });
            body.await.problem(403);
        }
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn a_request_signed_an_hour_ago_is_refused_on_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("hers", None).await;
    let long_ago = SystemTime::now() - Duration::from_secs(60 * 60);
    for (method, path, body) in routes(&note) {
        let request = with(ada.request(method, &path), &body);
        request.signed_at(long_ago).send().await.problem(403);
    }
    assert_eq!(ada.get("/notes").await.json(200), json!([note]));
}

#[tokio::test]
async fn credentials_that_are_nobodys_or_not_whole_are_refused() {
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
async fn a_browser_is_let_through_to_every_route() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let note = ada.note("hers", None).await;
    for (method, path, _) in routes(&note) {
        let preflight = ada
            .unsigned(Method::OPTIONS, &path)
            .header("origin", "http://localhost:5173")
            .header("access-control-request-method", method.as_str())
            .header(
                "access-control-request-headers",
                "authorization,content-type,if-match,x-amz-date,x-amz-security-token",
            );
        let answer = preflight.send().await;
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let allowed = |name| answer.header(name).unwrap_or_default().to_lowercase();
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
async fn an_address_that_is_none_is_a_problem_that_a_browser_may_read() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::PATCH, "/notes"),
        (Method::GET, "/notes/attachments/x"),
    ] {
        let answer = ada.request(method, path).send().await;
        assert!(matches!(answer.status, 403 | 404), "{answer:?}");
        answer.problem(answer.status);
    }
}

/// A value that a policy gives as one or as a list.
pub(crate) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap()).collect(),
        text => vec![text.as_str().unwrap()],
    }
}

#[tokio::test]
async fn every_function_has_a_role_of_its_own_that_names_what_it_touches() {
    let stage = Stage::shared().await;
    let mut roles = HashSet::new();
    for function in functions::all() {
        let role = stage.role_of(&function.name).await;
        let name = role.rsplit('/').next().unwrap();
        assert!(roles.insert(role.clone()), "{role} is shared");
        let shared = stage.shared_policies_of(name).await;
        assert!(shared.is_empty(), "{role}: {shared:?}");
        let policies = stage.policies_of(name).await;
        assert!(!policies.is_empty(), "{role}");
        for policy in policies {
            let policy = stage.policy(name, &policy).await;
            for statement in policy["Statement"].as_array().unwrap() {
                let actions = texts(&statement["Action"]);
                let tracing = actions.iter().all(|action| action.starts_with("xray:"));
                // Phones have no names in AWS: leave to text them is leave for all but topics.
                let phones =
                    actions == ["sns:Publish"] && statement["NotResource"] == "arn:aws:sns:*:*:*";
                for action in &actions {
                    assert!(!action.contains('*'), "{role}: {statement}");
                }
                if phones {
                    continue;
                }
                for resource in texts(&statement["Resource"]) {
                    // Below its bucket's private/ and its own log group a function may name all.
                    let named = resource
                        .split_once('*')
                        .map_or(resource, |(named, _)| named);
                    let ours = ["scratchpad-{}-", "/scratchpad/{}/"];
                    let ours = ours.map(|ours| ours.replace("{}", stage.name()));
                    assert!(
                        tracing || ours.iter().any(|ours| named.contains(ours)),
                        "{role}: {statement}"
                    );
                }
            }
        }
    }
    assert_eq!(roles.len(), functions::all().len());
}

/// Does `work` while the role of a function lacks an action.
pub(crate) async fn without<T>(
    stage: &Stage,
    (function, action): (&str, &str),
    work: impl AsyncFnOnce() -> T,
) -> T {
    let role = stage.role_of(function).await;
    let role = role.rsplit('/').next().unwrap();
    let name = &stage.policies_of(role).await[0];
    let whole = stage.policy(role, name).await;
    let mut trimmed = whole.clone();
    let statements = trimmed["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        let mut actions = texts(&statement["Action"]);
        actions.retain(|allowed| *allowed != action);
        statement["Action"] = json!(actions);
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    assert!(
        whole.to_string().contains(action) && !trimmed.to_string().contains(action),
        "{function} has {action} to lose: {whole}"
    );
    stage.put_policy(role, name, &trimmed).await;
    let result = work().await;
    stage.put_policy(role, name, &whole).await;
    result
}

/// A note with an attachment, which is not uploaded, and a body that names another.
async fn note_with_file(person: &Person<'_>) -> (Value, Value) {
    let mut names = [(); 2].map(|()| Value::Null);
    for name in &mut names {
        let leave = declare(person, "cat.png", "image/png", 3).await;
        *name = leave["attachment"].clone();
    }
    let note = person.note("hello", names[0].as_str()).await;
    (note, json!({"content": "hello", "attachment": names[1]}))
}

#[tokio::test]
async fn a_function_whose_role_lacks_one_needed_action_fails_and_says_nothing_of_the_inside() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    for (function, method, actions) in [
        (
            "notes-create",
            Method::POST,
            &[
                "dynamodb:BatchGetItem",
                "dynamodb:PutItem",
                "dynamodb:UpdateItem",
            ][..],
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
    ] {
        for action in actions {
            let (note, body) = note_with_file(&ada).await;
            if (function, *action) == ("notes-delete", "dynamodb:UpdateItem") {
                // Of a file that another note names as well, the claim alone is taken back.
                ada.note("hello too", note["attachment"].as_str()).await;
            }
            let path = match function {
                "notes-create" | "notes-list" => "/notes".to_owned(),
                _ => address(&note),
            };
            let request = || {
                let request = ada.request(method.clone(), &path);
                match method {
                    Method::POST | Method::PUT => request.json(&body),
                    _ => request,
                }
            };
            let refused = without(&stage, (function, action), async || request().send().await);
            let said = refused.await.problem(500).to_string();
            for inside in ["dynamodb", "DynamoDB", "s3", "AccessDenied", "arn:", "role"] {
                assert!(
                    !said.contains(inside),
                    "{function} without {action}: {said}"
                );
            }
            let again = request().send().await;
            let done = matches!(again.status, 200 | 201);
            assert!(done, "{function} with {action} again: {}", again.text());
        }
    }
}

#[tokio::test]
async fn a_note_that_was_told_of_its_file_is_read_without_the_files_record() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let leave = declare(&ada, "cat.png", "image/png", 3).await;
    let name = leave["attachment"].as_str();
    let earlier = ada.note("before the upload", name).await;
    assert_eq!(put(&ada, &leave, b"cat").await.status, 200);
    without(&stage, ("notes-get", "dynamodb:BatchGetItem"), async || {
        let told = async |note: &Value| {
            let answer = ada.get(&address(note)).await;
            (answer.status == 200).then(|| answer.json(200))
        };
        let shown = until("the news of the upload", async || told(&earlier).await).await;
        assert_eq!(shown["attachmentSize"], 3);
        let later = ada.note("after it", name).await;
        let shown = told(&later).await.unwrap();
        assert_eq!(shown["attachmentSize"], 3);
    })
    .await;
}

#[tokio::test]
async fn leave_to_read_or_write_a_file_is_worth_what_its_functions_role_may() {
    let stage = Stage::alone().await;
    let ada = Person::sign_up(&stage).await;
    let leave = declare(&ada, "cat.png", "image/png", 3).await;
    let put = async || put(&ada, &leave, b"cat").await.status;
    let refused = without(&stage, ("notes-upload", "s3:PutObject"), &put).await;
    assert_eq!((refused, put().await), (403, 200));

    let note = ada.note("my cat", leave["attachment"].as_str()).await;
    for (function, path) in [
        ("notes-get", address(&note)),
        ("notes-list", "/notes".to_owned()),
    ] {
        let shown = until("the upload", async || {
            let answer = ada.get(&path).await.json(200);
            let note = answer.get(0).unwrap_or(&answer);
            Some(note.get("attachmentUrl")?.as_str()?.to_owned())
        })
        .await;
        let get = async || ada.unsigned(Method::GET, &shown).send().await.status;
        let refused = without(&stage, (function, "s3:GetObject"), &get).await;
        assert_eq!((refused, get().await), (403, 200), "{function}");
    }
}
