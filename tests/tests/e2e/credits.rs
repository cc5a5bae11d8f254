//! Tests of the storage that purchases grant.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::stage::{Person, Stage, wait_for_up_to};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample;
use crate::storage::{FREE, assert_full, create_notes, ids};

/// How soon after its message a credit must take effect.
const CREDIT_TIME: Duration = Duration::from_secs(5);

fn storage(used: u64, bought: u64) -> Value {
    json!({"used": used, "allowed": FREE + bought, "free": FREE, "bought": bought})
}

/// A message of the SNS topic Purchases: the purchase `id` grants `granted` notes in its revision `revision`.
fn message(user: &str, id: Uuid, revision: u64, granted: u32) -> Value {
    json!({
        "purchaseId": id, "userId": user, "amount": 4000, "currency": "usd",
        "description": "storage for 10 notes", "granted": granted, "revision": revision, "notices": [],
    })
}

/// Waits until a person has bought storage for `bought` notes.
async fn wait_until_bought(person: &Person<'_>, used: u64, bought: u64) {
    wait_for_up_to(CREDIT_TIME, "the credit", async || {
        let current = person.get("/storage").await.json(200);
        (current == storage(used, bought)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_purchase_grants_storage_once_and_a_refund_revokes_it() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let id = Uuid::now_v7();
    let publish = async |revision, granted| {
        for _ in 0..3 {
            stage
                .publish(&message(&ada.id, id, revision, granted).to_string())
                .await;
        }
    };
    publish(1, 10).await;
    wait_until_bought(&ada, 0, 10).await;
    create_notes(&ada, FREE + 10).await;
    assert_full(&ada, FREE + 10, FREE + 10).await;

    publish(2, 0).await;
    wait_until_bought(&ada, FREE + 10, 0).await;
    assert_full(&ada, FREE + 10, FREE).await;
    // No note is deleted or hidden.
    let notes = ids(&ada).await;
    assert_eq!(notes.len() as u64, FREE + 10);
    for path in notes.iter().take(10) {
        ada.delete(path).await.json(200);
    }
    assert_full(&ada, FREE, FREE).await;
}

#[tokio::test]
async fn messages_about_a_purchase_have_the_same_result_in_any_order_and_any_number() {
    let stage = Stage::shared().await;
    let ada = Person::sign_up(&stage).await;
    let revisions = [(1, 10), (2, 4), (3, 7)];
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        let id = Uuid::now_v7();
        let mut deliveries = JoinSet::new();
        for (revision, granted) in order.map(|next| revisions[next]) {
            let mut event = sample("notes-credit");
            let text = message(&ada.id, id, revision, granted).to_string();
            event["Records"][0]["Sns"]["Message"] = json!(text);
            stage.invoke("notes-credit", &event).await.unwrap();
            for _ in 0..2 {
                let (event, stage) = (event.clone(), stage.for_task());
                deliveries.spawn(async move { stage.invoke("notes-credit", &event).await });
            }
        }
        for delivered in deliveries.join_all().await {
            delivered.unwrap();
        }
        let bought = 7 * (number as u64 + 1);
        assert_eq!(
            ada.get("/storage").await.json(200),
            storage(0, bought),
            "{order:?}"
        );
    }
    let entries = stage
        .items_of(&stage.storage_table().await, &ada.id)
        .await
        .len();
    assert_eq!(entries, 1 + orders.len());
}

#[tokio::test]
async fn an_unreadable_message_goes_to_the_dead_letter_queue_of_notes_credit() {
    let stage = Stage::shared().await;
    let marker = Uuid::now_v7().to_string();
    stage.publish(&marker).await;
    wait_for_up_to(
        Duration::from_secs(40), // Lambda retries the event twice
        "the dead-letter queue",
        async || {
            let messages = stage.dead_letters_of("notes-credit").await;
            let matching = messages.iter().filter(|message| message.contains(&marker));
            (matching.count() == 1).then_some(())
        },
    )
    .await;
}
