//! Users who create and delete notes during a migration, with the transactions of the functions notes-create and
//! notes-delete.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{AttributeValue, Delete, Put, TransactWriteItem, Update},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::random::Random;

/// The number of users who have notes.
pub(crate) const USERS: usize = 40;

/// Returns the id of a user.
pub(crate) fn user_id(number: usize) -> String {
    format!("us-east-1:00000000-0000-4000-8000-{number:012}")
}

/// Returns the id of an item that existed before the migration.
pub(crate) fn id(number: usize) -> String {
    format!("019a0000-0000-7000-8000-{number:012}")
}

/// Returns a note that was created before notes were counted.
pub(crate) fn old_note(number: usize, random: &mut Random) -> Value {
    // Some users have many notes, some few.
    let user = random.below(USERS).min(random.below(USERS));
    json!({
        "userId": {"S": user_id(user)}, "noteId": {"S": id(number)}, "version": {"S": id(number)},
        "content": {"S": "old"}, "createdAt": {"N": "1"}, "updatedAt": {"N": "1"},
    })
}

/// A user agent that creates and deletes notes of all users.
#[derive(Debug)]
pub(crate) struct User {
    client: Client,
    random: Random,
    /// How many notes it has created.
    pub(crate) created: usize,
    /// How many notes it has deleted.
    pub(crate) deleted: usize,
}

impl User {
    /// Creates a user agent whose DynamoDB has the URL `url`.
    pub(crate) fn new(url: &str, random: Random) -> Self {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .http_client(aws::https(std::time::Duration::from_secs(10)).for_aws())
            .build();
        Self {
            client: Client::from_conf(config),
            random,
            created: 0,
            deleted: 0,
        }
    }

    /// Creates a note, or deletes one.
    pub(crate) async fn write(&mut self) {
        let user = user_id(self.random.below(USERS));
        if self.random.below(2) == 0 {
            self.create(&user).await;
        } else {
            self.delete(&user).await;
        }
    }

    async fn create(&mut self, user: &str) {
        let id = Uuid::now_v7().to_string();
        let put = Put::builder()
            .table_name("Notes")
            .item("userId", text(user))
            .item("noteId", text(&id))
            .item("version", text(&id))
            .item("counted", AttributeValue::Bool(true))
            .condition_expression("attribute_not_exists(noteId)")
            .build()
            .unwrap();
        let put = TransactWriteItem::builder().put(put).build();
        self.transact([put, add_to_total(user, 1)]).await;
        self.created += 1;
    }

    /// Deletes a random note of `user`, if the user has one and it does not change meanwhile.
    async fn delete(&mut self, user: &str) {
        let start = id(self.random.below(100_000));
        let query = self
            .client
            .query()
            .table_name("Notes")
            .key_condition_expression("userId = :user AND noteId >= :start")
            .expression_attribute_values(":user", text(user))
            .expression_attribute_values(":start", text(&start))
            .limit(1)
            .consistent_read(true);
        let found = query.send().await.unwrap().items.unwrap_or_default();
        let Some(note) = found.into_iter().next() else {
            return;
        };
        let key =
            HashMap::from(["userId", "noteId"].map(|name| (name.to_owned(), note[name].clone())));
        let is_deleted = if note.contains_key("counted") {
            let delete = Delete::builder()
                .table_name("Notes")
                .set_key(Some(key))
                .condition_expression("version = :version AND attribute_exists(counted)")
                .expression_attribute_values(":version", note["version"].clone())
                .build()
                .unwrap();
            let delete = TransactWriteItem::builder().delete(delete).build();
            self.transact([delete, add_to_total(user, -1)]).await
        } else {
            let delete = self
                .client
                .delete_item()
                .table_name("Notes")
                .set_key(Some(key))
                .condition_expression("version = :version AND attribute_not_exists(counted)")
                .expression_attribute_values(":version", note["version"].clone());
            match delete.send().await {
                Ok(_) => true,
                Err(error) => {
                    let failed = error.into_service_error();
                    assert!(failed.is_conditional_check_failed_exception(), "{failed:?}");
                    false
                }
            }
        };
        self.deleted += usize::from(is_deleted);
    }

    /// Executes a transaction. Returns false if a condition is false.
    async fn transact(&self, writes: [TransactWriteItem; 2]) -> bool {
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes.into()))
            .send()
            .await;
        let Err(error) = sent else { return true };
        let failed = error.into_service_error();
        assert!(failed.is_transaction_canceled_exception(), "{failed:?}");
        false
    }
}

fn add_to_total(user: &str, notes: i32) -> TransactWriteItem {
    let update = Update::builder()
        .table_name("Storage")
        .key("userId", text(user))
        .key("entry", text("total"))
        .update_expression("ADD #used :notes, balance :notes")
        .expression_attribute_names("#used", "used")
        .expression_attribute_values(":notes", AttributeValue::N(notes.to_string()))
        .build()
        .unwrap();
    TransactWriteItem::builder().update(update).build()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.into())
}
