//! Tables and their requests, conversions of items, and errors.

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
        transact_write_items::{
            TransactWriteItems, TransactWriteItemsError, TransactWriteItemsInput,
            TransactWriteItemsOutput, builders::TransactWriteItemsInputBuilder,
        },
        update_item::{
            UpdateItem, UpdateItemError, UpdateItemInput, UpdateItemOutput,
            builders::UpdateItemInputBuilder,
        },
    },
    types::{AttributeValue, KeysAndAttributes, error::ConditionalCheckFailedException},
};
use domain::{Page, Sub};
use serde::{Serialize, de::DeserializeOwned};

use crate::conflict;

/// An item, or the key of an item: attribute values, keyed by the attribute's name.
pub type Item = HashMap<String, AttributeValue>;

/// A DynamoDB client. All tables of a function share one client, because creating a client takes
/// longer than calling DynamoDB.
#[derive(Debug, Clone)]
pub struct Dynamodb(Client);

impl Dynamodb {
    /// Creates a client with the configuration and the connection pool of `aws`.
    pub fn new(aws: &aws::Stack) -> Self {
        let client = aws.client("dynamodb");
        Self(client.with_retry_classifier(conflict::Retry))
    }

    /// Returns the DynamoDB table `name`. The table uses this client.
    pub fn table(&self, name: TableName) -> Table {
        Table {
            client: self.0.clone(),
            name,
        }
    }
}

/// A DynamoDB table. Creates requests for the table, and sends them.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    pub(crate) name: TableName,
}

/// A valid name of a DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(pub(crate) String);

impl FromStr for TableName {
    type Err = &'static str;

    /// Parses a table's name according to DynamoDB's rules.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if (3..=255).contains(&name.len()) && name.chars().all(allowed) {
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

/// The maximum number of BatchGetItem calls for one [`Table::batch_get`]. If keys are still
/// unprocessed after these calls, `batch_get` fails.
const BATCH_ATTEMPTS: usize = 5;

impl Table {
    /// Sends a request that was created by [`Table::get`], [`Table::put`] or a similar method.
    ///
    /// # Errors
    /// Fails if the last attempt fails.
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Output, SdkError<R::Error>> {
        request.send(&self.client).await
    }

    /// Creates a GetItem request for this table.
    pub fn get(&self) -> GetItemInputBuilder {
        GetItemInput::builder().table_name(&self.name.0)
    }

    /// Creates a PutItem request for this table.
    pub fn put(&self) -> PutItemInputBuilder {
        PutItemInput::builder().table_name(&self.name.0)
    }

    /// Creates an UpdateItem request for this table.
    pub fn update(&self) -> UpdateItemInputBuilder {
        UpdateItemInput::builder().table_name(&self.name.0)
    }

    /// Creates a DeleteItem request for this table.
    pub fn delete(&self) -> DeleteItemInputBuilder {
        DeleteItemInput::builder().table_name(&self.name.0)
    }

    /// Creates a Query request for this table.
    pub fn query(&self) -> QueryInputBuilder {
        QueryInput::builder().table_name(&self.name.0)
    }

    /// Reads the items with the primary keys `keys`, at most 100 keys, with BatchGetItem. Returns
    /// the items in no particular order. Ignores each key for which the table has no item.
    ///
    /// # Errors
    /// Fails if a call fails. Returns [`Error::Unavailable`] if DynamoDB has not processed all keys
    /// after five calls.
    pub async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        let mut remaining = keys;
        for _ in 0..BATCH_ATTEMPTS {
            if remaining.is_empty() {
                return Ok(found);
            }
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(remaining))
                .build()
                .map_err(Error::rejected)?;
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
            remaining = unread.map(|unread| unread.keys).unwrap_or_default();
        }
        if remaining.is_empty() {
            Ok(found)
        } else {
            Err(Error::Unavailable(
                "keys are still unprocessed after all calls of BatchGetItem".into(),
            ))
        }
    }
}

/// A request that [`Table::send`] can send. The SDK's input builders of seven operations, such as
/// GetItem, implement this trait.
pub trait Request {
    /// The SDK's output type of the operation.
    type Output;
    /// The SDK's error type of the operation.
    type Error;

    /// Sends the request through `client`. The client retries failed attempts.
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
    TransactWriteItemsInputBuilder: TransactWriteItems, TransactWriteItemsInput => TransactWriteItemsOutput, TransactWriteItemsError;
    UpdateItemInputBuilder: UpdateItem, UpdateItemInput => UpdateItemOutput, UpdateItemError;
}

/// The result of a conditional write to DynamoDB. `T` is the output of the operation.
#[derive(Debug)]
pub enum Checked<T> {
    /// The condition was true, and the write took effect.
    Done(T),
    /// The condition was false, and nothing was written. Contains the current item if the item
    /// exists and the request asked for it (`ReturnValuesOnConditionCheckFailure`).
    ConditionFailed(Option<Item>),
}

/// Converts the result of a conditional write. A false condition becomes
/// [`Checked::ConditionFailed`], not an error.
///
/// # Errors
/// Fails if the write failed for another reason than its condition.
pub fn checked<T, E: Conditional>(result: Result<T, SdkError<E>>) -> Result<Checked<T>, Error> {
    match result {
        Ok(done) => Ok(Checked::Done(done)),
        Err(error) => match error.as_service_error().and_then(E::condition_failed) {
            Some(failed) => Ok(Checked::ConditionFailed(failed.item.clone())),
            None => Err(error.into()),
        },
    }
}

