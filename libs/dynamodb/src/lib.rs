//! DynamoDB, as every service uses it: a table that knows its name, items as typed values, and
//! errors that say whether to come back later.

use std::{collections::HashMap, fmt, future::Future, str::FromStr};

use aws::{Client, SdkError};
use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata,
    operation::{
        batch_get_item::{
            BatchGetItem, BatchGetItemError, BatchGetItemInput, BatchGetItemOutput,
            builders::BatchGetItemInputBuilder,
        },
        delete_item::{
            DeleteItem, DeleteItemError, DeleteItemInput, DeleteItemOutput,
            builders::DeleteItemInputBuilder,
        },
        get_item::{
            GetItem, GetItemError, GetItemInput, GetItemOutput, builders::GetItemInputBuilder,
        },
        put_item::{
            PutItem, PutItemError, PutItemInput, PutItemOutput, builders::PutItemInputBuilder,
        },
        query::{Query, QueryError, QueryInput, QueryOutput, builders::QueryInputBuilder},
        update_item::{
            UpdateItem, UpdateItemError, UpdateItemInput, UpdateItemOutput,
            builders::UpdateItemInputBuilder,
        },
    },
    types::{AttributeValue, KeysAndAttributes, error::ConditionalCheckFailedException},
};
use serde::{Serialize, de::DeserializeOwned};

/// An item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// DynamoDB, asked through a function's one AWS client stack. All tables of a function share it: to make a client takes
/// longer than to ask one.
#[derive(Debug, Clone)]
pub struct Dynamodb(Client);

impl Dynamodb {
    /// A client of that stack's.
    pub fn new(aws: &aws::Stack) -> Self {
        Self(aws.client("dynamodb"))
    }

    /// The table of that name.
    pub fn table(&self, name: TableName) -> Table {
        Table {
            client: self.0.clone(),
            name,
        }
    }
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: TableName,
}

/// The name of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(String);

impl FromStr for TableName {
    type Err = &'static str;

    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if (3..=255).contains(&name.len()) && name.chars().all(plain) {
            Ok(Self(name.into()))
        } else {
            Err("it must be a table's name: 3 to 255 letters, digits, _, - and .")
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Retries of what a batch left out, before it counts as refused.
const BATCH_ATTEMPTS: usize = 5;

impl Table {
    /// Sends a request, as [`Table::get`] and its like begin them.
    ///
    /// # Errors
    /// When DynamoDB does not do what is asked, also when asked again.
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Output, SdkError<R::Error>> {
        request.send(&self.client).await
    }

    /// Reads one item.
    pub fn get(&self) -> GetItemInputBuilder {
        GetItemInput::builder().table_name(&self.name.0)
    }

    /// Writes one item.
    pub fn put(&self) -> PutItemInputBuilder {
        PutItemInput::builder().table_name(&self.name.0)
    }

    /// Changes one item.
    pub fn update(&self) -> UpdateItemInputBuilder {
        UpdateItemInput::builder().table_name(&self.name.0)
    }

    /// Deletes one item.
    pub fn delete(&self) -> DeleteItemInputBuilder {
        DeleteItemInput::builder().table_name(&self.name.0)
    }

    /// Reads one page of items with one partition key.
    pub fn query(&self) -> QueryInputBuilder {
        QueryInput::builder().table_name(&self.name.0)
    }

    /// Reads the items with these keys, at most 100, in no order. One that is not there is left out.
    ///
    /// # Errors
    /// Unavailable when DynamoDB leaves some out time and again.
    pub async fn get_all(&self, keys: Vec<Item>) -> Result<Vec<Item>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        let mut left = keys;
        for _ in 0..BATCH_ATTEMPTS {
            if left.is_empty() {
                return Ok(found);
            }
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .build()
                .map_err(Error::refused)?;
            let batch = BatchGetItemInput::builder().request_items(&self.name.0, wanted);
            let batch = self.send(batch).await?;
            found.extend(
                batch
                    .responses
                    .unwrap_or_default()
                    .remove(&self.name.0)
                    .unwrap_or_default(),
            );
            let unread = batch
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.name.0);
            left = unread.map(|unread| unread.keys).unwrap_or_default();
        }
        if left.is_empty() {
            Ok(found)
        } else {
            Err(Error::Unavailable("keys were left unprocessed".into()))
        }
    }
}

