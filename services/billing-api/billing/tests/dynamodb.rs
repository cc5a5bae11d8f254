//! Tests the clients of the tables Purchases and Buyers with an in-memory DynamoDB.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use billing::{
    controller::{RECONCILE_DELAY, reconcile},
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{
        AfterSale, Currency, Dispute, DisputeStatus, Notice, Order, PaymentSource, Purchase,
        PurchaseId, PurchaseKey, Refunded, Shard, Status, Storage, Surplus, Timestamp, UserId,
    },
    report::{PaymentDetails, RefundedCharge},
    service::{
        Buyer, ChargeError, DueKey, Error, NotePurchased, Opened, OrderStore, OrderTables,
        Payments, Publisher, PurchaseStore, PurchasesTable, SettleIf, Settled,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use local_dynamodb::{Dynamodb, client_variable};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Starts an in-memory DynamoDB with the tables Purchases and Buyers. The tables have the same keys
/// and index as in the CDK stack.
async fn database() -> Dynamodb {
    let database = Dynamodb::start(&[]).await.unwrap();
    let attribute = |name, kind| json!({"AttributeName": name, "AttributeType": kind});
    let key = |hash, range| {
        json!([
            {"AttributeName": hash, "KeyType": "HASH"},
            {"AttributeName": range, "KeyType": "RANGE"},
        ])
    };
    let purchases = json!({
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
    let buyers = json!({
        "TableName": "Buyers",
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "userId", "KeyType": "HASH"}],
        "AttributeDefinitions": [attribute("userId", "S")],
    });
    database.create_table(&purchases).unwrap();
    database.create_table(&buyers).unwrap();
    database
}

/// The clients of both tables.
struct Tables {
    orders: OrderTables,
    purchases: PurchasesTable,
}

fn tables_at(endpoint: &str) -> Tables {
    let variable = |name| client_variable(endpoint, name);
    let aws = aws::Stack::from_vars(variable).unwrap();
    let dynamodb = dynamodb::Dynamodb::new(&aws);
    let table = |name: &str| dynamodb.table(name.parse().unwrap());
    Tables {
        orders: OrderTables::new(table("Purchases"), table("Buyers")),
        purchases: PurchasesTable::new(table("Purchases")),
    }
}

impl Tables {
    /// Stores a new PENDING purchase of the user `name`, which is due `due` seconds after [`NOON`].
    /// The purchase replaces the open order of the user.
    async fn with_pending(&self, name: &str, due: u64) -> Purchase {
        let purchase = pending(name, due);
        self.store(&purchase).await;
        purchase
    }

    async fn store(&self, purchase: &Purchase) {
        let opened = self.orders.open(purchase, None, None).await.unwrap();
        if let Opened::Other(other) = opened {
            let opened = self.orders.open(purchase, None, Some(&other)).await;
            assert_eq!(opened.unwrap(), Opened::Created);
        }
    }

    async fn settle(&self, key: &PurchaseKey, outcome: &Outcome, now: Timestamp) -> Settled {
        let settled = self.purchases.settle(key, outcome, SettleIf::Pending, now);
        settled.await.unwrap()
    }

    /// A purchase that was paid with the PaymentIntent 1 at [`NOON`].
    async fn with_paid(&self, name: &str) -> Purchase {
        let pending = self.with_pending(name, 120).await;
        match self.settle(&pending.key, &paid(1), NOON).await {
            Settled::Done(purchase) => purchase,
            other => panic!("{other:?}"),
        }
    }

    async fn get(&self, key: &PurchaseKey) -> Purchase {
        self.purchases.get(key).await.unwrap().unwrap()
    }
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
        amount: None,
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

fn failed_with(number: usize) -> Outcome {
    Outcome::Failed {
        intent: Some(intent(number)),
        decline: Decline::unfinished(),
    }
}

/// Reads the purchases of all shards that are due at `now`, in pages of at most `limit` purchases,
/// and the positions of the items that are not valid purchases.
async fn due(tables: &Tables, now: Timestamp, limit: usize) -> (Vec<Purchase>, Vec<DueKey>) {
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    for shard in Shard::all() {
        let mut after = None;
        loop {
            let page = tables
                .purchases
                .due(shard, now, after.as_ref(), limit)
                .await
                .unwrap();
            assert!(page.purchases.len() <= limit);
            all.extend(page.purchases);
            unreadable.extend(page.unreadable);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    (all, unreadable)
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

fn stored_item(database: &Dynamodb, purchase: &Purchase) -> Value {
    let id = purchase.key.purchase_id.to_string();
    let items = database.items("Purchases").unwrap();
    let mut items = items.into_iter();
    let item = items.find(|item| item["purchaseId"]["S"] == id);
    serde_json::to_value(item.unwrap()).unwrap()
}

/// The price of 10 notes.
fn price() -> u32 {
    Storage::try_from(10).unwrap().price().get()
}

#[tokio::test]
async fn an_existing_purchase_is_not_overwritten() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let first = pending("ada", 120);
    let later = Purchase {
        updated_at: NOON.after(Duration::from_secs(1)),
        ..first.clone()
    };
    let open = |purchase| tables.orders.open(purchase, None, None);
    assert_eq!(open(&first).await.unwrap(), Opened::Created);
    let existing = Opened::Existing(first.clone());
    assert_eq!(open(&later).await.unwrap(), existing);
    // Also after the buyer has another open order.
    tables.settle(&first.key, &failed(), NOON).await;
    tables.with_pending("ada", 120).await;
    let opened = open(&first).await.unwrap();
    assert!(matches!(opened, Opened::Existing(_)), "{opened:?}");
    assert_eq!(database.items("Purchases").unwrap().len(), 2);
}

#[tokio::test]
async fn a_buyer_has_one_open_order() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let first = tables.with_pending("ada", 120).await;
    let second = pending("ada", 120);
    let open = |replaced| {
        let (tables, second) = (&tables, &second);
        async move { tables.orders.open(second, None, replaced).await.unwrap() }
    };
    let other = Buyer {
        open_order: first.key.purchase_id,
        declines: Vec::new(),
    };
    assert_eq!(open(None).await, Opened::Other(other.clone()));
    assert_eq!(database.items("Purchases").unwrap().len(), 1);
    let wrong = Buyer {
        open_order: PurchaseId::generate(),
        ..other.clone()
    };
    assert_eq!(open(Some(&wrong)).await, Opened::Other(other.clone()));
    let declined = Buyer {
        declines: vec![NOON, NOON.after(Duration::from_secs(1))],
        ..other
    };
    assert_eq!(open(Some(&declined)).await, Opened::Created);
    let third = pending("ada", 120);
    let opened = tables.orders.open(&third, None, None).await.unwrap();
    let expected = Buyer {
        open_order: second.key.purchase_id,
        ..declined
    };
    assert_eq!(opened, Opened::Other(expected));
    assert_eq!(
        tables
            .orders
            .open(&pending("bob", 120), None, None)
            .await
            .unwrap(),
        Opened::Created
    );
}

#[tokio::test]
async fn one_of_16_concurrent_orders_of_a_buyer_is_opened() {
    let database = database().await;
    let tables = Arc::new(tables_at(&database.url()));
    let mut orders = JoinSet::new();
    for _ in 0..16 {
        let tables = Arc::clone(&tables);
        orders.spawn(async move {
            let purchase = pending("ada", 120);
            tables.orders.open(&purchase, None, None).await.unwrap()
        });
    }
    let opened = orders.join_all().await;
    let created = opened.iter().filter(|opened| **opened == Opened::Created);
    assert_eq!(created.count(), 1);
    assert_eq!(database.items("Purchases").unwrap().len(), 1);
}

#[tokio::test]
async fn a_purchase_keeps_the_sub_of_the_buyer() {
    const SUB: &str = "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62";
    for outcome in [paid(1), failed_with(1)] {
        let database = database().await;
        let tables = tables_at(&database.url());
        let stored = || {
            let [item] = database.items("Purchases").unwrap().try_into().unwrap();
            assert_eq!(item["sub"], json!({"S": SUB}));
        };
        let purchase = pending("ada", 120);
        let sub = SUB.parse().ok();
        let created = tables.orders.open(&purchase, sub, None).await;
        assert_eq!(created.unwrap(), Opened::Created);
        stored();
        // A repetition without a `sub` does not change the stored purchase.
        tables.orders.open(&purchase, None, None).await.unwrap();
        stored();
        let intent = intent(1);
        for intent in [None, Some(&intent)] {
            let postponed = tables.purchases.postpone(&purchase.key, NOON, intent);
            postponed.await.unwrap();
            stored();
        }
        tables.settle(&purchase.key, &outcome, NOON).await;
        stored();
        let settled = tables.get(&purchase.key).await;
        let surplus = Surplus {
            payment_intent_id: self::intent(2),
            amount: price(),
            refunded_at: NOON,
        };
        let changed = settled.with_surplus(surplus).unwrap();
        let revised = tables.purchases.revise(&changed, settled.revision).await;
        assert!(revised.unwrap());
        stored();
    }
}

#[tokio::test]
async fn a_purchase_has_the_attributes_of_its_status() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let common = [
        "amount",
        "createdAt",
        "currency",
        "description",
        "purchaseId",
        "status",
        "storage",
        "updatedAt",
        "userId",
    ];
    let has = |purchase: &Purchase, more: &[&str]| {
        let mut expected = [&common[..], more].concat();
        expected.sort_unstable();
        assert_eq!(attributes(&stored_item(&database, purchase)), expected);
    };
    let pending = tables.with_pending("ada", 120).await;
    has(&pending, &["dueAt", "source", "unsettledShard"]);
    tables.settle(&pending.key, &failed(), NOON).await;
    has(&pending, &["decline"]);
    let paid = tables.with_paid("ada").await;
    let due = [
        "dueAt",
        "outbox",
        "paymentIntentId",
        "revision",
        "unsettledShard",
    ];
    has(&paid, &due);
    tables.purchases.announced(&paid.key, 1).await.unwrap();
    has(&paid, &["paymentIntentId", "revision"]);
}

#[tokio::test]
async fn a_purchase_of_an_earlier_release_is_read() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let key = pending("ada", 120).key;
    let item = json!({
        "userId": {"S": "us-east-1:ada"},
        "purchaseId": {"S": key.purchase_id.to_string()},
        "storage": {"N": "10"},
        "amount": {"N": price().to_string()},
        "description": {"S": "storage for 10 notes"},
        "createdAt": {"N": "1700000000000"},
        "updatedAt": {"N": "1700000000000"},
        "status": {"S": "PENDING"},
        "source": {"S": "tok_visa"},
        "unsettledShard": {"N": "2"},
        "dueAt": {"N": "1700000120000"},
    });
    database.put("Purchases", &item).unwrap();
    let purchase = tables.get(&key).await;
    assert_eq!(purchase.currency, Currency::default());
    assert_eq!(purchase.due_at, Some(NOON.after(Duration::from_secs(120))));
    let intent = intent(1);
    let postponed = tables.purchases.postpone(&key, NOON, Some(&intent));
    postponed.await.unwrap();
    let matches = SettleIf::Matches {
        amount: price(),
        currency: Currency::default(),
    };
    let settled = tables.purchases.settle(&key, &paid(1), matches, NOON).await;
    assert!(matches!(settled.unwrap(), Settled::Done(_)));
}

#[tokio::test]
async fn the_first_settlement_is_final_and_returned_to_every_caller() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let later = NOON.after(Duration::from_secs(9));
    for (first, second) in [(paid(1), failed()), (failed(), paid(1))] {
        let purchase = tables.with_pending("ada", 120).await;
        let Settled::Done(settled) = tables.settle(&purchase.key, &first, later).await else {
            panic!("the purchase must be settled")
        };
        let expected = match first {
            Outcome::Paid { intent } => Purchase {
                status: Status::Paid {
                    payment_intent_id: intent,
                },
                updated_at: later,
                revision: 1,
                outbox: Some(vec![Notice::Paid]),
                due_at: Some(later.after(RECONCILE_DELAY)),
                ..purchase.clone()
            },
            Outcome::Failed { intent, decline } => Purchase {
                status: Status::Failed {
                    payment_intent_id: intent,
                    decline,
                },
                updated_at: later,
                due_at: None,
                ..purchase.clone()
            },
        };
        assert_eq!(settled, expected);
        let again = tables.settle(&purchase.key, &second, NOON).await;
        assert_eq!(again, Settled::Unchanged(expected.clone()));
        assert_eq!(tables.get(&purchase.key).await, expected);
    }
}

