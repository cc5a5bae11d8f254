//! The command `cargo xtask invoke`: runs one function once on this machine, with the environment variables that the
//! function has on the stage `local`.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::types::FunctionConfiguration;
use lambda_host::{Function, Host, Invocation, Outcome};

use crate::stripe::StripeServer; // part: billing

use crate::{
    build,
    cloud::Cloud,
    dev::{start_stage, take_lock},
    stage::{LocalStage, STAGE},
    ui,
    workspace::Workspace,
};

/// Runs `cargo xtask invoke`: invokes the function `name` with the content of the file `event`, and prints the
/// response. If the stage `local` does not run, starts the stage for this invocation.
///
/// # Errors
/// Fails if the function does not exist, cannot start, returns an error, crashes, or exceeds its timeout.
pub(crate) async fn invoke(name: &str, event: &Path) -> Result<()> {
    let workspace = Workspace::read()?;
    workspace.function(name)?;
    let event = fs::read(event).with_context(|| format!("cannot read {}", event.display()))?;
    let mut stage = LocalStage::open(&workspace, "local")?;
    if Cloud::running(&stage).is_some() {
        return run(&workspace, &stage, name, event).await?.print();
    }
    // The function calls the services of the stage, so the stage must run during the invocation.
    let _lock = take_lock(&mut stage).await?;
    let cloud = start_stage(&workspace, &mut stage).await?;
    let invocation = async {
        let _stripe = StripeServer::start(&stage).await?; // part: billing
        run(&workspace, &stage, name, event).await
    };
    let completed = invocation.await;
    ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    stage.delete_description();
    completed?.print()
}

/// Returns the Lambda configuration of the function `name` on the stage `stage`.
async fn configuration(stage: &LocalStage, name: &str) -> Result<FunctionConfiguration> {
    let lambda = aws_sdk_lambda::Client::new(&stage.aws()?.config());
    let response = lambda
        .get_function()
        .function_name(format!("scratchpad-{STAGE}-{name}"))
        .send()
        .await;
    response
        .with_context(|| {
            format!(
                "cannot find the function {name} on the stage local; deploy it with cargo xtask dev"
            )
        })?
        .configuration
        .with_context(|| {
            format!("the local cloud returned no configuration of the function {name}")
        })
}

/// Returns the function that runs the executable `binary`, with the environment variables and the memory size of
/// `configuration`. The function's AWS clients call the local cloud of `stage`.
fn function(binary: &Path, stage: &LocalStage, configuration: &FunctionConfiguration) -> Function {
    let own = configuration
        .environment()
        .and_then(|environment| environment.variables());
    let own = own
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()));
    let aws = stage
        .aws_environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let mut function = Function::new(binary).with_env(own.chain(aws));
    if let Some(memory) = configuration
        .memory_size()
        .and_then(|memory| memory.try_into().ok())
    {
        function.memory_mb = memory;
    }
    function
}

/// The log and the result of an invocation that has ended.
struct Completed {
    log: Vec<String>,
    outcome: Outcome,
    /// The REPORT line about the invocation, in the format in which Lambda logs it.
    report: String,
    /// The function's timeout, in seconds.
    timeout: u64,
}

/// Builds all functions, and invokes the function `name` with `event`.
async fn run(
    workspace: &Workspace,
    stage: &LocalStage,
    name: &str,
    event: Vec<u8>,
) -> Result<Completed> {
    build::build(workspace).await?;
    let configuration = configuration(stage, name).await?;
    let function = function(&workspace.binaries().join(name), stage, &configuration);
    let timeout = u64::try_from(configuration.timeout().unwrap_or(3)).unwrap_or(3);
    let memory_mb = function.memory_mb;
    let invocation = async {
        let mut host = Host::start(function).await?;
        let invocation = host.invoke(event, Duration::from_secs(timeout), None).await;
        let report = report(&host, &invocation, memory_mb);
        Ok(Completed {
            log: host.stop().await,
            outcome: invocation.outcome,
            report,
            timeout,
        })
    };
    ui::step(&format!("invoke {name}"), invocation).await
}

fn report(host: &Host, invocation: &Invocation, memory_mb: u32) -> String {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let max_memory = host.max_memory().map_or("unknown".into(), |bytes| {
        format!("{:.1} MB", bytes as f64 / 1_048_576.0)
    });
    format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tInit Duration: {:.2} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: {max_memory}",
        invocation.request_id,
        millis(invocation.duration),
        millis(host.init_duration()),
    )
}

impl Completed {
    /// Prints the function's log and the REPORT line on standard error, and the function's response on standard output.
    ///
    /// # Errors
    /// Fails if the function returned an error, exceeded its timeout, or exited.
    fn print(self) -> Result<()> {
        for line in self.log {
            ui::say(line);
        }
        if let Outcome::Response(response) = &self.outcome {
            ui::print(pretty(response));
        }
        ui::say(self.report);
        match self.outcome {
            Outcome::Response(_) => Ok(()),
            Outcome::Error(error) => bail!("the function returned an error: {error:?}"),
            Outcome::TimedOut => bail!("the function exceeded its timeout of {} s", self.timeout),
            Outcome::Exited(status) => bail!("the function's process exited ({status})"),
        }
    }
}

/// Formats a JSON response with indentation. Returns a response that is not JSON as unchanged text.
fn pretty(response: &[u8]) -> String {
    let parsed = serde_json::from_slice::<serde_json::Value>(response);
    let pretty = parsed.and_then(|response| serde_json::to_string_pretty(&response));
    pretty.unwrap_or_else(|_| String::from_utf8_lossy(response).into_owned())
}
