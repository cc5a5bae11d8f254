//! The table Purchases behind a real DynamoDB API: what the service promises of it.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use billing::{
    controller::reconcile,
    payment::{Decline, End, IntentId, Payment},
    purchase::{
        Order, PaymentSource, Purchase, PurchaseId, PurchaseKey, Shard, Status, Storage, Timestamp,
        UserId,
    },
    service::{ChargeError, Error, Payments, PurchaseStore, PurchasesTable},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use local_dynamodb::Dynamodb;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

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
    PurchasesTable::new(dynamodb::Dynamodb::new(&aws).table("Purchases".parse().unwrap()))
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
            assert!(page.items.len() <= limit);
            all.extend(page.items);
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
        seen.extend(page.items);
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
async fn what_nobody_can_read_does_not_hold_up_what_is_due() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let waiting = ordered("ada", 60);
    purchases.open(&waiting).await.unwrap();
    for shard in Shard::all() {
        let due = NOON.as_millis().to_string();
        let item = json!({
            "userId": {"S": "x"}, "purchaseId": {"S": shard.number().to_string()},
            "unsettledShard": {"N": shard.number().to_string()}, "dueAt": {"N": due},
        });
        database.put("Purchases", &item).unwrap();
    }
    let later = NOON.after(Duration::from_secs(60));
    assert_eq!(due(&purchases, later, 10).await, [waiting]);
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

/// Payments that the bank has not decided.
struct Undecided;

impl Payments for Undecided {
    async fn charge(&self, _: &Purchase, _: &PaymentSource) -> Result<Payment, ChargeError> {
        panic!("it is found")
    }

    async fn status_of(&self, _: &PurchaseKey) -> Result<Option<Payment>, Error> {
        let intent = intent(1);
        Ok(Some(Payment::Processing { intent }))
    }

    async fn cancel(&self, _: &IntentId) -> Result<Payment, Error> {
        panic!("it goes on")
    }
}

/// What a read of the database was, and what it cost.
#[derive(Debug, PartialEq)]
struct Read {
    operation: String,
    index: Value,
    /// How many items it went through.
    scanned: Value,
    /// In read capacity units.
    capacity: Value,
}

/// Stands before a database and notes every read.
async fn metered(database: &Dynamodb) -> (String, Arc<Mutex<Vec<Read>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reads = Arc::new(Mutex::new(Vec::new()));
    let (noted, behind, client) = (Arc::clone(&reads), database.url(), reqwest::Client::new());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (noted, behind, client) = (Arc::clone(&noted), behind.clone(), client.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (noted, call) = (Arc::clone(&noted), client.post(&behind));
                async move {
                    let (mut parts, body) = request.into_parts();
                    let mut body: Value =
                        serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
                    body["ReturnConsumedCapacity"] = json!("TOTAL");
                    let target = parts.headers["x-amz-target"].to_str().unwrap();
                    let operation = target.split_once('.').unwrap().1.to_owned();
                    parts.headers.remove("content-length");
                    let answer = call.headers(parts.headers).body(body.to_string());
                    let answer = answer.send().await.unwrap();
                    let status = answer.status();
                    let answer = answer.bytes().await.unwrap();
                    if !matches!(&*operation, "PutItem" | "UpdateItem") {
                        let mut said: Value = serde_json::from_slice(&answer).unwrap();
                        noted.lock().unwrap().push(Read {
                            operation,
                            index: body["IndexName"].take(),
                            scanned: said["ScannedCount"].take(),
                            capacity: said["ConsumedCapacity"]["CapacityUnits"].take(),
                        });
                    }
                    Response::builder().status(status).body(Full::new(answer))
                }
            });
            let connection = TokioIo::new(connection);
            tokio::spawn(http1::Builder::new().serve_connection(connection, service));
        }
    });
    (url, reads)
}

#[tokio::test]
async fn what_reconcile_reads_does_not_grow_with_what_is_settled() {
    let database = database().await;
    let (url, reads) = metered(&database).await;
    let purchases = purchases_at(&url);
    for _ in 0..40 {
        purchases.open(&ordered("ada", 0)).await.unwrap();
    }
    let run = async |minutes: u64| {
        let now = NOON.after(Duration::from_secs(minutes * 60));
        let done = reconcile(&Undecided, &purchases, now, 100).await.unwrap();
        assert_eq!((done.waiting, done.failed), (40, 0));
        std::mem::take(&mut *reads.lock().unwrap())
    };
    let before = run(10).await;

    // Of each no more than what the database goes by: nobody is to read it.
    let settled = |number: usize| {
        let id = PurchaseId::generate().to_string();
        let user = format!("us-east-1:{}", number % 1000);
        json!({"userId": {"S": user}, "purchaseId": {"S": id}, "status": {"S": "PAID"}})
    };
    let settled = (0..100_000).map(settled);
    database.put_all("Purchases", settled).unwrap();

    let after = run(20).await;
    assert_eq!(before, after);
    let of_index = |read: &Read| read.operation == "Query" && read.index == "unsettled";
    assert!(after.iter().all(of_index), "{after:?}");
    let scanned = after.iter().map(|read| read.scanned.as_u64().unwrap());
    assert_eq!(scanned.sum::<u64>(), 40);
}