#[tokio::test]
async fn only_the_known_payment_with_the_right_amount_and_currency_matches() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let purchase = tables.with_pending("ada", 120).await;
    let key = &purchase.key;
    let sold_in = purchase.currency.as_str();
    let settle = |number, amount, code: &str| {
        let currency = Currency::try_from(code).unwrap();
        let matches = SettleIf::Matches { amount, currency };
        let (purchases, outcome) = (&tables.purchases, paid(number));
        async move {
            purchases
                .settle(key, &outcome, matches, NOON)
                .await
                .unwrap()
        }
    };
    // The payment is not known yet.
    assert_eq!(
        settle(1, price(), sold_in).await,
        Settled::Unchanged(purchase.clone())
    );
    let intent = intent(1);
    let postponed = tables.purchases.postpone(key, NOON, Some(&intent));
    postponed.await.unwrap();
    let known = tables.get(key).await;
    for (number, amount, currency) in [
        (2, price(), sold_in),
        (1, price() - 1, sold_in),
        (1, price(), "xxx"),
    ] {
        let settled = settle(number, amount, currency).await;
        assert_eq!(settled, Settled::Unchanged(known.clone()));
    }
    assert!(matches!(
        settle(1, price(), sold_in).await,
        Settled::Done(_)
    ));
}

