use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_types::region::Region;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tracing::field::Empty;
use tracing::{Span, info_span};

/// The `tracing` target of the spans of AWS calls.
pub(crate) const AWS: &str = "xray::aws";

/// An interceptor for AWS clients. It records each call as a subsegment of the current span.
///
/// ```no_run
/// # fn client(config: &aws_types::SdkConfig) -> aws_sdk_dynamodb::Client {
/// let config = aws_sdk_dynamodb::config::Builder::from(config).interceptor(xray::AwsCall).build();
/// aws_sdk_dynamodb::Client::from_conf(config)
/// # }
/// ```
///
/// The subsegment has the service, operation, region, request ID, HTTP status and number of retries of the call. For
/// DynamoDB, it also has the names of the tables. If the call fails, the subsegment has the error code, but not the
/// error message, because the message may quote the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsCall;

/// The span of an AWS call. It is stored in the configuration of the call, so that it closes when the call ends.
#[derive(Debug)]
struct CallSpan(Span);

impl Storable for CallSpan {
    type Storer = StoreReplace<Self>;
}

impl Intercept for AwsCall {
    fn name(&self) -> &'static str {
        "AwsCall"
    }

    // The first hook in which the operation is known
    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(metadata) = config.load::<Metadata>() else {
            return Ok(());
        };
        let span = info_span!(
            target: AWS,
            "aws",
            xray.name = metadata.service(),
            xray.operation = metadata.name(),
            xray.region = config.load::<Region>().map(Region::as_ref),
            xray.tables = Empty,
            xray.status = Empty,
            xray.request_id = Empty,
            xray.failed = Empty,
            xray.throttled = Empty,
            xray.code = Empty,
            metadata.retries = Empty,
        );
        if !span.is_disabled() {
            config.interceptor_state().store_put(CallSpan(span));
        }
        Ok(())
    }

    fn read_after_serialization(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(CallSpan(span)) = config.load::<CallSpan>() else {
            return Ok(());
        };
        if config
            .load::<Metadata>()
            .is_some_and(|metadata| metadata.service() == "DynamoDB")
        {
            let tables = context
                .request()
                .body()
                .bytes()
                .map(tables)
                .unwrap_or_default();
            if !tables.is_empty() {
                // A table name cannot contain a comma
                let tables = Vec::from_iter(tables).join(",");
                span.record("xray.tables", tables);
            }
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(CallSpan(span)) = config.load::<CallSpan>() else {
            return Ok(());
        };
        if let Some(failed) = context.output_or_error().and_then(Result::err) {
            span.record("xray.failed", true);
            span.record("xray.throttled", throttled(context.inner(), components));
            let code = context.response().and_then(error_code).unwrap_or_else(|| {
                Cow::Borrowed(match failed {
                    error if error.is_timeout_error() => "TimeoutError",
                    error if error.is_connector_error() => "DispatchFailure",
                    error if error.is_response_error() => "ResponseError",
                    error if error.is_operation_error() => "ServiceError",
                    _ => "ConstructionFailure",
                })
            });
            span.record("xray.code", code.as_ref());
        }
        if let Some(response) = context.response() {
            span.record("xray.status", u64::from(response.status().as_u16()));
            // S3 uses the second name
            let headers = response.headers();
            if let Some(id) = headers
                .get("x-amzn-requestid")
                .or(headers.get("x-amz-request-id"))
            {
                span.record("xray.request_id", id);
            }
        }
        let attempts = config
            .load::<RequestAttempts>()
            .map_or(1, RequestAttempts::attempts);
        if attempts > 1 {
            span.record("metadata.retries", attempts - 1);
        }
        config.interceptor_state().unset::<CallSpan>();
        Ok(())
    }
}

/// Returns whether the call failed because the service throttled it. Asks the AWS client's retry classifiers, because
/// these know the error codes of all services.
fn throttled(context: &InterceptorContext, components: &RuntimeComponents) -> bool {
    let throttling = RetryAction::throttling_error();
    components
        .retry_classifiers()
        .any(|classifier| classifier.classify_retry(context) == throttling)
}

/// Returns the error code in the response of a service with a JSON protocol, without its namespace: for example
/// `ConditionalCheckFailedException` for `com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException`. Returns
/// `None` if the response has another format.
fn error_code(response: &HttpResponse) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "__type")]
        code: Cow<'a, str>,
    }

    let code = match response.headers().get("x-amzn-errortype") {
        Some(code) => Cow::Borrowed(code),
        None => {
            serde_json::from_slice::<Body<'_>>(response.body().bytes()?)
                .ok()?
                .code
        }
    };
    let code = code.rsplit('#').next()?.split(':').next()?;
    Some(Cow::Owned(code.to_owned()))
}

/// Returns the names of the tables in the JSON of a DynamoDB request, whatever its operation.
fn tables(request: &[u8]) -> BTreeSet<String> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Request {
        table_name: Option<String>,
        // The tables of a batch request
        request_items: BTreeMap<String, IgnoredAny>,
        // The items of a transaction. Each one maps an operation to its request
        transact_items: Vec<BTreeMap<String, Request>>,
    }

    impl Request {
        fn tables(self) -> BTreeSet<String> {
            let within = self
                .transact_items
                .into_iter()
                .flat_map(BTreeMap::into_values);
            self.table_name
                .into_iter()
                .chain(self.request_items.into_keys())
                .chain(within.flat_map(Self::tables))
                .collect()
        }
    }

    serde_json::from_slice::<Request>(request)
        .map(Request::tables)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_found_in_every_kind_of_request_but_not_in_attribute_values() {
        for (request, expected) in [
            (
                r#"{"TableName":"Notes","Key":{"noteId":{"S":"1"}}}"#,
                vec!["Notes"],
            ),
            (
                r#"{"Item":{"TableName":{"S":"{\"TableName\":\"x\"}"}},"TableName":"Notes"}"#,
                vec!["Notes"],
            ),
            (
                r#"{"RequestItems":{"Notes":{"Keys":[]},"Storage":{"Keys":[]}}}"#,
                vec!["Notes", "Storage"],
            ),
            (
                r#"{"TransactItems":[{"Put":{"TableName":"Storage","Item":{}}},{"Delete":{"TableName":"Notes","Key":{}}},{"ConditionCheck":{"TableName":"Notes"}}]}"#,
                vec!["Notes", "Storage"],
            ),
            ("{}", vec![]),
            ("not JSON", vec![]),
        ] {
            let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(tables(request.as_bytes()), expected, "{request}");
        }
    }
}