/// A request that has all it needs but for being sent.
pub trait Request {
    /// What it is answered with.
    type Output;
    /// What it fails with.
    type Error;

    /// Sends it.
    fn send(
        self,
        client: &Client,
    ) -> impl Future<Output = Result<Self::Output, SdkError<Self::Error>>> + Send;
}

macro_rules! requests {
    ($($request:ident: $operation:ident, $input:ident => $output:ident, $error:ident;)*) => {$(
        impl Request for $request {
            type Output = $output;
            type Error = $error;

            async fn send(self, client: &Client) -> Result<$output, SdkError<$error>> {
                let input: $input = self.build().map_err(SdkError::construction_failure)?;
                client.call($operation::new(), input).await
            }
        }
    )*};
}

requests! {
    BatchGetItemInputBuilder: BatchGetItem, BatchGetItemInput => BatchGetItemOutput, BatchGetItemError;
    DeleteItemInputBuilder: DeleteItem, DeleteItemInput => DeleteItemOutput, DeleteItemError;
    GetItemInputBuilder: GetItem, GetItemInput => GetItemOutput, GetItemError;
    PutItemInputBuilder: PutItem, PutItemInput => PutItemOutput, PutItemError;
    QueryInputBuilder: Query, QueryInput => QueryOutput, QueryError;
    UpdateItemInputBuilder: UpdateItem, UpdateItemInput => UpdateItemOutput, UpdateItemError;
}

/// What became of a conditional write.
#[derive(Debug)]
pub enum Checked<T> {
    /// It is done.
    Done(T),
    /// Its condition did not hold. The item as it is, if the call asked for it and there is one.
    ConditionFailed(Option<Item>),
}

/// Tells a condition that did not hold from a write that failed.
///
/// # Errors
/// When the write failed.
pub fn checked<T, E: Conditional>(result: Result<T, SdkError<E>>) -> Result<Checked<T>, Error> {
    match result {
        Ok(done) => Ok(Checked::Done(done)),
        Err(error) => match error.as_service_error().and_then(E::unmet) {
            Some(unmet) => Ok(Checked::ConditionFailed(unmet.item.clone())),
            None => Err(error.into()),
        },
    }
}

/// The error of a write that can have a condition.
pub trait Conditional: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static {
    /// The error, if it is that the condition did not hold.
    fn unmet(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! conditional {
    ($($error:ident),*) => {$(
        impl Conditional for $error {
            fn unmet(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(unmet) => Some(unmet),
                    _ => None,
                }
            }
        }
    )*};
}

conditional!(DeleteItemError, PutItemError, UpdateItemError);

/// A typed value as an item.
///
/// # Errors
/// When the value is none that an item can hold.
pub fn item(value: &impl Serialize) -> Result<Item, Error> {
    serde_dynamo::to_item(value).map_err(|error| Error::Item(error.into()))
}

/// An item as a typed value.
///
/// # Errors
/// When the item is not what was written.
pub fn read<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| Error::Item(error.into()))
}

/// Why DynamoDB did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses work at the moment, or cannot be reached.
    #[error("DynamoDB refuses work at the moment")]
    Unavailable(#[source] Cause),
    /// It refused the call.
    #[error("DynamoDB refused the call")]
    Refused(#[source] Cause),
    /// An item cannot be read or written as the type that it should have.
    #[error("an item does not have its type")]
    Item(#[source] Cause),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Whether the same call may do later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    fn refused(error: impl Into<Cause>) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Error> for domain::ServiceError {
    fn from(error: Error) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

impl<E> From<SdkError<E>> for Error
where
    E: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let busy = aws::is_transient(&error);
        let cause = error.into();
        if busy {
            Self::Unavailable(cause)
        } else {
            Self::Refused(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_table_name_is_refused() {
        for name in ["", "ab", "a b c", "tab/le", &"x".repeat(256)] {
            assert!(name.parse::<TableName>().is_err(), "{name}");
        }
        assert!("scratchpad-local-Notes".parse::<TableName>().is_ok());
    }
}
