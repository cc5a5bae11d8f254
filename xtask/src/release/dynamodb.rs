//! The requests of migrations and restores to DynamoDB. A request that is throttled is repeated more slowly.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{scan::ScanOutput, transact_write_items::TransactWriteItemsError},
    types::{
        AttributeValue, KeysAndAttributes, PutRequest, TableDescription, TransactWriteItem,
        WriteRequest,
    },
};
use aws_smithy_types::retry::RetryConfig;
use tokio::time::sleep;
use uuid::Uuid;

use super::pace::Pace;

/// An item, or the key of an item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// How many times a request is sent before the command fails.
const ATTEMPTS: u32 = 12;

/// The upper limit of the first pause between two attempts. Each further limit is twice as high, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The codes of errors and of reasons for a canceled transaction after which the same request can succeed.
const TEMPORARY: [&str; 8] = [
    "InternalServerError",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionInProgressException",
];

/// The code of the reason for which DynamoDB cancels a transaction while another request writes one of its items.
const CONFLICT: &str = "TransactionConflict";

/// A request for one page of a table.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) table: &'a str,
    /// The names of the attributes to return. Expressions refer to each by `#` and its name.
    pub(super) attributes: &'static [&'static str],
    /// The condition of the items to return.
    pub(super) filter: &'static str,
    pub(super) values: &'static [(&'static str, &'static str)],
    /// The key of the last item of the previous page.
    pub(super) after: Option<Item>,
    /// The maximum number of items to read.
    pub(super) limit: i32,
}

/// The result of a transaction.
#[derive(Debug)]
pub(super) enum Transaction {
    /// All of its writes took effect.
    Done,
    /// No write took effect, because of false conditions. Contains the position of each write whose condition was
    /// false, and its item, if the write asked for it.
    ConditionsFailed(Vec<(usize, Option<Item>)>),
}

/// A client for DynamoDB.
#[derive(Debug)]
pub(super) struct Dynamodb<'a> {
    client: Client,
    pace: &'a Pace,
}

