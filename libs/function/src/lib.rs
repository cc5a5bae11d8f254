//! Starts a Lambda function, and adds a log line and a trace to each of its invocations.
//!
//! [`start`] installs logging and tracing, checks the environment variables, creates the function's
//! services, and then runs the function. A function that cannot start logs the reason in one line
//! and exits.

mod error;
mod line;
mod log;
mod settings;

use std::{
    error::Error,
    future::Future,
    process::ExitCode,
    time::{Instant, SystemTime},
};

pub use error::{StartError, chain};
pub use lambda_runtime::Context;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
pub use line::{InvocationLog, Level, Line};
pub use metrics::Outcome;
use serde::{Serialize, de::DeserializeOwned};
pub use settings::{SettingError, setting};
use tracing::{Instrument, Span};

/// The memory allocator of statically linked functions. It replaces the C library's allocator: musl's
/// allocator is slow, and zig's is not mature.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Runs a Lambda function that handles events of type `E`. Its response is the JSON of `R`: `()` if the
/// source of the events expects no response.
///
/// `init` creates the function's services once, during the cold start. `handle` receives the
/// services, an event, and the time at which Lambda stops the invocation. If `handle` fails, the
/// error is logged and reported to Lambda. Whether Lambda then retries depends on the source of the
/// event.
pub async fn serve<S, E, R, X, Fut>(
    init: impl AsyncFnOnce() -> Result<S, StartError>,
    handle: impl Fn(&'static S, E, SystemTime) -> Fut,
) -> ExitCode
where
    S: Sync + 'static,
    E: DeserializeOwned,
    X: Error + 'static,
    R: Serialize + 'static,
    Fut: Future<Output = Result<R, X>> + Send + 'static,
{
    let init = async || Ok((InvocationLog::from_env(false)?, init().await?));
    start(init, async |(log, services)| {
        lambda_runtime::run(service_fn(|event: LambdaEvent<E>| {
            let LambdaEvent { payload, context } = event;
            let started = Instant::now();
            metrics::begin();
            let work = handle(services, payload, context.deadline());
            async move {
                let result = invocation(&context, work, |span, result| {
                    if result.is_err() {
                        xray::record_failure(span);
                    }
                })
                .await;
                let (line, outcome) = match &result {
                    Ok(_) => (Line::new(Level::Info, "event handled"), Outcome::Success),
                    Err(error) => (
                        Line::new(Level::Error, "event failed").text("error", &chain(error)),
                        Outcome::Fault,
                    ),
                };
                log.write(line.context(&context), outcome, started.elapsed());
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

/// Installs logging and tracing, creates the function's services with `init`, and passes them to
/// `run`. `run` handles events until Lambda stops the function.
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

/// Runs `work`, the work of one invocation, inside a span. `record` adds the result of `work` to
/// the span.
///
/// The span closes, and its trace is sent, before `invocation` returns. The trace must be sent
/// before the response, because Lambda freezes the process after the response.
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
