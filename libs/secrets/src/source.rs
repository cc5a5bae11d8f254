use crate::Secret;

/// The error of reading the secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parameters do not exist. Contains their full names.
    #[error("missing in SSM: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The call to SSM failed.
    #[error("the secrets cannot be read from SSM")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A source of secrets: [`Ssm`], or a fake in tests.
pub trait Source<const N: usize>: Send + Sync + 'static {
    /// Reads the current values of all secrets, in the order of their names.
    fn fetch(&self) -> impl Future<Output = Result<[Secret; N], Error>> + Send;
}
