//! Tests of the pagination of GET /billing.

use serde_json::{Value, json};
use test_support::stage::{Person, Stage};

/// Places `number` orders one after another, every second one with a declined card. Returns the purchase IDs, newest
/// first.
async fn create_purchases(person: &Person<'_>, number: u32) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 0..number {
        let source = ["tok_visa", "tok_chargeDeclined"][(number % 2) as usize];
        let response = person.buy(number + 1, source).await;
        let response: Value = serde_json::from_slice(&response.body).unwrap();
        ids.insert(0, response["purchaseId"].clone());
    }
    ids
}

#[tokio::test]
async fn pages_have_the_requested_number_of_purchases() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    assert_eq!(ada.get("/billing").await.json(200), json!([]));
    let created = create_purchases(&ada, 7).await;
    for (path, expected) in [
        ("/billing?limit=3", vec![3, 3, 1]),
        ("/billing?limit=7", vec![7]),
        ("/billing?limit=100", vec![7]),
        ("/billing", vec![7]),
    ] {
        let pages = ada.pages(path).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected, "{path}");
        let pages = pages.concat();
        let ids: Vec<_> = pages
            .iter()
            .map(|purchase| &purchase["purchaseId"])
            .collect();
        assert_eq!(ids, created.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn new_purchases_do_not_shift_later_pages() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let created = create_purchases(&ada, 4).await;
    let (mut seen, mut next) = (Vec::new(), Some("/billing?limit=1".to_owned()));
    while let Some(path) = next {
        let response = ada.get(&path).await;
        seen.push(response.json(200)[0]["purchaseId"].clone());
        next = response.next_page();
        ada.buy(1, "tok_visa").await.json(200);
    }
    assert_eq!(seen, created);
}

#[tokio::test]
async fn invalid_page_limits_of_purchases_are_rejected() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for limit in ["0", "101", "x", "-1", "1.5", "", "99999999999999999999"] {
        let list = ada.get(&format!("/billing?limit={limit}")).await;
        list.assert_invalid(&["limit"]);
    }
}

#[tokio::test]
async fn changed_cursors_and_cursors_of_other_users_or_lists_are_rejected() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    create_purchases(&ada, 2).await;
    create_purchases(&bob, 1).await;
    let next = ada.get("/billing?limit=1").await.next_page().unwrap();
    bob.get(&next).await.problem(400);
    ada.get(&next.replace("/billing", "/notes"))
        .await
        .problem(400);
    for content in ["one", "two"] {
        ada.create_note(content, None).await;
    }
    let notes = ada.get("/notes?limit=1").await.next_page().unwrap();
    ada.get(&notes.replace("/notes", "/billing"))
        .await
        .problem(400);
    let (start, cursor) = next.split_once("cursor=").unwrap();
    for tampered in [&cursor[1..], &cursor[..cursor.len() / 2], "", "x", "%00"] {
        let response = ada.get(&format!("{start}cursor={tampered}")).await;
        let problem = response.problem(400);
        assert!(
            problem["detail"].to_string().contains("cursor"),
            "{problem}"
        );
    }
    ada.get(&next).await.json(200);
}

#[tokio::test]
async fn users_see_only_their_own_purchases() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    create_purchases(&ada, 1).await;
    assert_eq!(bob.get("/billing").await.json(200), json!([]));
    let listed = ada.get("/billing").await;
    assert_eq!(listed.json(200)[0]["userId"], ada.id.as_str());
    for inside in ["tok_", "pi_", "unsettledShard", "dueAt"] {
        assert!(!listed.text().contains(inside), "{}", listed.text());
    }
}
