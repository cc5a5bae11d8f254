//! The store of idempotency records: one record per operation, changed by conditional writes.

use std::future::Future;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{Checked, Dynamodb, Table, checked, item, read};
use function::StartError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Fingerprint};

/// A store of idempotency records.
pub trait Store: Sync {
    /// Writes `record` if the stored record with the same id matches `expected`. The check and the
    /// write are one atomic operation.
    fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> impl Future<Output = Result<WriteOutcome, Error>> + Send;
}

/// The stored record of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The id of the operation: the partition key.
    pub id: String,
    /// The fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The id of the last write. The attempt that made this write holds the claim.
    pub version: Version,
    /// The number of claims of the operation so far.
    pub attempts: u32,
    /// The plan of the first attempt, as JSON. Later attempts do not change it.
    pub plan: String,
    /// The status, and the attributes that belong to it.
    #[serde(flatten)]
    pub state: State,
    /// When the record expires, in seconds since the epoch: the table's TTL attribute. DynamoDB can
    /// take a few days to delete an expired item, so a claim compares this time with the clock.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html>
    pub expires_at: u64,
}

/// The status of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "UPPERCASE",
    rename_all_fields = "camelCase"
)]
pub enum State {
    /// An attempt holds the claim.
    InProgress {
        /// When the lease ends and other attempts may take over, in milliseconds since the epoch.
        lease_until: u64,
    },
    /// The last attempt failed and released the claim, so any attempt may take over.
    Released,
    /// The operation is completed.
    Completed {
        /// The stored response, as JSON.
        #[serde(rename = "answer")]
        response: String,
    },
}

/// The unique id of a write. It distinguishes a write that the SDK sent twice from two writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version(Uuid);

impl Version {
    /// Generates a new id.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The condition of a write: what the store must contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no record, or it has expired.
    AbsentOrExpired {
        /// The current time, in seconds since the epoch.
        now: u64,
    },
    /// The stored record has this version.
    Version(Version),
}

/// The result of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The record was written.
    Done,
    /// The condition did not hold. Contains the stored record, or None if there is none.
    ConditionFailed(Option<Record>),
}

/// The DynamoDB table of the records. A function needs only the permission `dynamodb:PutItem` on
/// it.
#[derive(Debug)]
pub struct IdempotencyTable(Table);

impl IdempotencyTable {
    /// Creates the store with the table whose name is in the environment variable
    /// `IDEMPOTENCY_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(
            dynamodb.table(function::setting("IDEMPOTENCY_TABLE")?),
        ))
    }

    /// Creates the store with `table`, whose partition key must be `id`.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

impl Store for IdempotencyTable {
    async fn write(&self, record: &Record, expected: Expected) -> Result<WriteOutcome, Error> {
        let put = self.0.put().set_item(Some(item(record)?));
        let put = match expected {
            Expected::AbsentOrExpired { now } => put
                .condition_expression("attribute_not_exists(id) OR expiresAt <= :now")
                .expression_attribute_values(":now", AttributeValue::N(now.to_string())),
            Expected::Version(Version(version)) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", AttributeValue::S(version.to_string())),
        };
        let put = put
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match checked(self.0.send(put).await)? {
            Checked::Done(_) => WriteOutcome::Done,
            Checked::ConditionFailed(existing) => {
                WriteOutcome::ConditionFailed(existing.map(read).transpose()?)
            }
        })
    }
}
