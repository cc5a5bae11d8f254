//! The migration of purchases.

use std::collections::BTreeMap;

use local_dynamodb::Dynamodb;
use serde_json::json;

use super::{
    Aws, Random, number, run, run_and_kill, succeeded, text, totals,
    users::{self, USERS, user_id},
};

#[tokio::test]
async fn paid_purchases_are_credited_once_although_the_migration_is_killed() {
    let mut random = Random::from_env();
    let dynamodb = Dynamodb::start(&[("Purchases", "purchaseId"), ("Storage", "entry")])
        .await
        .unwrap();
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for number in 0..120 {
        let user = user_id(number % USERS);
        let storage = 1 + random.below(500) as i64;
        let id = users::id(number);
        // Purchases with a revision are credited by the subscriber.
        let (status, revision) = match number % 4 {
            0 => ("PENDING", None),
            1 => ("FAILED", None),
            2 => ("PAID", Some("1")),
            _ => ("PAID", None),
        };
        let mut purchase = json!({
            "userId": {"S": user}, "purchaseId": {"S": id}, "status": {"S": status},
            "storage": {"N": storage.to_string()}, "updatedAt": {"N": "1763632801000"},
        });
        if let Some(revision) = revision {
            purchase["revision"] = json!({"N": revision});
        }
        dynamodb.put("Purchases", &purchase).unwrap();
        if status == "PAID" && revision.is_none() {
            *expected.entry(user.clone()).or_default() += storage;
        }
    }
    // A purchase that was restored from a backup, and was refunded before.
    let (user, id) = (user_id(0), users::id(1_000));
    let restored = json!({
        "userId": {"S": user}, "purchaseId": {"S": id}, "status": {"S": "PAID"}, "storage": {"N": "7"},
        "updatedAt": {"N": "1763632801000"},
    });
    dynamodb.put("Purchases", &restored).unwrap();
    let credit = json!({
        "userId": {"S": user}, "entry": {"S": id}, "granted": {"N": "0"}, "revision": {"N": "3"},
    });
    dynamodb.put("Storage", &credit).unwrap();

    let aws = Aws::start(dynamodb.url(), &["Purchases", "Storage"]).await;
    let arguments = ["migrate", "credit-purchases"];
    for _ in 0..3 {
        run_and_kill(&aws, &arguments, &mut random, 40).await;
    }
    succeeded(&run(&aws, &arguments).await);

    let totals = totals(&dynamodb);
    for (user, bought) in &expected {
        assert_eq!(number(&totals[user], "bought"), *bought, "{user}");
        assert_eq!(number(&totals[user], "balance"), -bought, "{user}");
    }
    assert_eq!(totals.len(), expected.len());
    for purchase in dynamodb.items("Purchases").unwrap() {
        let is_paid = text(&purchase, "status") == "PAID";
        let revision = if text(&purchase, "purchaseId") == id {
            3
        } else {
            i64::from(is_paid)
        };
        assert_eq!(number(&purchase, "revision"), revision, "{purchase}");
    }
    let list = run(&aws, &["migrate"]).await;
    succeeded(&list);
    let list = String::from_utf8(list.stdout).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].starts_with("count-notes") && lines[0].contains("not started"),
        "{list}"
    );
    assert!(
        lines[1].starts_with("credit-purchases") && lines[1].contains("done"),
        "{list}"
    );
}
