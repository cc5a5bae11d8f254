//! Tests `PurchasesTable`, the client of the table Purchases, with an in-memory DynamoDB.

// Clippy allows panics in tests, but not in their helper functions.
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
    payment::{Decline, IntentId, Outcome, Payment},
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

/// Starts an in-memory DynamoDB with the table Purchases. The table has the same keys and index as
/// in the CDK stack.
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

/// A new PENDING purchase of the user `name`. The purchase is due `due` seconds after [`NOON`].
fn pending(name: &str, due: u64) -> Purchase {
    let key = PurchaseKey {
        user_id: user(name),
        purchase_id: PurchaseId::generate(),
    };
    let order = Order {
        storage: Storage::try_from(10).unwrap(),
        source: PaymentSource::try_from("tok_visa".to_owned()).unwrap(),
    };
    Purchase::pending(key, order, NOON, NOON.after(Duration::from_secs(due)))
}

fn intent(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

fn paid(number: usize) -> Outcome {
    Outcome::Paid {
        intent: intent(number),
    }
}

fn failed() -> Outcome {
    Outcome::Failed {
        intent: None,
        decline: Decline {
            code: "card_declined".into(),
            decline_code: Some("insufficient_funds".into()),
            message: "Your card has insufficient funds.".into(),
        },
    }
}

/// Reads the purchases of all shards that are due at `now`, in pages of at most `limit` purchases.
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
async fn an_existing_purchase_is_not_overwritten() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let first = pending("ada", 120);
    let later = Purchase {
        updated_at: NOON.after(Duration::from_secs(1)),
        ..first.clone()
    };
    assert_eq!(purchases.get_or_create(&first, None).await.unwrap(), first);
    assert_eq!(purchases.get_or_create(&later, None).await.unwrap(), first);
    assert_eq!(database.items("Purchases").unwrap().len(), 1);
}

#[tokio::test]
async fn a_purchase_keeps_the_sub_of_the_buyer_when_it_is_postponed_or_settled() {
    const SUB: &str = "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62";
    for outcome in [paid(1), failed()] {
        let database = database().await;
        let purchases = purchases_at(&database.url());
        let stored = || {
            let [item] = database.items("Purchases").unwrap().try_into().unwrap();
            assert_eq!(item["sub"], json!({"S": SUB}));
        };
        let purchase = pending("ada", 120);
        let created = purchases.get_or_create(&purchase, SUB.parse().ok()).await;
        assert_eq!(created.unwrap(), purchase);
        stored();
        // A repetition without a `sub` does not change the stored purchase.
        let repeated = purchases.get_or_create(&purchase, None).await.unwrap();
        assert_eq!(repeated, purchase);
        stored();
        purchases.postpone(&purchase.key, NOON).await.unwrap();
        stored();
        let settled = purchases.settle(&purchase.key, &outcome, NOON).await;
        assert_eq!(settled.unwrap().unwrap().status, outcome.into());
        stored();
    }
}