#[tokio::test]
async fn a_purchase_whose_payment_may_still_charge_the_card_does_not_become_failed() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let purchase = tables.with_pending("ada", 120).await;
    let known = intent(1);
    let postponed = tables.purchases.postpone(&purchase.key, NOON, Some(&known));
    assert!(postponed.await.unwrap());
    for outcome in [failed(), failed_with(2)] {
        let settled = tables.settle(&purchase.key, &outcome, NOON).await;
        assert!(matches!(settled, Settled::Unchanged(_)), "{settled:?}");
    }
    let settled = tables.settle(&purchase.key, &failed_with(1), NOON).await;
    assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
}

#[tokio::test]
async fn only_one_of_50_concurrent_settlements_is_written() {
    let database = database().await;
    let tables = Arc::new(tables_at(&database.url()));
    let purchase = tables.with_pending("ada", 120).await;
    let mut outcomes = JoinSet::new();
    for number in 0..50 {
        let tables = Arc::clone(&tables);
        let key = purchase.key.clone();
        let outcome = if number % 2 == 0 {
            paid(number)
        } else {
            failed()
        };
        outcomes.spawn(async move { tables.settle(&key, &outcome, NOON).await });
    }
    let stored = |settled: Settled| match settled {
        Settled::Done(purchase) => (purchase, 1),
        Settled::Unchanged(purchase) => (purchase, 0),
        Settled::Missing => panic!("the purchase exists"),
    };
    let returned = outcomes.join_all().await.into_iter().map(stored);
    let (returned, done): (Vec<_>, Vec<i32>) = returned.unzip();
    let current = tables.get(&purchase.key).await;
    assert!(!current.is_pending());
    assert!(returned.iter().all(|purchase| *purchase == current));
    assert_eq!(done.iter().sum::<i32>(), 1);
}