impl<'a> Dynamodb<'a> {
    /// Creates a client with the configuration of an account. Each throttled request reduces the rate of `pace`.
    pub(super) fn new(config: &SdkConfig, pace: &'a Pace) -> Self {
        // A retry by the SDK would hide a throttled request from `pace`.
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(config),
            pace,
        }
    }

    /// Returns the approximate number of items of a table.
    ///
    /// # Errors
    /// Fails if the request fails.
    pub(super) async fn count(&self, table: &str) -> Result<u64> {
        let described = self.client.describe_table().table_name(table).send().await;
        let described = described
            .map_err(aws_sdk_dynamodb::Error::from)
            .with_context(|| format!("cannot describe the table {table}"))?;
        let count = described.table.and_then(|table| table.item_count);
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Reads a page of a table.
    ///
    /// # Errors
    /// Fails if the last attempt fails.
    pub(super) async fn scan(&self, scan: &Scan<'_>) -> Result<ScanOutput> {
        let names = scan.attributes.iter().map(|name| format!("#{name}"));
        let projection = names.collect::<Vec<_>>().join(", ");
        let mut request = self
            .client
            .scan()
            .table_name(scan.table)
            .projection_expression(projection)
            .filter_expression(scan.filter)
            .limit(scan.limit)
            .set_exclusive_start_key(scan.after.clone())
            // A page must not miss an item that was written just before.
            .consistent_read(true);
        for name in scan.attributes {
            request = request.expression_attribute_names(format!("#{name}"), *name);
        }
        for (name, value) in scan.values {
            request = request.expression_attribute_values(*name, text(*value));
        }
        let page = self.repeat(|| request.clone().send(), is_temporary).await;
        page.map_err(aws_sdk_dynamodb::Error::from)
            .with_context(|| format!("cannot read the table {}", scan.table))
    }

    /// Describes a table. `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if the request fails for another reason.
    pub(super) async fn describe(&self, table: &str) -> Result<Option<TableDescription>> {
        let request = self.client.describe_table().table_name(table);
        match self.repeat(|| request.clone().send(), is_temporary).await {
            Ok(described) => Ok(described.table),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(aws_sdk_dynamodb::Error::from(error))
                .with_context(|| format!("cannot describe the table {table}")),
        }
    }

    /// Reads a page of whole items of a table.
    ///
    /// # Errors
    /// Fails if the last attempt fails.
    pub(super) async fn page(
        &self,
        table: &str,
        after: Option<Item>,
        limit: i32,
    ) -> Result<ScanOutput> {
        let request = self
            .client
            .scan()
            .table_name(table)
            .limit(limit)
            .set_exclusive_start_key(after)
            .consistent_read(true);
        let page = self.repeat(|| request.clone().send(), is_temporary).await;
        page.map_err(aws_sdk_dynamodb::Error::from)
            .with_context(|| format!("cannot read the table {table}"))
    }

    /// Writes items, also those that DynamoDB did not process at once. Replaces items with the same keys.
    ///
    /// # Errors
    /// Fails if the last attempt fails, or if DynamoDB does not process all items.
    pub(super) async fn put(&self, table: &str, items: Vec<Item>) -> Result<()> {
        let mut writes = Vec::new();
        for item in items {
            let put = PutRequest::builder().set_item(Some(item)).build()?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        for attempt in 1..=ATTEMPTS {
            let request = self.client.batch_write_item().request_items(table, writes);
            let written = self.repeat(|| request.clone().send(), is_temporary).await;
            let written = written
                .map_err(aws_sdk_dynamodb::Error::from)
                .with_context(|| format!("cannot write to the table {table}"))?;
            let rest = written.unprocessed_items.unwrap_or_default();
            writes = rest.into_values().flatten().collect();
            if writes.is_empty() {
                return Ok(());
            }
            self.pace.throttled();
            sleep(pause(attempt)).await;
        }
        bail!("DynamoDB did not process {} items of {table}", writes.len())
    }

    /// Counts how many of `keys` a table has.
    ///
    /// # Errors
    /// Fails if the last attempt fails, or if DynamoDB does not process all keys.
    pub(super) async fn count_existing(&self, table: &str, keys: Vec<Item>) -> Result<usize> {
        let Some(names) = keys
            .first()
            .map(|key| key.keys().cloned().collect::<Vec<_>>())
        else {
            return Ok(0);
        };
        let aliases: Vec<String> = names.iter().map(|name| format!("#{name}")).collect();
        let mut read = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .projection_expression(aliases.join(", "))
            .set_expression_attribute_names(Some(aliases.into_iter().zip(names).collect()))
            .consistent_read(true)
            .build()?;
        let mut found = 0;
        for attempt in 1..=ATTEMPTS {
            let request = self.client.batch_get_item().request_items(table, read);
            let answer = self.repeat(|| request.clone().send(), is_temporary).await;
            let answer = answer
                .map_err(aws_sdk_dynamodb::Error::from)
                .with_context(|| format!("cannot read the table {table}"))?;
            found += answer
                .responses
                .into_iter()
                .flatten()
                .map(|(_, items)| items.len())
                .sum::<usize>();
            let rest = answer
                .unprocessed_keys
                .unwrap_or_default()
                .into_values()
                .next();
            let Some(rest) = rest.filter(|rest| !rest.keys.is_empty()) else {
                return Ok(found);
            };
            read = rest;
            self.pace.throttled();
            sleep(pause(attempt)).await;
        }
        bail!("DynamoDB did not read all keys of {table}")
    }

    /// The client, for requests that need no retries by this type.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Executes a transaction. At least one write must have a condition that is false after the transaction, because
    /// the transaction is sent again if its response is lost.
    ///
    /// # Errors
    /// Fails if the last attempt fails for another reason than a condition.
    pub(super) async fn transact(&self, writes: &[TransactWriteItem]) -> Result<Transaction> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes.to_vec()));
        let sent = self.repeat(|| request.clone().send(), is_temporary_or_conflict);
        let error = match sent.await {
            Ok(_) => return Ok(Transaction::Done),
            Err(error) => error,
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
            error.as_service_error()
        {
            let reasons = canceled.cancellation_reasons().iter().enumerate();
            let failed: Vec<_> = reasons
                .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
                .map(|(position, reason)| (position, reason.item.clone()))
                .collect();
            if !failed.is_empty() {
                return Ok(Transaction::ConditionsFailed(failed));
            }
            let reasons = canceled.cancellation_reasons().iter();
            let reasons: Vec<_> = reasons.filter_map(|reason| reason.message()).collect();
            bail!("DynamoDB canceled a transaction: {}", reasons.join("; "));
        }
        Err(aws_sdk_dynamodb::Error::from(error)).context("cannot write to DynamoDB")
    }

    /// Sends a request until it succeeds, or until `repeats` says that its error is final.
    async fn repeat<T, E, F>(
        &self,
        send: impl Fn() -> F,
        repeats: impl Fn(&SdkError<E>) -> Repeat,
    ) -> Result<T, SdkError<E>>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let mut attempt = 1;
        loop {
            let error = match send().await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let repeat = repeats(&error);
            if repeat == Repeat::Slower {
                self.pace.throttled();
            }
            if repeat == Repeat::Never || attempt == ATTEMPTS {
                return Err(error);
            }
            sleep(pause(attempt)).await;
            attempt += 1;
        }
    }
}

