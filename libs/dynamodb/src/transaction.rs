//! Transactions: groups of writes that either all take effect or none.

use std::time::Duration;

use aws::SdkError;
use aws_sdk_dynamodb::{
    error::BuildError,
    operation::transact_write_items::{
        TransactWriteItemsError, builders::TransactWriteItemsInputBuilder,
    },
    types::{
        CancellationReason, TransactWriteItem,
        builders::{DeleteBuilder, PutBuilder, UpdateBuilder},
        error::TransactionCanceledException,
    },
};
use tokio::time::{Instant, sleep};

use crate::table::{Error, Item, Table};

/// The time after which [`Table::transact`] no longer repeats a transaction that conflicts with others.
/// A single call with its retries may take as long.
const CONFLICT_TIMEOUT: Duration = Duration::from_secs(9);

/// The maximum delay before the first repetition. It doubles before each further repetition. DynamoDB
/// takes about this long for a transaction of two items.
const FIRST_DELAY: Duration = Duration::from_millis(25);

/// The upper limit of the maximum delay.
const LONGEST_DELAY: Duration = Duration::from_millis(800);

/// The result of a transaction with `N` actions.
#[derive(Debug, PartialEq)]
pub enum Transacted<const N: usize> {
    /// All conditions were true, and all actions took effect.
    Done,
    /// At least one condition was false, and nothing was written. Contains the check of each action,
    /// in the order of the actions.
    Canceled([Check; N]),
}

/// The result of the condition of one action of a canceled transaction.
#[derive(Debug, PartialEq)]
pub enum Check {
    /// The condition was true, or the action has none.
    Passed,
    /// The condition was false. Contains the current item if the item exists and the action asked
    /// for it (`ReturnValuesOnConditionCheckFailure`).
    ConditionFailed(Option<Item>),
}

impl Check {
    /// The current item, if the condition was false, the item exists, and the action asked for it.
    pub fn item(self) -> Option<Item> {
        match self {
            Self::Passed => None,
            Self::ConditionFailed(item) => item,
        }
    }
}

/// An action of a transaction. [`Table::put_action`], [`Table::update_action`] and
/// [`Table::delete_action`] create the builders that implement this trait.
pub trait Action {
    /// Builds the action.
    ///
    /// # Errors
    /// Returns [`Error::Rejected`] if a required part is missing, such as the key.
    fn action(self) -> Result<TransactWriteItem, Error>;
}

macro_rules! actions {
    ($($builder:ident: $set:ident;)*) => {$(
        impl Action for $builder {
            fn action(self) -> Result<TransactWriteItem, Error> {
                let built = self.build().map_err(|error: BuildError| Error::rejected(error))?;
                Ok(TransactWriteItem::builder().$set(built).build())
            }
        }
    )*};
}

actions! {
    DeleteBuilder: delete;
    PutBuilder: put;
    UpdateBuilder: update;
}

impl Table {
    /// Creates the builder of an action that puts an item into this table.
    pub fn put_action(&self) -> PutBuilder {
        PutBuilder::default().table_name(&self.name.0)
    }

    /// Creates the builder of an action that updates an item of this table.
    pub fn update_action(&self) -> UpdateBuilder {
        UpdateBuilder::default().table_name(&self.name.0)
    }

    /// Creates the builder of an action that deletes an item of this table.
    pub fn delete_action(&self) -> DeleteBuilder {
        DeleteBuilder::default().table_name(&self.name.0)
    }

    /// Executes the `N` actions that `actions` returns as one transaction, as [`Table::transact_all`] does.
    ///
    /// # Errors
    /// Fails as [`Table::transact_all`] does.
    pub async fn transact<const N: usize>(
        &self,
        actions: impl Fn() -> Result<[TransactWriteItem; N], Error> + Send + Sync,
    ) -> Result<Transacted<N>, Error> {
        match self.transact_all(|| Ok(actions()?.into())).await? {
            None => Ok(Transacted::Done),
            Some(checks) => match checks.try_into() {
                Ok(checks) => Ok(Transacted::Canceled(checks)),
                Err(_) => Err(Error::rejected("the number of checks is wrong")),
            },
        }
    }

    /// Executes the actions that `actions` returns as one transaction, with TransactWriteItems: either
    /// all take effect or none. They may write to several tables, but no two to the same item. Returns None
    /// if they took effect. If at least one condition was false, returns the check of each action, in the
    /// order of the actions.
    ///
    /// DynamoDB cancels a transaction if it conflicts with another one, or is throttled. Then this
    /// method calls `actions` again and repeats the transaction after a random delay, for up to 9 s. If
    /// the response of an attempt is lost, the client retries it with the same token, so it takes effect
    /// once.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if DynamoDB still cancels the transaction after 9 s for such a
    /// reason. Also fails if `actions` or a call fails.
    pub async fn transact_all(
        &self,
        actions: impl Fn() -> Result<Vec<TransactWriteItem>, Error> + Send + Sync,
    ) -> Result<Option<Vec<Check>>, Error> {
        let started = Instant::now();
        let mut limit = FIRST_DELAY;
        loop {
            let actions = actions()?;
            let count = actions.len();
            let request = TransactWriteItemsInputBuilder::default()
                .set_transact_items(Some(actions))
                .client_request_token(format!("{:032x}", fastrand::u128(..)));
            let Err(error) = self.send(request).await else {
                return Ok(None);
            };
            let Some(reasons) = cancellation_reasons(&error) else {
                return Err(error.into());
            };
            if !reasons.iter().any(is_temporary) {
                return match checks(reasons, count) {
                    Some(checks) => Ok(Some(checks)),
                    None => Err(error.into()),
                };
            }
            let delay = limit.mul_f64(fastrand::f64());
            if started.elapsed() + delay > CONFLICT_TIMEOUT {
                return Err(Error::Unavailable(error.into()));
            }
            sleep(delay).await;
            limit = LONGEST_DELAY.min(limit * 2);
        }
    }
}

fn cancellation_reasons(
    error: &SdkError<TransactWriteItemsError>,
) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(TransactionCanceledException {
            cancellation_reasons: Some(reasons),
            ..
        }) => Some(reasons),
        _ => None,
    }
}

/// Whether the same transaction can succeed later. The codes are those of
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>.
fn is_temporary(reason: &CancellationReason) -> bool {
    matches!(
        reason.code(),
        Some("TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError")
    )
}

/// Returns the check of each of the `count` actions. None if a reason is not the result of a condition, if
/// no condition was false, or if the number of reasons is wrong.
fn checks(reasons: &[CancellationReason], count: usize) -> Option<Vec<Check>> {
    let checks = reasons.iter().map(|reason| match reason.code() {
        Some("None") => Some(Check::Passed),
        Some("ConditionalCheckFailed") => Some(Check::ConditionFailed(reason.item.clone())),
        _ => None,
    });
    let checks = checks.collect::<Option<Vec<_>>>()?;
    let is_decided = checks.iter().any(|check| *check != Check::Passed);
    (is_decided && checks.len() == count).then_some(checks)
}
