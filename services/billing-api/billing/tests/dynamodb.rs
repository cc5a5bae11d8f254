//! The table Purchases behind a real DynamoDB API: what the service promises of it.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{ffi::OsString, sync::Arc, time::Duration};

use billing::{
    payment::{Decline, End, IntentId},
    purchase::{
        Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Shard, Status, Storage, Timestamp,
        UserId,
    },
    service::{Error, PurchaseStore, PurchasesTable},
};
use dynamodb::Table;
use local_dynamodb::Dynamodb;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The table as its stack has to declare it.
async fn database() -> Dynamodb {
    let database = Dynamodb::start(&[]).await.unwrap();
    let attribute = |name, kind| json!({"AttributeName": name, "AttributeType": kind});
    let key = |hash, range| {
        json!([
            {"AttributeName": hash, "KeyType": "HASH"},
            {"AttributeName": range, "KeyType": "RANGE"},
        ])
    };
    let request = json!({
        "TableName": "Purchases",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": key("userId", "purchaseId"),
        "AttributeDefinitions": [
            attribute("userId", "S"),
            attribute("purchaseId", "S"),
            attribute("unsettledShard", "N"),
            attribute("dueAt", "N"),
        ],
        "GlobalSecondaryIndexes": [{
            "IndexName": "unsettled",
            "KeySchema": key("unsettledShard", "dueAt"),
            "Projection": {"ProjectionType": "ALL"},
        }],
    });
    database.create_table(&request).unwrap();
    database
}

