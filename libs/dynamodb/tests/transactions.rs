//! Tests transactions with an in-memory DynamoDB behind a proxy that loses or replaces responses.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{Action, Check, Error, Item, Table, Transacted};
use hyper::StatusCode;
use local_dynamodb::{Dynamodb, client_variable};
use serde_json::{Value, json};
use test_support::proxy::{HttpResponse, Lost, forward, listen};
use tokio::task::JoinHandle;

async fn database() -> Dynamodb {
    Dynamodb::start(&[("Notes", "noteId"), ("Storage", "entry")])
        .await
        .unwrap()
}

/// A response of a transaction that DynamoDB canceled with the reason `code` for the second action.
fn canceled(code: &str) -> Value {
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": format!("Transaction cancelled, please refer cancellation reasons for specific reasons [None, {code}]"),
        "CancellationReasons": [{"Code": "None"}, {"Code": code, "Message": "no"}],
    })
}

/// What a proxy does with a request.
#[derive(Clone)]
enum Fault {
    /// It forwards the request, and closes the connection without a response.
    Lose,
    /// It responds with the status 400 and this body, without forwarding the request.
    Refuse(Value),
}

/// A proxy in front of a database. It applies `fault` to the first `count` requests, and forwards all others.
struct Proxy {
    url: String,
    requests: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Proxy {
    async fn start(database: &Dynamodb, fault: Fault, count: usize) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, upstream) = (Arc::clone(&requests), database.url());
        let client = reqwest::Client::new();
        let (url, server) = listen(move |head, body| {
            let (fault, upstream, client) = (fault.clone(), upstream.clone(), client.clone());
            let is_faulty = counter.fetch_add(1, SeqCst) < count;
            async move {
                match fault {
                    Fault::Refuse(body) if is_faulty => {
                        let mut response = HttpResponse::new(body.to_string().into());
                        *response.status_mut() = StatusCode::BAD_REQUEST;
                        Ok(response)
                    }
                    _ => {
                        let response = forward(&client, &upstream, head, body).await;
                        if is_faulty { Err(Lost) } else { Ok(response) }
                    }
                }
            }
        })
        .await;
        Self {
            url,
            requests,
            server,
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Tables {
    notes: Table,
    storage: Table,
}

fn tables(endpoint: &str) -> Tables {
    let variable = |name| client_variable(endpoint, name);
    let dynamodb = dynamodb::Dynamodb::new(&aws::Stack::from_vars(variable).unwrap());
    Tables {
        notes: dynamodb.table("Notes".parse().unwrap()),
        storage: dynamodb.table("Storage".parse().unwrap()),
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u8) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(sort_key: &str, value: &str) -> Item {
    HashMap::from([
        ("userId".to_owned(), text("ada")),
        (sort_key.to_owned(), text(value)),
    ])
}

/// Creates the note `id` and counts it, if fewer than two notes are counted.
async fn create(tables: &Tables, id: &str) -> Result<Transacted<2>, Error> {
    let Tables { notes, storage } = tables;
    let create = || {
        let put = notes
            .put_action()
            .set_item(Some(key("noteId", id)))
            .condition_expression("attribute_not_exists(noteId)");
        let count = storage
            .update_action()
            .set_key(Some(key("entry", "total")))
            .update_expression("ADD used :one")
            .condition_expression("attribute_not_exists(used) OR used < :limit")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":limit", number(2))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok([put.action()?, count.action()?])
    };
    notes.transact(create).await
}

fn total(used: u8) -> Item {
    let mut total = key("entry", "total");
    total.insert("used".to_owned(), number(used));
    total
}

fn counts(database: &Dynamodb) -> (usize, Value) {
    let notes = database.items("Notes").unwrap().len();
    let total = database.items("Storage").unwrap();
    let used = total.first().map(|total| total["used"]["N"].clone());
    (notes, used.unwrap_or_default())
}

#[tokio::test]
async fn either_all_actions_take_effect_or_none() {
    let database = database().await;
    let tables = tables(&database.url());
    for id in ["1", "2"] {
        assert_eq!(create(&tables, id).await.unwrap(), Transacted::Done);
    }
    let full = [Check::Passed, Check::ConditionFailed(Some(total(2)))];
    assert_eq!(
        create(&tables, "3").await.unwrap(),
        Transacted::Canceled(full)
    );
    assert_eq!(counts(&database), (2, json!("2")));
}

#[tokio::test]
async fn a_canceled_transaction_has_the_check_of_each_action() {
    let database = database().await;
    let tables = tables(&database.url());
    create(&tables, "1").await.unwrap();
    let exists = [Check::ConditionFailed(None), Check::Passed];
    assert_eq!(
        create(&tables, "1").await.unwrap(),
        Transacted::Canceled(exists)
    );
    create(&tables, "2").await.unwrap();
    let both = [
        Check::ConditionFailed(None),
        Check::ConditionFailed(Some(total(2))),
    ];
    assert_eq!(
        create(&tables, "1").await.unwrap(),
        Transacted::Canceled(both)
    );
}

#[tokio::test]
async fn a_transaction_whose_response_is_lost_takes_effect_once_and_succeeds() {
    let database = database().await;
    let proxy = Proxy::start(&database, Fault::Lose, 1).await;
    let created = create(&tables(&proxy.url), "1").await.unwrap();
    assert_eq!(created, Transacted::Done);
    assert_eq!(proxy.requests(), 2);
    assert_eq!(counts(&database), (1, json!("1")));
}

#[tokio::test]
async fn a_transaction_that_conflicts_with_another_is_repeated() {
    for code in [
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ] {
        let database = database().await;
        let proxy = Proxy::start(&database, Fault::Refuse(canceled(code)), 4).await;
        let created = create(&tables(&proxy.url), "1").await.unwrap();
        assert_eq!(created, Transacted::Done);
        assert_eq!(proxy.requests(), 5);
        assert_eq!(counts(&database), (1, json!("1")));
    }
}

#[tokio::test]
async fn a_canceled_transaction_without_a_check_is_not_repeated() {
    let database = database().await;
    let refusal = Fault::Refuse(canceled("ValidationError"));
    let proxy = Proxy::start(&database, refusal, usize::MAX).await;
    let error = create(&tables(&proxy.url), "1").await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error:?}");
    assert_eq!(proxy.requests(), 1);
}

#[tokio::test]
async fn a_single_write_that_conflicts_with_a_transaction_is_retried() {
    let conflict = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
        "message": "Transaction is ongoing for the item",
    });
    for conflicts in [1, usize::MAX] {
        let database = database().await;
        let proxy = Proxy::start(&database, Fault::Refuse(conflict.clone()), conflicts).await;
        let notes = tables(&proxy.url).notes;
        let put = notes.put().set_item(Some(key("noteId", "1")));
        let update = notes
            .update()
            .set_key(Some(key("noteId", "2")))
            .update_expression("SET content = :content")
            .expression_attribute_values(":content", text("hello"));
        let put = notes.send(put).await.map_err(Error::from).map(drop);
        let between = proxy.requests();
        let update = notes.send(update).await.map_err(Error::from).map(drop);
        if conflicts == 1 {
            assert!(put.is_ok() && update.is_ok(), "{put:?}, {update:?}");
            assert_eq!((between, proxy.requests()), (2, 3));
        } else {
            for error in [put.unwrap_err(), update.unwrap_err()] {
                assert!(error.is_transient(), "{error:?}");
            }
            assert_eq!((between, proxy.requests()), (3, 6));
        }
    }
}
