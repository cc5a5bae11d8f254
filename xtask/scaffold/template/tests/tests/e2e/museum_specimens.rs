//! Tests of the routes /specimens and /specimens/{id}.

use serde_json::{Value, json};
use test_support::http::Method;
use test_support::samples;
use test_support::stage::{Person, Stage};
use tokio::task::JoinSet;

/// The fields whose values no two specimens of a user share.
const UNIQUE: &[&str] = &[
    // each unique field {
    "accession",
    // }
];

/// The body of a request for a specimen. Each `number` gives other values of the unique fields.
fn body(number: u32) -> Value {
    let sample = samples::body("museum-specimens-create");
    samples::numbered(&sample, UNIQUE.iter().copied(), number)
}

fn path_of(specimen: &Value) -> String {
    format!("/specimens/{}", specimen["specimenId"].as_str().unwrap())
}

async fn create(person: &Person<'_>, number: u32) -> Value {
    person.post("/specimens", &body(number)).await.json(201)
}

#[tokio::test]
async fn a_specimen_can_be_created_read_updated_and_deleted() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;

    let created = ada.post("/specimens", &body(1)).await;
    let specimen = created.json(201);
    let mut expected = body(1);
    for name in ["specimenId", "createdAt", "updatedAt"] {
        assert_ne!(specimen[name], json!(null), "{name}");
        expected[name] = specimen[name].clone();
    }
    expected["userId"] = json!(ada.id);
    assert_eq!(specimen, expected);
    assert_eq!(specimen["createdAt"], specimen["updatedAt"]);

    let location = created.resolve(created.header("location").unwrap());
    let read = ada.get(&location).await;
    assert_eq!(read.json(200), specimen);
    assert_eq!(read.header("etag"), created.header("etag"));
    assert_eq!(ada.get("/specimens").await.json(200), json!([specimen]));

    let change = samples::body("museum-specimens-update");
    let changed = ada.put(&path_of(&specimen), &change).await;
    assert_eq!(changed.json(200), json!({"status": true}));
    let read = ada.get(&path_of(&specimen)).await;
    assert_eq!(read.header("etag"), changed.header("etag"));
    assert_ne!(read.header("etag"), created.header("etag"));
    let updated = read.json(200);
    assert!(updated["updatedAt"].as_u64() >= specimen["updatedAt"].as_u64());
    for (name, value) in change.as_object().unwrap() {
        assert_eq!(updated[name], *value, "{name}");
    }
    assert_eq!(updated["createdAt"], specimen["createdAt"]);

    for _ in 0..2 {
        let deleted = ada.delete(&path_of(&specimen)).await;
        assert_eq!(deleted.json(200), json!({"status": true}));
        ada.get(&path_of(&specimen)).await.problem(404);
    }
    assert_eq!(ada.get("/specimens").await.json(200), json!([]));
}

#[tokio::test]
async fn an_invalid_value_of_a_field_is_refused_and_named() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let valid = body(1);
    let specimen = ada.post("/specimens", &valid).await.json(201);
    let names: Vec<_> = valid.as_object().unwrap().keys().collect();
    for name in &names {
        let mut invalid = valid.clone();
        invalid[name] = json!([]);
        let post = ada.post("/specimens", &invalid).await;
        post.assert_invalid(&[name]);
        let put = ada.put(&path_of(&specimen), &invalid).await;
        put.assert_invalid(&[name]);
    }
    let all = names.iter().map(|name| ((*name).clone(), json!([])));
    let all = ada.post("/specimens", &Value::Object(all.collect())).await;
    let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
    all.assert_invalid(&names);
    assert_eq!(ada.get("/specimens").await.json(200), json!([specimen]));
}

#[tokio::test]
async fn every_specimen_is_listed_once_newest_first_with_the_requested_number_per_page() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mut created = Vec::new();
    for number in 0..7 {
        created.insert(0, create(&ada, number).await);
    }
    for (limit, expected) in [(3, vec![3, 3, 1]), (7, vec![7]), (100, vec![7])] {
        let pages = ada.pages(&format!("/specimens?limit={limit}")).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected);
        assert_eq!(pages.concat(), created);
    }
    for limit in ["0", "101", "x"] {
        let refused = ada.get(&format!("/specimens?limit={limit}")).await;
        refused.assert_invalid(&["limit"]);
    }
    let bob = Person::sign_up(&stage).await;
    let second_page = ada.get("/specimens?limit=1").await.next_page().unwrap();
    ada.get(&second_page).await.json(200);
    bob.get(&second_page).await.problem(400);
}

