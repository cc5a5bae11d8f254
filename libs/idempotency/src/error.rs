//! The errors of claims and of the store.

/// The error of claiming, completing or releasing an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is unavailable or throttles. The write may have taken effect nevertheless.
    #[error("the idempotency store is unavailable")]
    Unavailable(#[source] Cause),
    /// The store failed permanently.
    #[error("the idempotency store failed")]
    Failed(#[source] Cause),
    /// The lease expired and another attempt took over, or the record was deleted.
    #[error("the lease of the idempotency record was lost")]
    LeaseLost,
    /// The plan and the response are too large for a record. Contains their total size in bytes.
    #[error("plan and response are too large for an idempotency record: {0} bytes")]
    TooLarge(usize),
    /// The plan or the response cannot be serialized, or the stored JSON cannot be deserialized.
    #[error("the plan or the response of an idempotency record does not match its type")]
    Json(#[from] serde_json::Error),
}

/// The underlying error of the store.
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
