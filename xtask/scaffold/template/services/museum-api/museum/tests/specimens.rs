//! Tests the client of the table Specimens with an in-memory DynamoDB.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::sync::Arc;

use local_dynamodb::{Dynamodb, client_variable};
use museum::specimens::{
    service::SpecimensTable,
    specimen::{Specimen, SpecimenFields, SpecimenId},
};
use resources::{Error, prelude::*};
use serde_json::{Value, json};
use test_support::{proxy::LossyProxy, samples};
use tokio::task::JoinSet;

async fn database() -> Dynamodb {
    Dynamodb::start(&[("Specimens", "specimenId")])
        .await
        .unwrap()
}

fn table(endpoint: &str) -> SpecimensTable {
    let variable = |name| client_variable(endpoint, name);
    let dynamodb = dynamodb::Dynamodb::new(&aws::Stack::from_vars(variable).unwrap());
    SpecimensTable::new(dynamodb.table("Specimens".parse().unwrap()))
}

fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

fn bob() -> UserId {
    "us-east-1:bob".parse().unwrap()
}

/// A `sub` for tests. Each `number` gives another `sub`.
fn sub(number: u8) -> Sub {
    let sub = format!("2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e{number:02x}");
    sub.parse().unwrap()
}

/// The fields of a specimen. Each `number` gives other values of the unique fields.
fn fields(number: u32) -> SpecimenFields {
    let sample = samples::body("museum-specimens-create");
    let unique = SpecimenFields::UNIQUE.iter().map(|(name, _)| *name);
    serde_json::from_value(samples::numbered(&sample, unique, number)).unwrap()
}

/// The fields of a specimen of which all optional ones are missing, if they are not unique.
fn required_fields(number: u32) -> SpecimenFields {
    let mut body = serde_json::to_value(fields(number)).unwrap();
    for (name, value) in body.clone().as_object().unwrap() {
        body[name] = json!(null);
        if serde_json::from_value::<SpecimenFields>(body.clone()).is_err() {
            body[name] = value.clone();
        }
    }
    serde_json::from_value(body).unwrap()
}

fn specimen(user: &UserId, fields: SpecimenFields) -> Specimen {
    Specimen::new(user, Plan::generate(), fields)
}

fn change(fields: SpecimenFields, sub: Option<Sub>) -> Change<SpecimenFields> {
    Change::new(fields, &Author { id: ada(), sub })
}

async fn insert(table: &SpecimensTable, user: &UserId, number: u32) -> Specimen {
    let specimen = specimen(user, fields(number));
    table.insert(&specimen, None).await.unwrap();
    specimen
}

/// The stored specimens, without the markers of unique values.
fn stored(database: &Dynamodb) -> Vec<Value> {
    let mut items = database.items("Specimens").unwrap();
    items.retain(|item| item.get("version").is_some());
    items
}

/// The number of markers of unique values.
fn markers(database: &Dynamodb) -> usize {
    database.items("Specimens").unwrap().len() - stored(database).len()
}

#[tokio::test]
async fn a_specimen_is_read_as_it_was_written() {
    let database = database().await;
    let table = table(&database.url());
    for fields in [fields(1), required_fields(2)] {
        let written = specimen(&ada(), fields);
        table.insert(&written, None).await.unwrap();
        let found = table.find(&ada(), written.specimen_id).await.unwrap();
        assert_eq!(found, written);
    }
}

#[tokio::test]
async fn repeated_inserts_create_one_specimen_and_do_not_overwrite_a_change() {
    let database = database().await;
    let table = table(&database.url());
    let first = insert(&table, &ada(), 1).await;
    let changed = change(fields(2), None);
    let id = first.specimen_id;
    table
        .replace(&ada(), id, &changed, &Precondition::Any)
        .await
        .unwrap();
    table.insert(&first, None).await.unwrap();
    let found = table.find(&ada(), id).await.unwrap();
    assert_eq!((found.fields, found.version), (fields(2), changed.version));
    assert_eq!(stored(&database).len(), 1);
}

#[tokio::test]
async fn a_specimen_stores_the_sub_of_its_last_writer() {
    let database = database().await;
    let table = table(&database.url());
    let created = specimen(&ada(), fields(1));
    table.insert(&created, Some(sub(1))).await.unwrap();
    for (by, expected) in [(None, 1), (Some(sub(2)), 2), (None, 2)] {
        let change = change(fields(1), by);
        let id = created.specimen_id;
        let replaced = table.replace(&ada(), id, &change, &Precondition::Any).await;
        replaced.unwrap();
        let expected = json!({"S": sub(expected).to_string()});
        assert_eq!(stored(&database)[0]["sub"], expected);
    }
}

