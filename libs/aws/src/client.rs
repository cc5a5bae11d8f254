use std::fmt::Debug;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::recursion_detection::RecursionDetectionInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::service_clock_skew::ServiceClockSkewInterceptor;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime::client::defaults::{DefaultPluginParams, default_plugins};
use aws_smithy_runtime::client::http::connection_poisoning::ConnectionPoisoningInterceptor;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::{self, endpoints::StaticUriEndpointResolver};
use aws_smithy_runtime::client::retries::classifiers::HttpStatusCodeClassifier;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::interceptors::context::Input;
use aws_smithy_runtime_api::client::result;
use aws_smithy_runtime_api::client::retries::classifiers::ClassifyRetry;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::{
    RuntimePlugin, RuntimePlugins, SharedRuntimePlugin, StaticRuntimePlugin,
};
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_runtime_api::http::Response;
use aws_smithy_schema::protocol::{ClientProtocol, SharedClientProtocol};
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};

/// The error of an AWS call. `E` is the SDK's error type of the operation.
pub type SdkError<E> = result::SdkError<E, Response>;

/// A client of one AWS service. It runs the SDK's operations without the SDK's generated client of that service.
///
/// The SDK serializes requests, signs and retries them, and parses responses and errors. A generated client would take
/// more time. When a generated client is created, it reads a table of all AWS regions and compiles their regular
/// expressions, although a function calls only one region. In every call, a generated client also composes a user-agent
/// header.
///
/// `tests/wire` checks that this client sends the same requests and retries as the SDK's generated clients.
///
/// ```no_run
/// # use aws_sdk_sns::operation::publish::{Publish, PublishError, PublishInput, PublishOutput};
/// # async fn publish(aws: &aws::Stack, input: PublishInput) -> Result<(), Box<dyn std::error::Error>> {
/// let sns = aws.client("sns");
/// let published = sns.call::<_, PublishOutput, PublishError>(Publish::new(), input).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client(RuntimePlugins);

impl Client {
    pub(crate) fn new(service: Service) -> Self {
        let defaults = DefaultPluginParams::new()
            // Each service has a retry quota of its own.
            .with_retry_partition_name(service.name)
            .with_behavior_version(BehaviorVersion::latest());
        Self(
            RuntimePlugins::new()
                .with_client_plugins(default_plugins(defaults))
                .with_client_plugin(service.plugin()),
        )
    }

    /// Sets the protocol that serializes requests and parses responses. Some services, such as SSM, need this, because
    /// the SDK's operations of these services do not contain a protocol.
    #[must_use]
    pub fn with_protocol(self, protocol: impl ClientProtocol + 'static) -> Self {
        let mut config = Layer::new("protocol");
        config.store_put(SharedClientProtocol::new(protocol));
        let protocol = StaticRuntimePlugin::new().with_config(config.freeze());
        Self(self.0.with_client_plugin(protocol))
    }

    /// Returns a client that also retries the failures that `classifier` classifies as retryable.
    #[must_use]
    pub fn with_retry_classifier(self, classifier: impl ClassifyRetry + 'static) -> Self {
        let components = RuntimeComponentsBuilder::new("retries").with_retry_classifier(classifier);
        let retries = StaticRuntimePlugin::new().with_runtime_components(components);
        Self(self.0.with_client_plugin(retries))
    }

    /// Returns a client that makes one attempt per call. Use it for operations that are not idempotent: a retry of an
    /// attempt whose response was lost would repeat the effect.
    #[must_use]
    pub fn without_retries(self) -> Self {
        let mut config = Layer::new("without retries");
        config.store_put(RetryConfig::disabled());
        let attempts = StaticRuntimePlugin::new().with_config(config.freeze());
        Self(self.0.with_client_plugin(attempts))
    }

    /// Calls an operation that has the input type `I`, the output type `O` and the error type `E`. Retries failed
    /// attempts, except after [`Client::without_retries`].
    ///
    /// # Errors
    /// Fails if the last attempt fails. The error is the one that the SDK's generated client would return.
    pub async fn call<I, O, E>(
        &self,
        operation: impl RuntimePlugin + 'static,
        input: I,
    ) -> Result<O, SdkError<E>>
    where
        I: Debug + Send + Sync + 'static,
        O: Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let plugins = self.0.clone().with_operation_plugin(operation);
        // The orchestrator does not need the names of service and operation, because the operation's plugin has them.
        let result = orchestrator::invoke("", "", Input::erase(input), &plugins).await;
        match result.map(|output| output.downcast()) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(_)) => unreachable!("the operation has another output type"),
            Err(error) => Err(error.map_service_error(|error| match error.downcast() {
                Ok(error) => error,
                Err(_) => unreachable!("the operation has another error type"),
            })),
        }
    }
}

/// The configuration that all operations of one AWS service share.
#[derive(Debug)]
pub(crate) struct Service {
    /// The service's name in request signatures. It is also the first label of the service's host name.
    pub(crate) name: &'static str,
    /// The service's URL without a trailing slash. For S3, the URL contains the bucket.
    pub(crate) endpoint: String,
    pub(crate) region: Region,
    pub(crate) credentials: Credentials,
    pub(crate) http: SharedHttpClient,
    pub(crate) timeouts: TimeoutConfig,
}

impl Service {
    pub(crate) fn plugin(self) -> SharedRuntimePlugin {
        let mut config = Layer::new("service");
        config.store_put(SigningName::from_static(self.name));
        config.store_put(SigningRegion::from(self.region.clone()));
        config.store_put(self.region);
        config.store_put(RetryConfig::standard());
        config.store_put(self.timeouts);
        // Not needed, because the attempt timeout ends a stalled attempt.
        config.store_put(StalledStreamProtectionConfig::disabled());
        let identity = SharedCredentialsProvider::new(self.credentials);
        let components = RuntimeComponentsBuilder::new("service")
            .with_http_client(Some(self.http))
            .with_sleep_impl(Some(TokioSleep::new()))
            .with_endpoint_resolver(Some(StaticUriEndpointResolver::uri(self.endpoint)))
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![
                SCHEME_ID,
            ])))
            // The credentials come from the environment and never change.
            .with_identity_cache(Some(IdentityCache::no_cache()))
            .with_identity_resolver(SCHEME_ID, SharedIdentityResolver::new(identity))
            .with_retry_classifier(HttpStatusCodeClassifier::default())
            .with_interceptor(ConnectionPoisoningInterceptor::new())
            .with_interceptor(InvocationIdInterceptor::new())
            .with_interceptor(RequestInfoInterceptor::new())
            .with_interceptor(ServiceClockSkewInterceptor::new())
            // Sends the trace header, which lets Lambda detect and stop a recursive loop:
            // https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
            .with_interceptor(RecursionDetectionInterceptor::new())
            .with_interceptor(xray::AwsCall);
        SharedRuntimePlugin::new(
            StaticRuntimePlugin::new()
                .with_config(config.freeze())
                .with_runtime_components(components),
        )
    }
}
