//! The store of idempotency records. It has one record per operation. Records are changed only by
//! conditional writes.

use std::future::Future;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{Checked, Dynamodb, Table, checked, item, read};
use function::StartError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Fingerprint};

/// A store of idempotency records: [`IdempotencyTable`], or an implementation in memory for tests.
pub trait Store: Sync {
    /// Writes `record` if the stored record with the same id meets the condition `expected`. Checks
    /// the condition and writes in one atomic operation.
    fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> impl Future<Output = Result<WriteOutcome, Error>> + Send;
}

/// The idempotency record of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The id of the operation. It is the partition key of the table.
    pub id: String,
    /// The fingerprint of the first request with this idempotency key.
    pub fingerprint: Fingerprint,
    /// The unique id of the last write of this record. While the operation is in progress, the
    /// attempt that made this write holds the claim.
    pub version: Version,
    /// The number of times that the operation was claimed so far.
    pub attempts: u32,
    /// The plan of the first attempt, as JSON. Later attempts use this plan and do not change it.
    pub plan: String,
    /// The status of the operation, and the attributes that depend on the status.
    #[serde(flatten)]
    pub state: State,
    /// The time at which the record expires, in seconds since the Unix epoch. It is the table's TTL
    /// attribute. DynamoDB can take a few days to delete an expired item, so each claim compares
    /// this time with the clock.
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
    /// An attempt holds the claim until its lease ends.
    InProgress {
        /// The time at which the lease ends and other attempts may take over, in milliseconds since
        /// the Unix epoch.
        lease_until: u64,
    },
    /// The last attempt failed and released the claim, so the next attempt may take over at once.
    Released,
    /// The operation is completed.
    Completed {
        /// The response for all later attempts, as JSON.
        #[serde(rename = "answer")]
        response: String,
    },
}

/// The unique id of one write of a record. If the SDK sends the same write twice, both requests
/// have the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version(Uuid);

impl Version {
    /// Generates a version that no other write has.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The condition of a write: what the store must contain before the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The store has no record of the operation, or only an expired one.
    AbsentOrExpired {
        /// The current time, in seconds since the Unix epoch.
        now: u64,
    },
    /// The stored record has this version.
    Version(Version),
}

/// The result of a conditional write to the idempotency store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The condition was true, and the record was written.
    Done,
    /// The condition was false, and nothing was written. Contains the stored record, or None if the
    /// store has no record of the operation.
    ConditionFailed(Option<Record>),
}

/// The DynamoDB table that stores the idempotency records. A function needs only the permission
/// `dynamodb:PutItem` for this table.
#[derive(Debug)]
pub struct IdempotencyTable(Table);

impl IdempotencyTable {
    /// Creates the store for the table whose name is in the environment variable
    /// `IDEMPOTENCY_TABLE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error contains the name of the variable.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(
            dynamodb.table(function::setting("IDEMPOTENCY_TABLE")?),
        ))
    }

    /// Creates the store for `table`. The partition key of the table must be `id`.
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