#[tokio::test]
async fn a_user_cannot_read_or_change_specimens_of_another_user() {
    let database = database().await;
    let table = table(&database.url());
    let hers = insert(&table, &ada(), 1).await;
    let id = hers.specimen_id;
    insert(&table, &bob(), 1).await;
    assert!(matches!(table.find(&bob(), id).await, Err(Error::NotFound)));
    for expected in [Precondition::Any, Precondition::OneOf(vec![hers.version])] {
        let change = change(fields(2), None);
        let replaced = table.replace(&bob(), id, &change, &expected).await;
        assert!(matches!(replaced, Err(Error::NotFound)), "{replaced:?}");
        // Bob has no such specimen, so the removal succeeds.
        table.remove(&bob(), id, &expected).await.unwrap();
    }
    assert_eq!(table.find(&ada(), id).await.unwrap(), hers);
    assert_eq!(table.page(&ada(), None, 10).await.unwrap().items, [hers]);
}

#[tokio::test]
async fn the_pages_have_each_specimen_exactly_once_newest_first() {
    let database = database().await;
    let table = table(&database.url());
    let mut created = Vec::new();
    for number in 0..25 {
        created.insert(0, insert(&table, &ada(), number).await);
    }
    for limit in [1, 10, 25, 100] {
        let mut listed: Vec<Specimen> = Vec::new();
        loop {
            let before = listed.last().map(|specimen| specimen.specimen_id);
            let page = table.page(&ada(), before, limit).await.unwrap();
            assert!(page.items.len() <= limit);
            listed.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(listed, created);
    }
    assert!(table.page(&bob(), None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_specimen_with_an_unexpected_version_is_neither_replaced_nor_removed() {
    let database = database().await;
    let table = table(&database.url());
    let created = insert(&table, &ada(), 1).await;
    let id = created.specimen_id;
    for number in [1, 2] {
        for versions in [
            vec![],
            vec![Version::generate()],
            vec![Version::generate(); 50],
        ] {
            let expected = Precondition::OneOf(versions);
            let change = change(fields(number), None);
            let replaced = table.replace(&ada(), id, &change, &expected).await;
            assert!(matches!(replaced, Err(Error::Changed)), "{replaced:?}");
            let removed = table.remove(&ada(), id, &expected).await;
            assert!(matches!(removed, Err(Error::Changed)), "{removed:?}");
        }
    }
    assert_eq!(table.find(&ada(), id).await.unwrap(), created);
    let expected = Precondition::OneOf(vec![Version::generate(), created.version]);
    table.remove(&ada(), id, &expected).await.unwrap();
    assert_eq!(database.items("Specimens").unwrap(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_missing_specimen_is_not_replaced_and_can_be_removed() {
    let database = database().await;
    let table = table(&database.url());
    let id = SpecimenId::generate();
    for expected in [Precondition::Any, Precondition::OneOf(vec![])] {
        let change = change(fields(1), None);
        let replaced = table.replace(&ada(), id, &change, &expected).await;
        assert!(matches!(replaced, Err(Error::NotFound)), "{replaced:?}");
        table.remove(&ada(), id, &expected).await.unwrap();
    }
    assert_eq!(database.items("Specimens").unwrap(), Vec::<Value>::new());
}

#[tokio::test]
async fn only_one_of_many_concurrent_updates_of_one_version_succeeds() {
    let database = database().await;
    let table = Arc::new(table(&database.url()));
    let created = insert(&table, &ada(), 0).await;
    let mut updates = JoinSet::new();
    for number in 1..=20 {
        let (table, id) = (Arc::clone(&table), created.specimen_id);
        let expected = Precondition::OneOf(vec![created.version]);
        updates.spawn(async move {
            let change = change(fields(number), None);
            let replaced = table.replace(&ada(), id, &change, &expected).await;
            replaced.map(|()| change)
        });
    }
    let mut done = Vec::new();
    for result in updates.join_all().await {
        match result {
            Ok(change) => done.push(change),
            Err(error) => assert!(matches!(error, Error::Changed), "{error:?}"),
        }
    }
    let [change] = done.try_into().unwrap();
    let found = table.find(&ada(), created.specimen_id).await.unwrap();
    assert_eq!(
        (found.version, found.fields),
        (change.version, change.fields)
    );
    assert_eq!(markers(&database), SpecimenFields::UNIQUE.len());
}

#[tokio::test]
async fn a_write_whose_response_is_lost_takes_effect_once() {
    let database = database().await;
    let proxy = LossyProxy::start(database.url(), |number| number.is_multiple_of(2)).await;
    let table = table(&proxy.url);
    let created = insert(&table, &ada(), 1).await;
    let id = created.specimen_id;
    let mut version = created.version;
    // The first update keeps the unique values, and the second one changes them.
    for number in [1, 2] {
        let change = change(fields(number), None);
        let expected = Precondition::OneOf(vec![version]);
        table.replace(&ada(), id, &change, &expected).await.unwrap();
        version = change.version;
    }
    let found = table.find(&ada(), id).await.unwrap();
    assert_eq!((found.fields, found.version), (fields(2), version));
    let expected = Precondition::OneOf(vec![version]);
    table.remove(&ada(), id, &expected).await.unwrap();
    assert!(proxy.lost() > 0);
    assert_eq!(database.items("Specimens").unwrap(), Vec::<Value>::new());
}

// if unique {
#[tokio::test]
async fn of_many_concurrent_specimens_with_the_same_unique_value_one_is_created() {
    let database = database().await;
    let table = Arc::new(table(&database.url()));
    let mut inserts = JoinSet::new();
    for number in 0..16 {
        let table = Arc::clone(&table);
        inserts.spawn(async move {
            let specimen = specimen(&ada(), fields(number % 4));
            table.insert(&specimen, None).await
        });
    }
    let names: Vec<_> = SpecimenFields::UNIQUE
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let mut created = 0;
    for result in inserts.join_all().await {
        match result {
            Ok(()) => created += 1,
            Err(Error::Taken(taken)) => assert_eq!(taken, names),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((created, stored(&database).len()), (4, 4));
    assert_eq!(markers(&database), 4 * names.len());
    // Another user can have the same values.
    insert(&table, &bob(), 1).await;
}

#[tokio::test]
async fn an_update_and_a_removal_free_the_unique_values() {
    let database = database().await;
    let table = table(&database.url());
    let first = insert(&table, &ada(), 1).await.specimen_id;
    let second = insert(&table, &ada(), 2).await.specimen_id;
    let put = async |id, number| {
        let change = change(fields(number), None);
        table.replace(&ada(), id, &change, &Precondition::Any).await
    };
    for _ in 0..2 {
        assert!(matches!(put(second, 1).await, Err(Error::Taken(_))));
        put(first, 1).await.unwrap();
    }
    put(first, 3).await.unwrap();
    put(second, 1).await.unwrap();
    table
        .remove(&ada(), first, &Precondition::Any)
        .await
        .unwrap();
    insert(&table, &ada(), 2).await;
    insert(&table, &ada(), 3).await;
    assert_eq!(stored(&database).len(), 3);
    assert_eq!(markers(&database), 3 * SpecimenFields::UNIQUE.len());
}

#[tokio::test]
async fn concurrent_writes_of_many_specimens_keep_exactly_the_markers_of_the_stored_values() {
    let database = database().await;
    let table = Arc::new(table(&database.url()));
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(insert(&table, &ada(), number).await.specimen_id);
    }
    let mut writes = JoinSet::new();
    for number in 0..48_u32 {
        let (table, id) = (Arc::clone(&table), ids[number as usize % 4]);
        writes.spawn(async move {
            // Some writes remove one of two specimens. The others take one of six values.
            let result = match number % 12 {
                8 | 9 => table.remove(&ada(), id, &Precondition::Any).await,
                _ => {
                    let change = change(fields(number % 6), None);
                    table.replace(&ada(), id, &change, &Precondition::Any).await
                }
            };
            let is_decided = matches!(
                result,
                Ok(()) | Err(Error::Taken(_) | Error::NotFound | Error::Service(_))
            );
            assert!(is_decided, "{result:?}");
        });
    }
    writes.join_all().await;
    let left = table.page(&ada(), None, 100).await.unwrap().items;
    for (name, value) in SpecimenFields::UNIQUE {
        let mut values: Vec<_> = left
            .iter()
            .map(|specimen| value(&specimen.fields))
            .collect();
        values.sort();
        values.dedup();
        assert_eq!(values.len(), left.len(), "{name}");
    }
    assert_eq!(
        markers(&database),
        left.len() * SpecimenFields::UNIQUE.len()
    );
    for specimen in left {
        table
            .remove(&ada(), specimen.specimen_id, &Precondition::Any)
            .await
            .unwrap();
    }
    assert_eq!(database.items("Specimens").unwrap(), Vec::<Value>::new());
}
// }
