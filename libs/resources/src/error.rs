use domain::ServiceError;

/// The error of an operation on a resource.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no resource with this id.
    #[error("the resource does not exist")]
    NotFound,
    /// The resource does not meet the precondition of the write.
    #[error("the resource does not meet the precondition of the write")]
    Changed,
    /// Other resources of the user have the same values of unique fields. Contains the names of these fields in JSON.
    #[error("the values of these unique fields are taken: {}", .0.join(", "))]
    Taken(Vec<&'static str>),
    /// A service call failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<dynamodb::Error> for Error {
    fn from(error: dynamodb::Error) -> Self {
        Self::Service(error.into())
    }
}
