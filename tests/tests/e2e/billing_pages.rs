//! GET /billing, page by page.

use e2e::stage::{Person, Stage};
use serde_json::{Value, json};

/// Orders one after the other, some of which are declined, and returns the ids of the purchases in
/// descending order.
async fn fill(person: &Person<'_>, number: u32) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 0..number {
        let source = ["tok_visa", "tok_chargeDeclined"][(number % 2) as usize];
        let answer = person.buy(number + 1, source).await;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        ids.insert(0, answer["purchaseId"].clone());
    }
    ids
}

#[tokio::test]
async fn a_page_has_as_many_purchases_as_asked_for_and_so_have_those_after_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    assert_eq!(ada.get("/billing").await.json(200), json!([]));
    let made = fill(&ada, 7).await;
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
        assert_eq!(ids, made.iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn purchases_that_come_while_one_reads_do_not_move_the_pages() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let made = fill(&ada, 4).await;
    let (mut seen, mut next) = (Vec::new(), Some("/billing?limit=1".to_owned()));
    while let Some(path) = next {
        let answer = ada.get(&path).await;
        seen.push(answer.json(200)[0]["purchaseId"].clone());
        next = answer.next_page();
        ada.buy(1, "tok_visa").await.json(200);
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_limit_of_purchases_that_is_none_is_refused() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    for limit in ["0", "101", "x", "-1", "1.5", "", "99999999999999999999"] {
        let list = ada.get(&format!("/billing?limit={limit}")).await;
        list.names(&["limit"]);
    }
}

#[tokio::test]
async fn a_cursor_of_another_person_or_another_list_or_tampered_with_is_refused() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    fill(&ada, 2).await;
    fill(&bob, 1).await;
    let next = ada.get("/billing?limit=1").await.next_page().unwrap();
    bob.get(&next).await.problem(400);
    ada.get(&next.replace("/billing", "/notes"))
        .await
        .problem(400);
    for content in ["one", "two"] {
        ada.note(content, None).await;
    }
    let notes = ada.get("/notes?limit=1").await.next_page().unwrap();
    ada.get(&notes.replace("/notes", "/billing"))
        .await
        .problem(400);
    let (start, cursor) = next.split_once("cursor=").unwrap();
    for tampered in [&cursor[1..], &cursor[..cursor.len() / 2], "", "x", "%00"] {
        let answer = ada.get(&format!("{start}cursor={tampered}")).await;
        let problem = answer.problem(400);
        assert!(
            problem["detail"].to_string().contains("cursor"),
            "{problem}"
        );
    }
    ada.get(&next).await.json(200);
}

#[tokio::test]
async fn two_people_see_their_own_purchases_alone() {
    let stage = Stage::shared().await;
    let (ada, bob) = (Person::sign_up(&stage).await, Person::sign_up(&stage).await);
    fill(&ada, 1).await;
    assert_eq!(bob.get("/billing").await.json(200), json!([]));
    let listed = ada.get("/billing").await;
    assert_eq!(listed.json(200)[0]["userId"], ada.id.as_str());
    for inside in ["tok_", "pi_", "unsettledShard", "dueAt"] {
        assert!(!listed.text().contains(inside), "{}", listed.text());
    }
}
