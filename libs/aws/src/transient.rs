use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::ServiceError;

use crate::SdkError;

/// Returns whether the same call can succeed later: the service throttled the call, failed internally, or could not be
/// reached. The SDK has already retried the call.
pub fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => true,
        SdkError::ServiceError(error) => {
            let code = error.err().code();
            error.raw().status().is_server_error()
                || code.is_some_and(|code| THROTTLING_ERRORS.contains(&code))
        }
        _ => false,
    }
}

/// Converts an SDK error to [`ServiceError::Unavailable`] if the error [`is_transient`], else to
/// [`ServiceError::Failed`].
pub fn service_error<E>(error: SdkError<E>) -> ServiceError
where
    E: std::error::Error + Send + Sync + ProvideErrorMetadata + 'static,
{
    if is_transient(&error) {
        ServiceError::Unavailable(error.into())
    } else {
        ServiceError::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::{Response, StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    fn error(status: u16, code: &str) -> SdkError<ErrorMetadata> {
        let response = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        SdkError::service_error(ErrorMetadata::builder().code(code).build(), response)
    }

    #[test]
    fn throttling_and_server_errors_are_transient() {
        assert!(is_transient(&error(400, "ThrottlingException")));
        assert!(is_transient(&error(
            400,
            "ProvisionedThroughputExceededException"
        )));
        assert!(is_transient(&error(503, "SlowDown")));
    }

    #[test]
    fn invalid_and_denied_calls_are_not_transient() {
        assert!(!is_transient(&error(400, "ValidationException")));
        assert!(!is_transient(&error(403, "AccessDeniedException")));
    }
}
