//! The error of the store and of the claim rules.

/// Why an operation cannot be claimed, completed or released.
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
    /// Plan and response have this many bytes together, more than a record can hold.
    #[error("{0} bytes of plan and response are too many for an idempotency record")]
    TooLarge(usize),
    /// The plan or the response cannot be serialized, or the stored JSON does not have its type.
    #[error("the plan or the response of an idempotency record does not match its type")]
    Json(#[from] serde_json::Error),
}

/// The store's own error.
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
