//! What to do after a request to AWS has failed.

use anyhow::Error;
use aws_sdk_s3::error::ProvideErrorMetadata;

use super::rest;

/// The error codes of AWS that say that the credentials cannot be used any more.
const EXPIRED: [&str; 7] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "TokenRefreshRequired",
];

/// Parts of the error codes of AWS that say that the same request may succeed later.
const TEMPORARY: [&str; 8] = [
    "Throttl",
    "TooManyRequests",
    "RequestLimitExceeded",
    "SlowDown",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
];

/// Whether an error code of AWS says that the credentials cannot be used any more.
pub(crate) fn is_expired(code: &str) -> bool {
    EXPIRED.contains(&code)
}

/// Returns what to do after a command has failed with `error`. `None` if no request to AWS failed, if a repetition of
/// the command would fail too, or if the error already says what to do.
///
/// Every command can be repeated: it reads the state of the stage, and makes only the changes that are missing.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    let text = format!("{error:#}");
    // A code is missing if AWS did not respond, or if the response has no body.
    let code = error.chain().find_map(request_error)?.unwrap_or_default();
    if is_expired(code) && !text.contains("sign in again") {
        return Some(
            "the AWS credentials are not valid any more: sign in again, and run the same command again",
        );
    }
    let is_temporary = code.is_empty() || TEMPORARY.iter().any(|part| code.contains(part));
    (is_temporary && !text.contains("command again"))
        .then_some("a request to AWS failed: run the same command again to continue")
}

/// Returns the error code of a request to AWS, or `Some(None)` if the error has no code. Returns `None` if `error` is not
/// about a request.
fn request_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<Option<&'a str>> {
    fn of<'a, E: ProvideErrorMetadata + std::error::Error + 'static>(
        error: &'a (dyn std::error::Error + 'static),
    ) -> Option<Option<&'a str>> {
        error.downcast_ref::<E>().map(ProvideErrorMetadata::code)
    }
    of::<aws_sdk_cloudformation::Error>(error)
        .or_else(|| of::<aws_sdk_cloudwatchlogs::Error>(error))
        .or_else(|| of::<aws_sdk_dynamodb::Error>(error))
        .or_else(|| of::<aws_sdk_lambda::Error>(error))
        .or_else(|| of::<aws_sdk_s3::Error>(error))
        .or_else(|| of::<aws_sdk_sqs::Error>(error))
        .or_else(|| of::<aws_sdk_ssm::Error>(error))
        .or_else(|| of::<aws_sdk_sts::Error>(error))
        .or_else(|| rest::request_error(error))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use aws_sdk_s3::error::ErrorMetadata;

    use super::*;

    fn of_code(code: Option<&str>) -> Error {
        let mut metadata = ErrorMetadata::builder();
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        let error = aws_sdk_s3::operation::get_object::GetObjectError::generic(metadata.build());
        Error::from(aws_sdk_s3::Error::from(error)).context("cannot read a release")
    }

    #[test]
    fn advice_is_given_only_for_temporary_failures_and_expired_credentials() {
        for code in [None, Some("SlowDown"), Some("ThrottlingException")] {
            let error = of_code(code);
            assert!(
                advice(&error)
                    .unwrap()
                    .contains("run the same command again")
            );
            let error = error.context("run the same command again to continue");
            assert_eq!(advice(&error), None);
        }
        let error = of_code(Some("ExpiredToken"));
        let error = error.context("run the same command again to continue");
        assert!(advice(&error).unwrap().contains("sign in again"));
        for error in [of_code(Some("AccessDenied")), anyhow!("prod is protected")] {
            assert_eq!(advice(&error), None);
        }
    }
}