#[tokio::test]
async fn one_of_16_concurrent_changes_of_a_revision_is_written() {
    let database = database().await;
    let tables = Arc::new(tables_at(&database.url()));
    let paid = tables.with_paid("ada").await;
    let mut changes = JoinSet::new();
    for number in 2..18 {
        let tables = Arc::clone(&tables);
        let surplus = Surplus {
            payment_intent_id: intent(number),
            amount: price(),
            refunded_at: NOON,
        };
        let changed = paid.with_surplus(surplus).unwrap();
        changes.spawn(async move { tables.purchases.revise(&changed, 1).await.unwrap() });
    }
    let written = changes.join_all().await;
    assert_eq!(written.iter().filter(|written| **written).count(), 1);
    let current = tables.get(&paid.key).await;
    assert_eq!((current.revision, current.surplus.len()), (2, 1));
}

#[tokio::test]
async fn what_happens_after_the_sale_is_stored_and_due_until_it_is_announced() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let paid = tables.with_paid("ada").await;
    tables.purchases.announced(&paid.key, 1).await.unwrap();
    let announced = tables.get(&paid.key).await;
    assert_eq!((&announced.outbox, announced.due_at), (&None, None));
    let later = NOON.after(Duration::from_secs(60));
    let refund = AfterSale::Refund(Refunded {
        amount: price() / 4,
        as_of: NOON,
    });
    let dispute = AfterSale::Dispute(Dispute {
        id: "dp_1".into(),
        amount: price(),
        reason: "fraudulent".into(),
        status: DisputeStatus::Open,
        opened_at: NOON,
        as_of: NOON,
    });
    let mut current = announced;
    for report in [refund, dispute] {
        let changed = current.after(report, later).unwrap();
        let revised = tables.purchases.revise(&changed, current.revision).await;
        assert!(revised.unwrap());
        assert_eq!(tables.get(&paid.key).await, changed);
        current = changed;
    }
    assert_eq!((current.revision, current.status.name()), (3, "DISPUTED"));
    // The announcement of an earlier revision removes nothing.
    tables.purchases.announced(&paid.key, 2).await.unwrap();
    assert_eq!(tables.get(&paid.key).await, current);
    let (found, _) = due(&tables, later.after(RECONCILE_DELAY), 10).await;
    assert_eq!(found, [current]);
    tables.purchases.announced(&paid.key, 3).await.unwrap();
    let (found, _) = due(&tables, later.after(RECONCILE_DELAY), 10).await;
    assert!(found.is_empty());
}

