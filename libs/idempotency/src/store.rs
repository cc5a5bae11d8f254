//! Where claims are kept: one record an operation, changed by one conditional write.

use std::future::Future;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use dynamodb::{Checked, Dynamodb, Table, checked, item, read};
use function::StartError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Fingerprint};

/// Keeps records.
pub trait Store: Sync {
    /// Writes `record` over what is there under its id, if that is what `expected` says. No other
    /// write comes between the look and the write.
    fn write(
        &self,
        record: &Record,
        expected: Expected,
    ) -> impl Future<Output = Result<Written, Error>> + Send;
}

/// All that is known of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The operation.
    pub id: String,
    /// What was asked for.
    pub fingerprint: Fingerprint,
    /// Which write this is the state after. The one who made that write holds the claim.
    pub version: Version,
    /// How often it was claimed.
    pub attempts: u32,
    /// What the first attempt chose and all later ones keep, in JSON.
    pub plan: String,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// When it counts as forgotten, in seconds since the epoch, as DynamoDB's time to live wants
    /// it. DynamoDB deletes it up to days later.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html>
    pub expires_at: u64,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "UPPERCASE",
    rename_all_fields = "camelCase"
)]
pub enum State {
    /// Somebody works on it.
    InProgress {
        /// When others may take over, in milliseconds since the epoch.
        lease_until: u64,
    },
    /// Who worked on it gave up: anybody may take over.
    Released,
    /// It is done.
    Completed {
        /// What came of it, in JSON.
        answer: String,
    },
}

/// A name for one write, unlike that of any other: it tells a write that is sent twice from two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version(Uuid);

impl Version {
    /// The name of a write that is about to happen.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// What must be there for a write to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing, or a record that is forgotten by now.
    Nothing {
        /// In seconds since the epoch.
        now: u64,
    },
    /// The record as this write left it.
    Version(Version),
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// Something else was there: this record, or none.
    Refused(Option<Record>),
}

/// The table Idempotency. A function that claims needs `dynamodb:PutItem` on it, and nothing else.
#[derive(Debug)]
pub struct IdempotencyTable(Table);

impl IdempotencyTable {
    /// The table that the setting `IDEMPOTENCY_TABLE` names.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(dynamodb: &Dynamodb) -> Result<Self, StartError> {
        Ok(Self(
            dynamodb.table(function::setting("IDEMPOTENCY_TABLE")?),
        ))
    }

    /// That table.
    pub fn new(table: Table) -> Self {
        Self(table)
    }
}

impl Store for IdempotencyTable {
    async fn write(&self, record: &Record, expected: Expected) -> Result<Written, Error> {
        let put = self.0.put().set_item(Some(item(record)?));
        let put = match expected {
            Expected::Nothing { now } => put
                .condition_expression("attribute_not_exists(id) OR expiresAt <= :now")
                .expression_attribute_values(":now", AttributeValue::N(now.to_string())),
            Expected::Version(Version(version)) => put
                .condition_expression("version = :version")
                .expression_attribute_values(":version", AttributeValue::S(version.to_string())),
        };
        let put = put
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match checked(self.0.send(put).await)? {
            Checked::Done(_) => Written::Done,
            Checked::ConditionFailed(there) => Written::Refused(there.map(read).transpose()?),
        })
    }
}
