use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::ServiceError;

use crate::SdkError;

/// Whether a call failed in a way that passes: the service throttles it, is down, or cannot be
/// reached. The SDK has tried again already.
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

/// What the rules are told of a call that failed.
pub fn failed<E>(error: SdkError<E>) -> ServiceError
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

    fn answered(status: u16, code: &str) -> SdkError<ErrorMetadata> {
        let response = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        SdkError::service_error(ErrorMetadata::builder().code(code).build(), response)
    }

    #[test]
    fn throttling_and_outages_pass() {
        assert!(is_transient(&answered(400, "ThrottlingException")));
        assert!(is_transient(&answered(
            400,
            "ProvisionedThroughputExceededException"
        )));
        assert!(is_transient(&answered(503, "SlowDown")));
    }

    #[test]
    fn a_call_that_is_wrong_stays_wrong() {
        assert!(!is_transient(&answered(400, "ValidationException")));
        assert!(!is_transient(&answered(403, "AccessDeniedException")));
    }
}