fn purchases_at(endpoint: &str) -> PurchasesTable {
    let vars = |variable| {
        let value = match variable {
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            "AWS_ENDPOINT_URL" => endpoint,
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let aws = aws::Stack::from_vars(vars).unwrap();
    PurchasesTable::new(Table::new(&aws, "Purchases".parse().unwrap()))
}

fn user(name: &str) -> UserId {
    format!("us-east-1:{name}").parse().unwrap()
}

/// A purchase that is due so many seconds after noon.
fn ordered(name: &str, due: u64) -> Purchase {
    let key = PurchaseKey {
        user_id: user(name),
        purchase_id: PurchaseId::generate(),
    };
    let order = Order {
        storage: Storage::try_from(10).unwrap(),
        source: PaymentSource::try_from("tok_visa".to_owned()).unwrap(),
    };
    Purchase::ordered(key, order, NOON, NOON.after(Duration::from_secs(due)))
}

fn intent(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

fn paid(number: usize) -> End {
    End::Paid {
        intent: intent(number),
    }
}

fn failed() -> End {
    End::Failed {
        intent: None,
        decline: Decline {
            code: "card_declined".into(),
            decline_code: Some("insufficient_funds".into()),
            message: "Your card has insufficient funds.".into(),
        },
    }
}

/// All purchases of all shards that are due, read by pages of `limit`.
async fn due(purchases: &PurchasesTable, now: Timestamp, limit: usize) -> Vec<Purchase> {
    let mut all = Vec::new();
    for shard in Shard::all() {
        let mut last = None;
        loop {
            let page = purchases.due(shard, now, last.as_ref(), limit).await;
            let page = page.unwrap();
            assert!(page.purchases.len() <= limit);
            all.extend(page.purchases);
            if !page.more {
                break;
            }
            last = all.last().cloned();
        }
    }
    all
}

fn attributes(item: &Value) -> Vec<&str> {
    let mut names: Vec<_> = item
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_purchase_that_is_there_is_not_written_over() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let first = ordered("ada", 120);
    let later = Purchase {
        updated_at: NOON.after(Duration::from_secs(1)),
        ..first.clone()
    };
    assert_eq!(purchases.open(&first).await.unwrap(), first);
    assert_eq!(purchases.open(&later).await.unwrap(), first);
    assert_eq!(database.items("Purchases").unwrap().len(), 1);
}

#[tokio::test]
async fn a_purchase_has_what_the_index_goes_by_only_while_it_is_pending() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let common = [
        "amount",
        "createdAt",
        "description",
        "purchaseId",
        "status",
        "storage",
        "updatedAt",
        "userId",
    ];
    for (end, more) in [
        (None, vec!["dueAt", "source", "unsettledShard"]),
        (Some(paid(1)), vec!["paymentIntentId"]),
        (Some(failed()), vec!["decline"]),
    ] {
        let purchase = ordered("ada", 120);
        purchases.open(&purchase).await.unwrap();
        if let Some(end) = end {
            purchases.settle(&purchase.key, &end, NOON).await.unwrap();
        }
        let mut expected = [&common[..], &more].concat();
        expected.sort_unstable();
        let id = purchase.key.purchase_id.to_string();
        let items = database.items("Purchases").unwrap();
        let item = items.iter().find(|item| item["purchaseId"]["S"] == id);
        assert_eq!(attributes(item.unwrap()), expected);
    }
}

#[tokio::test]
async fn the_first_end_stays_and_everybody_is_told_it() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let later = NOON.after(Duration::from_secs(9));
    for (first, second) in [(paid(1), failed()), (failed(), paid(1))] {
        let purchase = ordered("ada", 120);
        purchases.open(&purchase).await.unwrap();
        let settled = purchases
            .settle(&purchase.key, &first, later)
            .await
            .unwrap();
        let expected = Purchase {
            status: first.into(),
            updated_at: later,
            ..purchase.clone()
        };
        assert_eq!(settled.as_ref(), Some(&expected));
        let again = purchases
            .settle(&purchase.key, &second, NOON)
            .await
            .unwrap();
        assert_eq!(again, settled);
        assert_eq!(purchases.open(&purchase).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn of_fifty_ends_at_once_one_is_written() {
    let database = database().await;
    let purchases = Arc::new(purchases_at(&database.url()));
    let purchase = ordered("ada", 120);
    purchases.open(&purchase).await.unwrap();
    let mut ends = JoinSet::new();
    for number in 0..50 {
        let purchases = Arc::clone(&purchases);
        let key = purchase.key.clone();
        let end = if number % 2 == 0 {
            paid(number)
        } else {
            failed()
        };
        ends.spawn(async move { purchases.settle(&key, &end, NOON).await.unwrap().unwrap() });
    }
    let told = ends.join_all().await;
    let kept = purchases.open(&purchase).await.unwrap();
    assert!(!matches!(kept.status, Status::Pending { .. }));
    assert!(told.iter().all(|told| *told == kept));
}

#[tokio::test]
async fn a_purchase_that_is_not_there_is_neither_settled_nor_put_off() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let key = ordered("ada", 120).key;
    assert_eq!(purchases.settle(&key, &paid(1), NOON).await.unwrap(), None);
    purchases.postpone(&key, NOON).await.unwrap();
    assert!(database.items("Purchases").unwrap().is_empty());
}

#[tokio::test]
async fn all_purchases_come_back_by_pages_exactly_once_newest_first() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(purchases.open(&ordered("ada", 120)).await.unwrap());
        purchases.open(&ordered("bob", 120)).await.unwrap();
    }
    made.reverse();
    let mut seen: Vec<Purchase> = Vec::new();
    loop {
        let before = seen.last().map(|last| last.key.purchase_id);
        let page = purchases.page(&user("ada"), before, 10).await.unwrap();
        seen.extend(page.purchases);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn what_is_due_comes_back_by_pages_exactly_once_each_shard_in_order() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let mut made = Vec::new();
    for number in 0..40 {
        // Some are due at the same moment.
        made.push(
            purchases
                .open(&ordered("ada", 100 - number / 2))
                .await
                .unwrap(),
        );
    }
    let now = NOON.after(Duration::from_secs(90));
    let due_at = |purchase: &Purchase| match purchase.status {
        Status::Pending {
            unsettled_shard,
            due_at,
            ..
        } => (unsettled_shard, due_at),
        _ => panic!("it is pending"),
    };
    made.retain(|purchase| due_at(purchase).1 <= now);
    for limit in [1, 3, 100] {
        let mut found = due(&purchases, now, limit).await;
        assert!(found.is_sorted_by_key(due_at));
        found.sort_by_key(|purchase| purchase.key.clone());
        assert_eq!(found, made);
    }
    assert!(due(&purchases, NOON, 100).await.is_empty());
}

#[tokio::test]
async fn what_is_settled_or_put_off_is_not_due() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let later = NOON.after(Duration::from_secs(60));
    let mut keys = Vec::new();
    for end in [Some(paid(1)), Some(failed()), None] {
        let purchase = purchases.open(&ordered("ada", 0)).await.unwrap();
        if let Some(end) = end {
            purchases.settle(&purchase.key, &end, NOON).await.unwrap();
        }
        purchases.postpone(&purchase.key, later).await.unwrap();
        keys.push(purchase.key);
    }
    assert!(due(&purchases, NOON, 10).await.is_empty());
    let [put_off] = due(&purchases, later, 10).await.try_into().unwrap();
    assert_eq!(Some(&put_off.key), keys.last());
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_failure() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let purchases = purchases_at(&empty.url());
    let purchase = ordered("ada", 0);
    let shard = Shard::all().next().unwrap();
    for failed in [
        purchases.open(&purchase).await.unwrap_err(),
        purchases
            .settle(&purchase.key, &paid(1), NOON)
            .await
            .unwrap_err(),
        purchases.postpone(&purchase.key, NOON).await.unwrap_err(),
        purchases.page(&user("ada"), None, 1).await.unwrap_err(),
        purchases.due(shard, NOON, None, 1).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn an_item_that_is_no_purchase_is_a_failure_and_no_panic() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let purchase = ordered("ada", 0);
    let item = json!({
        "userId": {"S": "us-east-1:ada"},
        "purchaseId": {"S": purchase.key.purchase_id.to_string()},
        "status": {"S": "PAID"},
        "amount": {"N": "0"},
    });
    database.put("Purchases", &item).unwrap();
    for failed in [
        purchases.open(&purchase).await.unwrap_err(),
        purchases
            .settle(&purchase.key, &paid(1), NOON)
            .await
            .unwrap_err(),
        purchases.page(&user("ada"), None, 1).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}
