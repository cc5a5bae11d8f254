/// A failed call of an external service. Its text is for the log, not for clients.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service is throttling, overloaded or unreachable. A later call can succeed. This call
    /// may have taken effect nevertheless.
    #[error("a service is unavailable")]
    Unavailable(#[source] Cause),
    /// The call failed, and the same call would fail again.
    #[error("a service call failed")]
    Failed(#[source] Cause),
}

/// The underlying error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