/// The SDK's error type of a write that can have a condition expression.
pub trait Conditional: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static {
    /// The details of a false condition expression. None if the write failed for another reason.
    fn condition_failed(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! conditional {
    ($($error:ident),*) => {$(
        impl Conditional for $error {
            fn condition_failed(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(failed) => Some(failed),
                    _ => None,
                }
            }
        }
    )*};
}

conditional!(DeleteItemError, PutItemError, UpdateItemError);

/// Converts a Rust value to a DynamoDB item.
///
/// # Errors
/// Returns [`Error::Item`] if the value cannot be serialized as an item.
pub fn item(value: &impl Serialize) -> Result<Item, Error> {
    serde_dynamo::to_item(value).map_err(|error| Error::Item(error.into()))
}

/// The name of the attribute that contains the `sub` of the user who wrote an item. It is a reserved
/// word, so expressions use `#sub` instead.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html>
const SUB: &str = "sub";

/// Converts a Rust value to a DynamoDB item, and adds the attribute `sub` if `sub` is set.
/// Functions do not read this attribute. With it, an operator can find a person's items after the
/// identity pool is lost.
///
/// # Errors
/// Returns [`Error::Item`] if the value cannot be serialized as an item.
pub fn authored_item(value: &impl Serialize, sub: Option<Sub>) -> Result<Item, Error> {
    let mut item = item(value)?;
    if let Some(sub) = sub {
        item.insert(SUB.to_owned(), AttributeValue::S(sub.to_string()));
    }
    Ok(item)
}

/// Adds the definitions of `#sub` and `:sub` to `update` if `sub` is set. The update expression must
/// then contain `#sub = :sub`. If `sub` is None, the expression must contain neither, so that the
/// update keeps the item's `sub`.
pub fn define_sub(update: UpdateItemInputBuilder, sub: Option<Sub>) -> UpdateItemInputBuilder {
    match sub {
        Some(sub) => update
            .expression_attribute_names("#sub", SUB)
            .expression_attribute_values(":sub", AttributeValue::S(sub.to_string())),
        None => update,
    }
}

/// Converts a DynamoDB item to a value of type `T`.
///
/// # Errors
/// Returns [`Error::Item`] if the item cannot be deserialized as a `T`.
pub fn read<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| Error::Item(error.into()))
}

/// The `Limit` of a Query request for a page of `limit` items. This is one item more than the page
/// has, so that the result shows whether the list continues after the page.
pub fn page_limit(limit: usize) -> i32 {
    i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX)
}

/// Converts the output of a Query request to a page of at most `limit` values. The request must
/// have had the `Limit` that [`page_limit`] returns.
///
/// # Errors
/// Returns [`Error::Item`] if an item of the page cannot be deserialized as a `T`.
pub fn read_page<T: DeserializeOwned>(found: QueryOutput, limit: usize) -> Result<Page<T>, Error> {
    // DynamoDB also ends a page after 1 MB, even if it has not yet found `limit` items.
    let is_cut = found.last_evaluated_key.is_some();
    let Page { items, more } = Page::cut(found.items.unwrap_or_default(), limit);
    Ok(Page {
        items: items.into_iter().map(read).collect::<Result<_, _>>()?,
        more: more || is_cut,
    })
}

/// The error of a call to DynamoDB, or of a conversion of an item.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DynamoDB is throttling, overloaded or unreachable, or a concurrent transaction is writing the
    /// same item.
    #[error("DynamoDB is unavailable")]
    Unavailable(#[source] Cause),
    /// DynamoDB rejected the call, for example because the role lacks a permission.
    #[error("DynamoDB rejected the call")]
    Rejected(#[source] Cause),
    /// A Rust value cannot be serialized to a DynamoDB item, or an item cannot be deserialized to a
    /// Rust value.
    #[error("a DynamoDB item cannot be serialized from or deserialized to its Rust type")]
    Item(#[source] Cause),
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Returns whether the same call can succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn rejected(error: impl Into<Cause>) -> Self {
        Self::Rejected(error.into())
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
        let is_transient = aws::is_transient(&error) || conflict::is_conflict(&error);
        let cause = error.into();
        if is_transient {
            Self::Unavailable(cause)
        } else {
            Self::Rejected(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_table_name_is_refused() {
        for name in ["", "ab", "a b c", "tab/le", &"x".repeat(256)] {
            assert!(name.parse::<TableName>().is_err(), "{name}");
        }
        assert!("scratchpad-local-Notes".parse::<TableName>().is_ok());
    }

    fn found(items: i32, is_cut: bool) -> QueryOutput {
        let item = |number: i32| {
            let number = AttributeValue::N(number.to_string());
            Item::from([("number".to_owned(), number)])
        };
        let key = is_cut.then(|| item(items));
        QueryOutput::builder()
            .set_items(Some((0..items).map(item).collect()))
            .set_last_evaluated_key(key)
            .build()
    }

    #[test]
    fn more_is_true_if_items_remain_or_dynamodb_ended_the_page_early() {
        for (items, is_cut, carried, more) in [
            (0, false, 0, false),
            (2, false, 2, false),
            (3, false, 2, true),
            (3, true, 2, true),
            (1, true, 1, true),
        ] {
            let page: Page<HashMap<String, i32>> = read_page(found(items, is_cut), 2).unwrap();
            let read: Vec<_> = page.items.iter().map(|item| item["number"]).collect();
            assert_eq!(read, (0..carried).collect::<Vec<_>>());
            assert_eq!(page.more, more, "{items} items");
        }
        assert_eq!(page_limit(2), 3);
        assert_eq!(page_limit(usize::MAX), i32::MAX);
    }
}