/// Whether a failed request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Never,
    /// At the same rate.
    Again,
    /// At a lower rate, because DynamoDB is overloaded.
    Slower,
}

fn is_temporary<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Repeat {
    match error {
        SdkError::ServiceError(error) => match error.err().code() {
            Some(code) if TEMPORARY.contains(&code) => Repeat::Slower,
            _ if error.raw().status().is_server_error() => Repeat::Slower,
            _ => Repeat::Never,
        },
        SdkError::ConstructionFailure(_) => Repeat::Never,
        _ => Repeat::Again,
    }
}

fn is_temporary_or_conflict(error: &SdkError<TransactWriteItemsError>) -> Repeat {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
        error.as_service_error()
    else {
        return is_temporary(error);
    };
    let has = |is_code: &dyn Fn(&str) -> bool| {
        let mut reasons = canceled.cancellation_reasons().iter();
        reasons.any(|reason| reason.code().is_some_and(is_code))
    };
    if has(&|code| code == "ConditionalCheckFailed") {
        Repeat::Never
    } else if has(&|code| TEMPORARY.contains(&code)) {
        Repeat::Slower
    } else if has(&|code| code == CONFLICT) {
        Repeat::Again
    } else {
        Repeat::Never
    }
}

/// Returns a random pause after the attempt `attempt`, which counts from 1.
fn pause(attempt: u32) -> Duration {
    let limit = FIRST_PAUSE * 2_u32.saturating_pow(attempt - 1);
    let [.., random] = Uuid::now_v7().into_bytes();
    limit.min(LONGEST_PAUSE).mul_f64(f64::from(random) / 255.0)
}

/// Returns the attributes of a key, which are strings.
///
/// # Errors
/// Fails if an attribute is not a string.
pub(super) fn strings_of(key: Item) -> Result<BTreeMap<String, String>> {
    let attributes = key.into_iter().map(|(name, value)| match value {
        AttributeValue::S(value) => Ok((name, value)),
        _ => bail!("the attribute {name} of a key is not a string"),
    });
    attributes.collect()
}

/// Returns the key with these attributes.
pub(super) fn item_of(strings: &BTreeMap<String, String>) -> Item {
    let attributes = strings.iter();
    attributes
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// A string attribute.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
