//! What stands in for DynamoDB in tests that need no cloud: a database in memory behind the real
//! HTTP API, on a port of its own, gone when it is dropped.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

use dynoxide::{Database, ImportOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Why the database cannot do what a test asks.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A database in memory. It serves from the runtime in which it was started.
pub struct Dynamodb {
    database: Database,
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Dynamodb {
    /// Starts one with these tables, each the name of the table and that of its sort key: the
    /// partition key of a person's things is `userId`. [`Dynamodb::create`] and
    /// [`Dynamodb::create_table`] make any other table.
    ///
    /// # Errors
    ///
    /// When no port is free, or a table cannot be made.
    pub async fn start(tables: &[(&str, &str)]) -> Result<Self, Failure> {
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

    /// Makes a table with this key: the names of the partition key and of the sort key, if it has
    /// one. Both are strings.
    ///
    /// # Errors
    ///
    /// When the table is there already, or cannot have such a key.
    pub fn create(&self, table: &str, key: &[&str]) -> Result<(), Failure> {
        let schema = key.iter().zip(["HASH", "RANGE"]);
        let schema = schema.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind}));
        let strings = key.iter();
        let strings = strings.map(|name| json!({"AttributeName": name, "AttributeType": "S"}));
        let request = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": schema.collect::<Vec<_>>(),
            "AttributeDefinitions": strings.collect::<Vec<_>>(),
        });
        self.create_table(&request)
    }

    /// Makes a table as a CreateTable request says, with indexes if it has any.
    ///
    /// # Errors
    ///
    /// When the request is none.
    pub fn create_table(&self, request: &Value) -> Result<(), Failure> {
        let request = serde_json::from_value(request.clone())?;
        self.database.create_table(request)?;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `AWS_ENDPOINT_URL` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes an item, in DynamoDB's JSON, past the HTTP API.
    ///
    /// # Errors
    ///
    /// When the table is not there, or does not take the item.
    pub fn put(&self, table: &str, item: &Value) -> Result<(), Failure> {
        let request = json!({"TableName": table, "Item": item});
        self.database.put_item(serde_json::from_value(request)?)?;
        Ok(())
    }

    /// Writes many items, as [`Dynamodb::put`] does, all or none of them: for hundreds of thousands.
    ///
    /// # Errors
    ///
    /// When the table is not there, or does not take one of them.
    pub fn put_all(
        &self,
        table: &str,
        items: impl IntoIterator<Item = Value>,
    ) -> Result<(), Failure> {
        let items = items.into_iter().map(serde_json::from_value);
        let items = items.collect::<Result<_, _>>()?;
        self.database
            .import_items(table, items, ImportOptions::default())?;
        Ok(())
    }

    /// Deletes the item with this key, in DynamoDB's JSON, past the HTTP API.
    ///
    /// # Errors
    ///
    /// When the table is not there, or has another key.
    pub fn delete(&self, table: &str, key: &Value) -> Result<(), Failure> {
        let request = json!({"TableName": table, "Key": key});
        self.database
            .delete_item(serde_json::from_value(request)?)?;
        Ok(())
    }

    /// All items of a table, in DynamoDB's JSON, past the HTTP API.
    ///
    /// # Errors
    ///
    /// When the table is not there.
    pub fn items(&self, table: &str) -> Result<Vec<Value>, Failure> {
        let request = json!({"TableName": table});
        let scanned = self.database.scan(serde_json::from_value(request)?)?;
        let mut scanned = serde_json::to_value(scanned)?;
        match scanned.get_mut("Items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
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
    async fn what_is_put_is_among_the_items() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}, "noteId": {"S": "1"}});
        assert!(dynamodb.items("Notes").unwrap().is_empty());
        dynamodb.put("Notes", &item).unwrap();
        assert_eq!(dynamodb.items("Notes").unwrap(), [item]);
    }

    #[tokio::test]
    async fn what_is_deleted_is_no_longer_among_the_items() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}, "noteId": {"S": "1"}});
        dynamodb.put("Notes", &item).unwrap();
        dynamodb.delete("Notes", &item).unwrap();
        assert!(dynamodb.items("Notes").unwrap().is_empty());
    }

    #[tokio::test]
    async fn of_many_items_all_are_put_or_none() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = |id: &str| json!({"userId": {"S": "ada"}, "noteId": {"S": id}});
        let broken = [item("1"), json!({"userId": {"S": "ada"}})];
        assert!(dynamodb.put_all("Notes", broken).is_err());
        assert!(dynamodb.items("Notes").unwrap().is_empty());
        dynamodb.put_all("Notes", [item("1"), item("2")]).unwrap();
        assert_eq!(dynamodb.items("Notes").unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_table_may_have_no_sort_key() {
        let dynamodb = Dynamodb::start(&[]).await.unwrap();
        dynamodb.create("Idempotency", &["id"]).unwrap();
        let item = json!({"id": {"S": "1"}});
        dynamodb.put("Idempotency", &item).unwrap();
        assert_eq!(dynamodb.items("Idempotency").unwrap(), [item]);
    }

    #[tokio::test]
    async fn an_item_without_its_sort_key_is_refused() {
        let dynamodb = Dynamodb::start(&[("Notes", "noteId")]).await.unwrap();
        let item = json!({"userId": {"S": "ada"}});
        assert!(dynamodb.put("Notes", &item).is_err());
    }
}
