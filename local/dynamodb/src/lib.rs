//! An in-memory DynamoDB for tests. It serves DynamoDB's HTTP API on its own port until it is
//! dropped.

use std::error::Error;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use dynoxide::{Database, ImportOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An error of the in-memory database or of its HTTP server.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the value of an environment variable with which an AWS client calls the database, or a proxy in
/// front of it, at the URL `endpoint`. The credentials are not checked.
pub fn client_variable(endpoint: &str, name: &str) -> Option<OsString> {
    let value = match name {
        "AWS_REGION" => "us-east-1",
        "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY" => "secret",
        "AWS_ENDPOINT_URL" => endpoint,
        _ => return None,
    };
    Some(value.into())
}

/// An in-memory DynamoDB. Its HTTP server runs on the Tokio runtime on which it was started, until
/// this value is dropped.
pub struct Dynamodb {
    database: Database,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Dynamodb {
    /// Starts a database and creates `tables`, which contains the name of each table and the name
    /// of its sort key. The partition key of each of these tables is `userId`. To create a table
    /// with other keys, use [`Dynamodb::create`] or [`Dynamodb::create_table`].
    ///
    /// # Errors
    ///
    /// Fails if no port is free, or a table cannot be created.
    pub async fn start(tables: &[(&str, &str)]) -> Result<Self, BoxError> {
        let database = Database::memory()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let started = Self {
            database: database.clone(),
            address: listener.local_addr()?,
            server: tokio::spawn(dynoxide::server::serve_on(listener, database)),
        };
        for (table, sort_key) in tables {
            started.create(table, &["userId", sort_key])?;
        }
        Ok(started)
    }

    /// Creates a table. `key` contains the name of the partition key and, optionally, the name of
    /// the sort key. Both keys have the type string.
    ///
    /// # Errors
    ///
    /// Fails if the table exists, or the key is invalid.
    pub fn create(&self, table: &str, key: &[&str]) -> Result<(), BoxError> {
        let schema = key.iter().zip(["HASH", "RANGE"]);
        let schema = schema.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind}));
        let attributes = key
            .iter()
            .map(|name| json!({"AttributeName": name, "AttributeType": "S"}));
        let request = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": schema.collect::<Vec<_>>(),
            "AttributeDefinitions": attributes.collect::<Vec<_>>(),
        });
        self.create_table(&request)
    }

    /// Executes a CreateTable request
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html>).
    ///
    /// # Errors
    ///
    /// Fails if the request is invalid, or the table exists.
    pub fn create_table(&self, request: &Value) -> Result<(), BoxError> {
        let request = serde_json::from_value(request.clone())?;
        self.database.create_table(request)?;
        Ok(())
    }

    /// The address of the HTTP API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the HTTP API, a value for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes `item` directly to the database, without an HTTP request. `item` is in DynamoDB's
    /// JSON format.
    ///
    /// # Errors
    ///
    /// Fails if the table does not exist, or the item is invalid.
    pub fn put(&self, table: &str, item: &Value) -> Result<(), BoxError> {
        let request = json!({"TableName": table, "Item": item});
        self.database.put_item(serde_json::from_value(request)?)?;
        Ok(())
    }

    /// Writes either all of `items` or none of them directly to the database, without an HTTP
    /// request. This is fast enough for hundreds of thousands of items.
    ///
    /// # Errors
    ///
    /// Fails if the table does not exist, or an item is invalid.
    pub fn put_all(
        &self,
        table: &str,
        items: impl IntoIterator<Item = Value>,
    ) -> Result<(), BoxError> {
        let items = items.into_iter().map(serde_json::from_value);
        let items = items.collect::<Result<_, _>>()?;
        self.database
            .import_items(table, items, ImportOptions::default())?;
        Ok(())
    }

    /// Deletes an item directly from the database, without an HTTP request. `key` is the key of the
    /// item in DynamoDB's JSON format.
    ///
    /// # Errors
    ///
    /// Fails if the table does not exist, or its key has other attributes.
    pub fn delete(&self, table: &str, key: &Value) -> Result<(), BoxError> {
        let request = json!({"TableName": table, "Key": key});
        self.database
            .delete_item(serde_json::from_value(request)?)?;
        Ok(())
    }

    /// Reads all items of a table directly from the database, without an HTTP request. Returns the
    /// items in DynamoDB's JSON format.
    ///
    /// # Errors
    ///
    /// Fails if the table does not exist.
    pub fn items(&self, table: &str) -> Result<Vec<Value>, BoxError> {
        let mut request = json!({"TableName": table});
        let mut found = Vec::new();
        loop {
            let page = self
                .database
                .scan(serde_json::from_value(request.clone())?)?;
            let mut page = serde_json::to_value(page)?;
            if let Some(Value::Array(items)) = page.get_mut("Items").map(Value::take) {
                found.extend(items);
            }
            match (page.get_mut("LastEvaluatedKey"), request.as_object_mut()) {
                (Some(last), Some(request)) if last.is_object() => {
                    request.insert("ExclusiveStartKey".into(), last.take());
                }
                _ => return Ok(found),
            }
        }
    }
}

impl Drop for Dynamodb {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_contains_an_item_after_put() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}, "noteId": {"S": "1"}});
        assert!(dynamodb.items("Notes").unwrap().is_empty());
        dynamodb.put("Notes", &item).unwrap();
        assert_eq!(dynamodb.items("Notes").unwrap(), [item]);
    }

    #[tokio::test]
    async fn items_does_not_contain_an_item_after_delete() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}, "noteId": {"S": "1"}});
        dynamodb.put("Notes", &item).unwrap();
        dynamodb.delete("Notes", &item).unwrap();
        assert!(dynamodb.items("Notes").unwrap().is_empty());
    }

    #[tokio::test]
    async fn items_contains_all_items_of_a_table_that_has_more_than_one_page() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let content = "x".repeat(100_000);
        let item = |id: u32| {
            json!({
                "userId": {"S": "ada"}, "noteId": {"S": id.to_string()}, "content": {"S": content},
            })
        };
        dynamodb.put_all("Notes", (0..25).map(item)).unwrap();
        assert_eq!(dynamodb.items("Notes").unwrap().len(), 25);
    }

    #[tokio::test]
    async fn put_all_writes_all_items_or_none() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = |id: &str| json!({"userId": {"S": "ada"}, "noteId": {"S": id}});
        let broken = [item("1"), json!({"userId": {"S": "ada"}})];
        assert!(dynamodb.put_all("Notes", broken).is_err());
        assert!(dynamodb.items("Notes").unwrap().is_empty());
        dynamodb.put_all("Notes", [item("1"), item("2")]).unwrap();
        assert_eq!(dynamodb.items("Notes").unwrap().len(), 2);
    }

    #[tokio::test]
    async fn an_item_of_a_table_without_a_sort_key_needs_only_the_partition_key() {
        let dynamodb = Dynamodb::start(&[]).await.unwrap();
        dynamodb.create("Idempotency", &["id"]).unwrap();
        let item = json!({"id": {"S": "1"}});
        dynamodb.put("Idempotency", &item).unwrap();
        assert_eq!(dynamodb.items("Idempotency").unwrap(), [item]);
    }

    #[tokio::test]
    async fn an_item_without_its_sort_key_is_rejected() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}});
        assert!(dynamodb.put("Notes", &item).is_err());
    }
}
