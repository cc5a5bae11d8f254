//! How every function starts, and what surrounds each of its invocations.
//!
//! [`start`] installs the log and tracing, reads the settings, builds what the function works
//! with, and only then lets the first event in. A function that cannot start says why in one log
//! line and exits.

mod log;
mod settings;

use std::{error::Error, future::Future, process::ExitCode, time::SystemTime};

pub use lambda_runtime::Context;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::de::DeserializeOwned;
pub use settings::{SettingError, setting};
use tracing::{Instrument, Span};

/// A static executable's own, in place of that of its C library: what zig brings is young, and musl's slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Why a function cannot start: its text names the setting or the call that failed.
pub type StartError = Box<dyn Error + Send + Sync>;

/// Starts a function that takes events of one type and answers nobody, and runs it until Lambda
/// stops it.
///
/// `init` builds what the function works with, once. `handle` gets an event, and the moment at which
/// Lambda stops the function. Its error is logged and given to Lambda, which by the event source's
/// rules delivers the event again.
pub async fn serve<S, E, X, Fut>(
    init: impl AsyncFnOnce() -> Result<S, StartError>,
    handle: impl Fn(&'static S, E, SystemTime) -> Fut,
) -> ExitCode
where
    S: Sync + 'static,
    E: DeserializeOwned,
    X: Error + 'static,
    Fut: Future<Output = Result<(), X>> + Send + 'static,
{
    start(init, async |services| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<E>| {
            let LambdaEvent { payload, context } = event;
            let work = handle(services, payload, context.deadline());
            async move {
                let result = invocation(&context, work, |span, result| {
                    if result.is_err() {
                        xray::record_failure(span);
                    }
                })
                .await;
                let aws_request_id = &context.request_id;
                match &result {
                    Ok(()) => tracing::info!(aws_request_id, "event handled"),
                    Err(error) => {
                        tracing::error!(aws_request_id, error = chain(error), "event failed");
                    }
                }
                result.map_err(|error| Diagnostic {
                    error_type: "EventFailed".into(),
                    error_message: error.to_string(),
                })
            }
        }))
        .await
    })
    .await
}

/// Installs the log and tracing, builds the services, and hands them to `run`, which takes events
/// until Lambda stops the function.
pub async fn start<S: 'static>(
    init: impl AsyncFnOnce() -> Result<S, StartError>,
    run: impl AsyncFnOnce(&'static S) -> Result<(), lambda_runtime::Error>,
) -> ExitCode {
    let started = async {
        log::install()?;
        settings::require_runtime()?;
        init().await
    };
    let stopped = match started.await {
        // Leaked on purpose: the services live as long as the process.
        Ok(services) => run(Box::leak(Box::new(services))).await,
        Err(error) => Err(error),
    };
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "the function cannot start");
            ExitCode::FAILURE
        }
    }
}

/// Runs one invocation's work inside its trace, and lets `record` say how it went.
///
/// The trace is complete when this returns, which is before the answer: once a function has
/// answered, Lambda freezes it.
pub async fn invocation<T>(
    context: &Context,
    work: impl Future<Output = T>,
    record: impl FnOnce(&Span, &T),
) -> T {
    let span = xray::invocation(
        context.xray_trace_id.as_deref(),
        "handler",
        &context.request_id,
    );
    let result = work.instrument(span.clone()).await;
    record(&span, &result);
    result
}

/// An error with all that caused it, on one line, for the log.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
