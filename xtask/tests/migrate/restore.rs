//! Tests of `cargo xtask restore`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use local_dynamodb::Dynamodb;
use serde_json::{Value, json};

use super::{Aws, Random, run, run_and_kill, succeeded, text};

/// The number of items of the earlier state.
const ITEMS: usize = 3_000;

fn note(number: usize, content: &str) -> Value {
    json!({
        "userId": {"S": format!("us-east-1:{}", number % 7)}, "noteId": {"S": format!("note-{number:05}")},
        "content": {"S": content}, "createdAt": {"N": number.to_string()},
    })
}

/// The items of a table, by the attribute `key`.
fn items(dynamodb: &Dynamodb, table: &str, key: &str) -> BTreeMap<String, Value> {
    let items = dynamodb.items(table).unwrap().into_iter();
    items
        .map(|item| (text(&item, key).to_owned(), item))
        .collect()
}

/// Makes RestoreTableToPointInTime create a table with `items` and the key `key`. Returns the names of the created tables.
fn recover(
    aws: &Aws,
    dynamodb: &Arc<Dynamodb>,
    key: &'static [&'static str],
    items: Vec<Value>,
) -> Arc<Mutex<Vec<String>>> {
    let created = Arc::<Mutex<Vec<String>>>::default();
    let (names, dynamodb) = (created.clone(), dynamodb.clone());
    aws.on_restore(move |table| {
        dynamodb.create(table, key).unwrap();
        dynamodb.put_all(table, items.clone()).unwrap();
        names.lock().unwrap().push(table.into());
    });
    created
}

#[tokio::test]
async fn a_restore_copies_each_item_although_it_is_killed_and_deletes_the_temporary_table() {
    let mut random = Random::from_env();
    let dynamodb = Arc::new(Dynamodb::start(&[("Notes", "noteId")]).await.unwrap());
    let aws = Aws::start(dynamodb.url(), &["Notes"]).await;
    let earlier: Vec<_> = (0..ITEMS).map(|number| note(number, "earlier")).collect();
    let temporary = recover(&aws, &dynamodb, &["userId", "noteId"], earlier.clone());
    // One note was changed since, half of them were deleted, and one was created.
    let later = [note(0, "changed"), note(ITEMS, "created later")];
    dynamodb.put_all("Notes", later.to_vec()).unwrap();

    let restore = [
        "restore", "--table", "Notes", "--to", "latest", "--into", "dev", "--rate", "100000",
    ];
    let refused = run(&aws, &restore).await;
    assert!(!refused.status.success());
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("--overwrite"), "{error}");
    let shown = run(&aws, &[&restore[..], &["--overwrite", "--show"]].concat()).await;
    succeeded(&shown);
    assert_eq!(
        aws.calls("RestoreTableToPointInTime") + aws.calls("BatchWriteItem"),
        0
    );

    let restore = [&restore[..], &["--overwrite"]].concat();
    let mut kills = 0;
    while run_and_kill(&aws, &restore, &mut random, 30 + 10 * kills).await {
        kills += 1;
        assert!(kills < 100, "the restore does not advance");
    }
    assert!(kills >= 3, "{kills}");
    println!(
        "{ITEMS} items, {kills} kills, {} writes",
        aws.calls("BatchWriteItem")
    );

    let notes = items(&dynamodb, "Notes", "noteId");
    for note in &earlier {
        assert_eq!(notes.get(text(note, "noteId")), Some(note));
    }
    assert_eq!(notes.len(), ITEMS + 1);
    assert_eq!(notes.get(text(&later[1], "noteId")), Some(&later[1]));
    let temporary = temporary.lock().unwrap();
    let [temporary] = temporary.as_slice() else {
        panic!("{temporary:?}");
    };
    assert!(
        dynamodb.items(temporary).is_err(),
        "{temporary} still exists"
    );
    assert!(aws.object("dev/migrations/restore-Notes.json").is_none());
    assert!(aws.object("dev/lock.json").is_none());
}

#[tokio::test]
async fn expired_items_are_not_restored() {
    let dynamodb = Arc::new(Dynamodb::start(&[]).await.unwrap());
    dynamodb.create("Idempotency", &["id"]).unwrap();
    let aws = Aws::start(dynamodb.url(), &["Idempotency"]).await;
    let claim =
        |id: &str, expires: u64| json!({"id": {"S": id}, "expiresAt": {"N": expires.to_string()}});
    let earlier = vec![
        claim("expired", 1_700_000_000),
        claim("valid", 4_000_000_000),
    ];
    recover(&aws, &dynamodb, &["id"], earlier);
    let restore = [
        "restore",
        "--table",
        "Idempotency",
        "--to",
        "1970-01-01T00:00:02Z",
        "--into",
        "dev",
    ];
    succeeded(&run(&aws, &restore).await);
    let left: Vec<_> = items(&dynamodb, "Idempotency", "id").into_keys().collect();
    assert_eq!(left, ["valid"]);
    let late = [
        "restore",
        "--table",
        "Idempotency",
        "--to",
        "1970-01-01T00:00:03Z",
        "--into",
        "dev",
        "--overwrite",
    ];
    let refused = run(&aws, &late).await;
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(error.contains("1970-01-01T00:00:02Z"), "{error}");
}
