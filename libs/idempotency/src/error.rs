//! The errors of claims and of the idempotency store.

/// The error of an attempt to claim, complete or release an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The idempotency store is unreachable or throttles requests. The failed write may have taken
    /// effect nevertheless.
    #[error("the idempotency store is unavailable")]
    Unavailable(#[source] Cause),
    /// The idempotency store failed, and the same write would fail again.
    #[error("a call to the idempotency store failed")]
    Failed(#[source] Cause),
    /// The lease ended and another attempt took over the operation, or the record was deleted.
    #[error("another attempt took over the operation, or the idempotency record was deleted")]
    LeaseLost,
    /// The plan and the response are too large for one record. Contains their total size in bytes.
    #[error("the plan and the response are too large for an idempotency record: {0} bytes")]
    TooLarge(usize),
    /// The plan or the response cannot be serialized, or the stored JSON cannot be deserialized.
    #[error(
        "the plan or the response of an idempotency record cannot be serialized to JSON or deserialized from it"
    )]
    Json(#[from] serde_json::Error),
}

/// The error of the store that caused an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<dynamodb::Error> for Error {
    fn from(error: dynamodb::Error) -> Self {
        if error.is_transient() {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}
