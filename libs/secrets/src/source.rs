use crate::Secret;

/// The error of a source that cannot return all secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// At least one parameter does not exist. Contains the full names of all missing parameters.
    #[error("these parameters are not in SSM Parameter Store: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The source cannot be read, because the call to SSM failed.
    #[error("cannot read the secrets from SSM Parameter Store")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A source of `N` secrets: [`Ssm`], or a fake in tests.
pub trait Source<const N: usize>: Send + Sync + 'static {
    /// Reads the current values of all secrets, in the order of their names.
    fn fetch(&self) -> impl Future<Output = Result<[Secret; N], Error>> + Send;
}
