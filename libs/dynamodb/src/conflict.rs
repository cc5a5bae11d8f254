//! Conflicts of writes of single items with transactions.

use aws::SdkError;
use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata,
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError,
    },
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    orchestrator::OrchestratorError,
    retries::classifiers::{ClassifyRetry, RetryAction},
};

/// Makes the client retry a write of a single item that failed because a transaction was writing the
/// same item. The SDK does not retry it.
#[derive(Debug)]
pub(crate) struct Retry;

impl ClassifyRetry for Retry {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(|result| result.err());
        let error = error.and_then(OrchestratorError::as_operation_error);
        let is_conflict = error.is_some_and(|error| {
            let update = error.downcast_ref::<UpdateItemError>().map(has_code);
            let put = || error.downcast_ref::<PutItemError>().map(has_code);
            let delete = || error.downcast_ref::<DeleteItemError>().map(has_code);
            update.or_else(put).or_else(delete).unwrap_or_default()
        });
        if is_conflict {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "conflicts with transactions"
    }
}

fn has_code(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("TransactionConflictException")
}

/// Returns whether DynamoDB refused a write of a single item because a transaction was writing the same
/// item at the same time.
pub(crate) fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    error.as_service_error().is_some_and(has_code)
}