#[tokio::test]
async fn a_write_with_if_match_needs_a_matching_etag() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let specimen = create(&ada, 1).await;
    let path = path_of(&specimen);
    let put = async |tags: &str| {
        let put = ada.request(Method::PUT, &path).json(&body(2));
        put.header("if-match", tags).send().await
    };
    let delete = async |tags: &str| {
        let delete = ada.request(Method::DELETE, &path);
        delete.header("if-match", tags).send().await
    };
    let first = ada.get(&path).await;
    let first = first.header("etag").unwrap();
    put("*").await.json(200);
    for stale in [first, r#""x""#] {
        put(stale).await.problem(412);
        delete(stale).await.problem(412);
    }
    put("x").await.problem(400);
    let now = ada.get(&path).await;
    let now = now.header("etag").unwrap();
    put(&format!("{first}, {now}")).await.json(200);
    let now = ada.get(&path).await;
    delete(now.header("etag").unwrap()).await.json(200);
    put("*").await.problem(404);
    delete(first).await.json(200);
}

#[tokio::test]
async fn only_one_of_twenty_concurrent_updates_with_the_same_etag_succeeds() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let specimen = create(&ada, 0).await;
    let read = ada.get(&path_of(&specimen)).await;
    let tag = read.header("etag").unwrap();
    let mut writes = JoinSet::new();
    for number in 1..=20 {
        let put = ada.request(Method::PUT, &path_of(&specimen));
        let put = put.json(&body(number)).header("if-match", tag);
        writes.spawn(put.send());
    }
    let responses = writes.join_all().await;
    let (succeeded, refused): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status == 200);
    assert_eq!(succeeded.len(), 1);
    for response in refused {
        response.problem(412);
    }
    let now = ada.get(&path_of(&specimen)).await;
    assert_eq!(now.header("etag"), succeeded[0].header("etag"));
}

#[tokio::test]
async fn requests_with_one_idempotency_key_create_one_specimen_and_get_one_response() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let post = |number| {
        let request = ada.request(Method::POST, "/specimens").json(&body(number));
        request.header("Idempotency-Key", "form-1").send()
    };
    let mut posts = JoinSet::new();
    for _ in 0..20 {
        posts.spawn(post(1));
    }
    let responses = posts.join_all().await;
    let again = post(1).await;
    for response in responses {
        if response.status == 409 {
            assert!(response.header("retry-after").is_some());
            continue;
        }
        assert_eq!(response.body, again.body);
        assert_eq!(response.header("etag"), again.header("etag"));
        assert_eq!(response.header("location"), again.header("location"));
    }
    assert_eq!(
        ada.get("/specimens").await.json(200),
        json!([again.json(201)])
    );
    // The same JSON in other bytes.
    let other = ada.request(Method::POST, "/specimens");
    let other = other.header("content-type", "application/json");
    let other = other.body(format!("{} ", body(1)));
    let other = other.header("Idempotency-Key", "form-1").send().await;
    other.assert_invalid(&["Idempotency-Key"]);
}

#[tokio::test]
async fn users_can_access_only_their_own_specimens() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    let hers = create(&ada, 1).await;
    let his = create(&bob, 1).await;
    assert_eq!(bob.get("/specimens").await.json(200), json!([his]));
    bob.get(&path_of(&hers)).await.problem(404);
    bob.put(&path_of(&hers), &body(2)).await.problem(404);
    // The response is the same as for a specimen that does not exist.
    bob.delete(&path_of(&hers)).await.json(200);
    assert_eq!(ada.get("/specimens").await.json(200), json!([hers]));
}

#[tokio::test]
async fn an_unsigned_request_for_specimens_is_refused() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let specimen = create(&ada, 1).await;
    for (method, path) in [
        (Method::POST, "/specimens".to_owned()),
        (Method::GET, "/specimens".to_owned()),
        (Method::GET, path_of(&specimen)),
        (Method::PUT, path_of(&specimen)),
        (Method::DELETE, path_of(&specimen)),
    ] {
        let request = ada.unsigned(method, &path).json(&body(2));
        request.send().await.problem(403);
    }
    assert_eq!(ada.get("/specimens").await.json(200), json!([specimen]));
}

// if unique {
#[tokio::test]
async fn two_specimens_of_a_user_never_have_the_same_unique_value() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let mut posts = JoinSet::new();
    for _ in 0..20 {
        let post = ada.request(Method::POST, "/specimens").json(&body(1));
        posts.spawn(post.send());
    }
    let responses = posts.join_all().await;
    let (created, refused): (Vec<_>, Vec<_>) = responses
        .iter()
        .partition(|response| response.status == 201);
    assert_eq!(created.len(), 1);
    for response in refused {
        let problem = response.problem(409);
        let errors = problem["errors"].as_array().unwrap().iter();
        let named: Vec<_> = errors.map(|error| error["field"].clone()).collect();
        assert_eq!(named, UNIQUE, "{problem}");
    }
    let first = created[0].json(201);
    let second = create(&ada, 2).await;
    ada.put(&path_of(&second), &body(1)).await.problem(409);
    assert_eq!(ada.get(&path_of(&second)).await.json(200), second);
    // An update and a deletion free the old value.
    ada.put(&path_of(&first), &body(3)).await.json(200);
    ada.put(&path_of(&second), &body(1)).await.json(200);
    ada.delete(&path_of(&first)).await.json(200);
    create(&ada, 3).await;
    create(&ada, 2).await;
}
// }