#[tokio::test]
async fn a_failed_purchase_and_one_of_an_earlier_release_have_no_revision_and_can_be_changed() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let pending = tables.with_pending("ada", 120).await;
    tables.settle(&pending.key, &failed(), NOON).await;
    let failed = tables.get(&pending.key).await;
    let surplus = Surplus {
        payment_intent_id: intent(2),
        amount: price(),
        refunded_at: NOON,
    };
    let changed = failed.with_surplus(surplus.clone()).unwrap();
    assert!(tables.purchases.revise(&changed, 0).await.unwrap());
    assert!(!tables.purchases.revise(&changed, 0).await.unwrap());
    assert_eq!(tables.get(&pending.key).await, changed);
    // A PENDING purchase has no revision either, but is not settled.
    let pending = tables.with_pending("ada", 120).await;
    let changed = pending.with_surplus(surplus).unwrap();
    assert!(!tables.purchases.revise(&changed, 0).await.unwrap());
    assert_eq!(tables.get(&pending.key).await, pending);
}

#[tokio::test]
async fn a_missing_purchase_is_not_created_by_a_change() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let missing = Purchase {
        revision: 1,
        ..pending("ada", 120)
    };
    let key = &missing.key;
    assert_eq!(tables.settle(key, &paid(1), NOON).await, Settled::Missing);
    let purchases = &tables.purchases;
    let intent = intent(1);
    purchases.postpone(key, NOON, None).await.unwrap();
    purchases.postpone(key, NOON, Some(&intent)).await.unwrap();
    purchases.announced(key, 0).await.unwrap();
    for revision in [0, 1] {
        assert!(!purchases.revise(&missing, revision).await.unwrap());
    }
    let position = DueKey {
        due_at: "1".into(),
        user_id: key.user_id.as_str().into(),
        purchase_id: key.purchase_id.to_string(),
    };
    purchases.set_aside(&position, NOON).await.unwrap();
    assert_eq!(purchases.get(key).await.unwrap(), None);
    assert!(database.items("Purchases").unwrap().is_empty());
}