#[tokio::test]
async fn only_a_pending_purchase_has_the_attributes_of_the_index() {
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
    for (outcome, more) in [
        (None, vec!["dueAt", "source", "unsettledShard"]),
        (Some(paid(1)), vec!["paymentIntentId"]),
        (Some(failed()), vec!["decline"]),
    ] {
        let purchase = pending("ada", 120);
        purchases.get_or_create(&purchase, None).await.unwrap();
        if let Some(outcome) = outcome {
            purchases
                .settle(&purchase.key, &outcome, NOON)
                .await
                .unwrap();
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
async fn the_first_settlement_is_final_and_returned_to_every_caller() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let later = NOON.after(Duration::from_secs(9));
    for (first, second) in [(paid(1), failed()), (failed(), paid(1))] {
        let purchase = pending("ada", 120);
        purchases.get_or_create(&purchase, None).await.unwrap();
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
        assert_eq!(
            purchases.get_or_create(&purchase, None).await.unwrap(),
            expected
        );
    }
}

#[tokio::test]
async fn only_one_of_50_concurrent_settlements_is_written() {
    let database = database().await;
    let purchases = Arc::new(purchases_at(&database.url()));
    let purchase = pending("ada", 120);
    purchases.get_or_create(&purchase, None).await.unwrap();
    let mut outcomes = JoinSet::new();
    for number in 0..50 {
        let purchases = Arc::clone(&purchases);
        let key = purchase.key.clone();
        let outcome = if number % 2 == 0 {
            paid(number)
        } else {
            failed()
        };
        outcomes.spawn(async move {
            purchases
                .settle(&key, &outcome, NOON)
                .await
                .unwrap()
                .unwrap()
        });
    }
    let returned = outcomes.join_all().await;
    let stored = purchases.get_or_create(&purchase, None).await.unwrap();
    assert!(!matches!(stored.status, Status::Pending { .. }));
    assert!(returned.iter().all(|purchase| *purchase == stored));
}

#[tokio::test]
async fn a_missing_purchase_is_neither_settled_nor_postponed() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let key = pending("ada", 120).key;
    assert_eq!(purchases.settle(&key, &paid(1), NOON).await.unwrap(), None);
    purchases.postpone(&key, NOON).await.unwrap();
    assert!(database.items("Purchases").unwrap().is_empty());
}

#[tokio::test]
async fn pages_contain_every_purchase_once_newest_first() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(
            purchases
                .get_or_create(&pending("ada", 120), None)
                .await
                .unwrap(),
        );
        purchases
            .get_or_create(&pending("bob", 120), None)
            .await
            .unwrap();
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
async fn pages_contain_every_due_purchase_once_sorted_by_shard_and_due_time() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let mut made = Vec::new();
    for number in 0..40 {
        // Some are due at the same moment.
        made.push(
            purchases
                .get_or_create(&pending("ada", 100 - number / 2), None)
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
        _ => panic!("the purchase must be PENDING"),
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
async fn a_settled_or_postponed_purchase_is_not_due() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let later = NOON.after(Duration::from_secs(60));
    let mut keys = Vec::new();
    for outcome in [Some(paid(1)), Some(failed()), None] {
        let purchase = purchases
            .get_or_create(&pending("ada", 0), None)
            .await
            .unwrap();
        if let Some(outcome) = outcome {
            purchases
                .settle(&purchase.key, &outcome, NOON)
                .await
                .unwrap();
        }
        purchases.postpone(&purchase.key, later).await.unwrap();
        keys.push(purchase.key);
    }
    assert!(due(&purchases, NOON, 10).await.is_empty());
    let [postponed] = due(&purchases, later, 10).await.try_into().unwrap();
    assert_eq!(Some(&postponed.key), keys.last());
}

#[tokio::test]
async fn the_error_for_a_missing_table_is_failed() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let purchases = purchases_at(&empty.url());
    let purchase = pending("ada", 0);
    let shard = Shard::all().next().unwrap();
    for failed in [
        purchases.get_or_create(&purchase, None).await.unwrap_err(),
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
async fn a_malformed_item_does_not_block_due_purchases() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let waiting = pending("ada", 60);
    purchases.get_or_create(&waiting, None).await.unwrap();
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
async fn the_error_for_a_malformed_purchase_is_failed() {
    let database = database().await;
    let purchases = purchases_at(&database.url());
    let purchase = pending("ada", 0);
    let item = json!({
        "userId": {"S": "us-east-1:ada"},
        "purchaseId": {"S": purchase.key.purchase_id.to_string()},
        "status": {"S": "PAID"},
        "amount": {"N": "0"},
    });
    database.put("Purchases", &item).unwrap();
    for failed in [
        purchases.get_or_create(&purchase, None).await.unwrap_err(),
        purchases
            .settle(&purchase.key, &paid(1), NOON)
            .await
            .unwrap_err(),
        purchases.page(&user("ada"), None, 1).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

/// A payment service in which every purchase has a payment in the status `Processing`.
struct ProcessingPayments;

impl Payments for ProcessingPayments {
    async fn charge(&self, _: &Purchase, _: &PaymentSource) -> Result<Payment, ChargeError> {
        panic!("find_payment finds a payment")
    }

    async fn find_payment(&self, _: &PurchaseKey) -> Result<Option<Payment>, Error> {
        let intent = intent(1);
        Ok(Some(Payment::Processing { intent }))
    }

    async fn cancel(&self, _: &IntentId) -> Result<Payment, Error> {
        panic!("a processing payment is not canceled")
    }
}

/// A read request that the proxy recorded, with its cost.
#[derive(Debug, PartialEq)]
struct Read {
    operation: String,
    index: Value,
    /// The number of items that the query scanned.
    scanned: Value,
    /// The consumed read capacity units.
    capacity: Value,
}

/// Starts a proxy in front of `database` that records every read request. Returns the URL of the
/// proxy and the recorded requests.
async fn record_reads(database: &Dynamodb) -> (String, Arc<Mutex<Vec<Read>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reads = Arc::new(Mutex::new(Vec::new()));
    let (recorded, target_url, client) =
        (Arc::clone(&reads), database.url(), reqwest::Client::new());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (recorded, target_url, client) =
                (Arc::clone(&recorded), target_url.clone(), client.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (recorded, call) = (Arc::clone(&recorded), client.post(&target_url));
                async move {
                    let (mut parts, body) = request.into_parts();
                    let mut body: Value =
                        serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
                    body["ReturnConsumedCapacity"] = json!("TOTAL");
                    let target = parts.headers["x-amz-target"].to_str().unwrap();
                    let operation = target.split_once('.').unwrap().1.to_owned();
                    parts.headers.remove("content-length");
                    let response = call.headers(parts.headers).body(body.to_string());
                    let response = response.send().await.unwrap();
                    let status = response.status();
                    let response = response.bytes().await.unwrap();
                    if !matches!(&*operation, "PutItem" | "UpdateItem") {
                        let mut json: Value = serde_json::from_slice(&response).unwrap();
                        recorded.lock().unwrap().push(Read {
                            operation,
                            index: body["IndexName"].take(),
                            scanned: json["ScannedCount"].take(),
                            capacity: json["ConsumedCapacity"]["CapacityUnits"].take(),
                        });
                    }
                    Response::builder().status(status).body(Full::new(response))
                }
            });
            let connection = TokioIo::new(connection);
            tokio::spawn(http1::Builder::new().serve_connection(connection, service));
        }
    });
    (url, reads)
}

#[tokio::test]
async fn settled_purchases_do_not_increase_the_reads_of_reconcile() {
    let database = database().await;
    let (url, reads) = record_reads(&database).await;
    let purchases = purchases_at(&url);
    for _ in 0..40 {
        purchases
            .get_or_create(&pending("ada", 0), None)
            .await
            .unwrap();
    }
    let run = async |minutes: u64| {
        let now = NOON.after(Duration::from_secs(minutes * 60));
        let summary = reconcile(&ProcessingPayments, &purchases, now, 100)
            .await
            .unwrap();
        assert_eq!((summary.pending, summary.errors), (40, 0));
        std::mem::take(&mut *reads.lock().unwrap())
    };
    let before = run(10).await;

    // These items have no further attributes, because no query may read them.
    let settled = |number: usize| {
        let id = PurchaseId::generate().to_string();
        let user = format!("us-east-1:{}", number % 1000);
        json!({"userId": {"S": user}, "purchaseId": {"S": id}, "status": {"S": "PAID"}})
    };
    let settled = (0..100_000).map(settled);
    database.put_all("Purchases", settled).unwrap();

    let after = run(20).await;
    assert_eq!(before, after);
    let is_index_query = |read: &Read| read.operation == "Query" && read.index == "unsettled";
    assert!(after.iter().all(is_index_query), "{after:?}");
    let scanned = after.iter().map(|read| read.scanned.as_u64().unwrap());
    assert_eq!(scanned.sum::<u64>(), 40);
}
