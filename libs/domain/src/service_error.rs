/// The error of a call to an external service. Its text is for the log, not for clients.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service is throttling, overloaded or unreachable. A later call can succeed. The failed
    /// call may have taken effect nevertheless.
    #[error("a service is unavailable")]
    Unavailable(#[source] Cause),
    /// The call failed, and the same call would fail again.
    #[error("a service call failed")]
    Failed(#[source] Cause),
}

/// The error that caused a [`ServiceError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;