#[tokio::test]
async fn pages_contain_every_readable_purchase_once_newest_first() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let mut made = Vec::new();
    for number in 0..25 {
        made.push(tables.with_pending("ada", 120).await);
        tables.with_pending("bob", 120).await;
        if number % 3 == 0 {
            let id = PurchaseId::generate().to_string();
            let item = json!({
                "userId": {"S": "us-east-1:ada"}, "purchaseId": {"S": id},
                "status": {"S": "PAID"}, "amount": {"N": "0"},
            });
            database.put("Purchases", &item).unwrap();
        }
    }
    made.reverse();
    for limit in [1, 3, 10, 25] {
        let mut seen: Vec<Purchase> = Vec::new();
        loop {
            let before = seen.last().map(|last| last.key.purchase_id);
            let page = tables.purchases.page(&user("ada"), before, limit).await;
            let page = page.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, made, "{limit}");
    }
}

#[tokio::test]
async fn pages_contain_every_due_purchase_once_sorted_by_shard_and_due_time() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let mut made = Vec::new();
    for number in 0..40 {
        // Some are due at the same moment.
        made.push(tables.with_pending("ada", 100 - number / 2).await);
    }
    let now = NOON.after(Duration::from_secs(90));
    let position = |purchase: &Purchase| {
        let shard = Shard::of(purchase.key.purchase_id);
        (shard, purchase.due_at)
    };
    made.retain(|purchase| purchase.due_at <= Some(now));
    for limit in [1, 3, 100] {
        let (mut found, unreadable) = due(&tables, now, limit).await;
        assert!(unreadable.is_empty());
        assert!(found.is_sorted_by_key(position));
        found.sort_by_key(|purchase| purchase.key.clone());
        assert_eq!(found, made);
    }
    assert!(due(&tables, NOON, 100).await.0.is_empty());
}

#[tokio::test]
async fn a_postponed_purchase_is_not_due_and_one_without_work_stays_so() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let later = NOON.after(Duration::from_secs(600));
    let mut expected = Vec::new();
    for outcome in [Some(paid(1)), Some(failed()), None] {
        let purchase = tables.with_pending("ada", 0).await;
        if let Some(outcome) = &outcome {
            tables.settle(&purchase.key, outcome, NOON).await;
        }
        let postponed = tables.purchases.postpone(&purchase.key, later, None);
        postponed.await.unwrap();
        // The payment of a settled purchase is not replaced.
        let intent = intent(9);
        if outcome.is_some() {
            let postponed = tables
                .purchases
                .postpone(&purchase.key, NOON, Some(&intent));
            postponed.await.unwrap();
        }
        if outcome != Some(failed()) {
            expected.push(purchase.key);
        }
    }
    let before = NOON.after(Duration::from_secs(599));
    assert!(due(&tables, before, 10).await.0.is_empty());
    let (found, _) = due(&tables, later, 10).await;
    let mut found: Vec<_> = found.into_iter().map(|purchase| purchase.key).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_error_for_a_missing_table_is_failed() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let Tables { orders, purchases } = tables_at(&empty.url());
    let purchase = pending("ada", 0);
    let key = &purchase.key;
    let shard = Shard::all().next().unwrap();
    let settled = purchases
        .settle(key, &paid(1), SettleIf::Pending, NOON)
        .await;
    for failed in [
        orders.open(&purchase, None, None).await.unwrap_err(),
        settled.unwrap_err(),
        purchases.get(key).await.unwrap_err(),
        purchases.revise(&purchase, 0).await.unwrap_err(),
        purchases.announced(key, 1).await.unwrap_err(),
        purchases.postpone(key, NOON, None).await.unwrap_err(),
        purchases.page(&user("ada"), None, 1).await.unwrap_err(),
        purchases.due(shard, NOON, None, 1).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn an_unreadable_item_that_is_due_is_returned_and_can_be_set_aside() {
    let database = database().await;
    let tables = tables_at(&database.url());
    let waiting = tables.with_pending("ada", 60).await;
    let now = NOON.after(Duration::from_secs(60));
    for shard in Shard::all() {
        for number in 0..30 {
            let item = json!({
                "userId": {"S": "x"}, "purchaseId": {"S": format!("{}-{number}", shard.number())},
                "unsettledShard": {"N": shard.number().to_string()},
                "dueAt": {"N": NOON.as_millis().to_string()},
            });
            database.put("Purchases", &item).unwrap();
        }
    }
    let (found, unreadable) = due(&tables, now, 25).await;
    assert_eq!(found, std::slice::from_ref(&waiting));
    assert_eq!(unreadable.len(), 120);
    let tomorrow = now.after(Duration::from_secs(24 * 60 * 60));
    for item in &unreadable {
        tables.purchases.set_aside(item, tomorrow).await.unwrap();
    }
    let (found, unreadable) = due(&tables, now, 25).await;
    assert_eq!((found, unreadable.len()), (vec![waiting], 0));
    assert_eq!(due(&tables, tomorrow, 25).await.1.len(), 120);
}

#[tokio::test]
async fn the_error_for_a_malformed_purchase_is_failed() {
    let database = database().await;
    let Tables { orders, purchases } = tables_at(&database.url());
    let purchase = pending("ada", 0);
    let item = json!({
        "userId": {"S": "us-east-1:ada"},
        "purchaseId": {"S": purchase.key.purchase_id.to_string()},
        "status": {"S": "PAID"},
        "amount": {"N": "0"},
    });
    database.put("Purchases", &item).unwrap();
    let settled = purchases
        .settle(&purchase.key, &paid(1), SettleIf::Pending, NOON)
        .await;
    for failed in [
        orders.open(&purchase, None, None).await.unwrap_err(),
        settled.unwrap_err(),
        purchases.get(&purchase.key).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

/// A payment service in which every purchase has a payment in the status `Processing`.
struct ProcessingPayments;

impl Payments for ProcessingPayments {
    fn is_live(&self) -> bool {
        false
    }

    async fn charge(&self, _: &Purchase, _: &PaymentSource) -> Result<Payment, ChargeError> {
        panic!("find_payments finds a payment")
    }

    async fn find_payments(&self, _: &Purchase) -> Result<Vec<Payment>, Error> {
        let intent = intent(1);
        Ok(vec![Payment::Processing { intent }])
    }

    async fn retrieve(&self, intent: &IntentId) -> Result<Option<PaymentDetails>, Error> {
        Ok(Some(PaymentDetails {
            payment: Payment::Processing {
                intent: intent.clone(),
            },
            amount: price(),
            amount_received: 0,
            amount_refunded: 0,
            currency: Some(Currency::default()),
            is_live: false,
            purchase: None,
        }))
    }

    async fn cancel(&self, _: &IntentId) -> Result<Payment, Error> {
        panic!("a processing payment is not canceled")
    }

    async fn refund(&self, _: &IntentId) -> Result<RefundedCharge, Error> {
        panic!("a processing payment is not refunded")
    }
}

/// A topic to which nothing is published.
struct NoTopic;

impl Publisher for NoTopic {
    async fn publish(&self, _: &NotePurchased) -> Result<(), Error> {
        panic!("no purchase is settled")
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
                    if !matches!(&*operation, "TransactWriteItems" | "UpdateItem") {
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
    let tables = tables_at(&url);
    for _ in 0..40 {
        tables.with_pending("ada", 0).await;
    }
    let run = async |minutes: u64| {
        let now = NOON.after(Duration::from_secs(minutes * 60));
        let deadline = now.after(Duration::from_secs(240));
        let purchases = &tables.purchases;
        let summary = reconcile(&ProcessingPayments, purchases, &NoTopic, &|| now, deadline).await;
        assert_eq!((summary.pending, summary.errors), (40, 0));
        let mut reads = std::mem::take(&mut *reads.lock().unwrap());
        // The shards are read at the same time.
        reads.sort_by_key(|read| read.scanned.as_u64());
        reads
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
