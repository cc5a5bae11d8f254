//! `invoke`: one function alone on an event, with the settings that it has on the stage `local`.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use aws_sdk_lambda::types::FunctionConfiguration;
use lambda_host::{Function, Host, Outcome};

use crate::{
    build,
    cloud::Cloud,
    dev::{take_over, up},
    stage::{LocalStage, STAGE},
    stripe::Double,
    ui,
    workspace::Workspace,
};

/// `cargo xtask invoke`.
///
/// # Errors
/// When the function cannot start, or fails on the event.
pub(crate) async fn invoke(name: &str, event: &Path) -> Result<()> {
    let workspace = Workspace::read()?;
    workspace.function(name)?;
    let event = fs::read(event).with_context(|| format!("{} cannot be read", event.display()))?;
    let mut stage = LocalStage::open(&workspace, "local")?;
    // What the function talks to. Where the stage does not run, it does for this one call.
    if Cloud::running(&stage).is_some() {
        return run(&workspace, &stage, name, event).await;
    }
    let _lock = take_over(&mut stage).await?;
    let cloud = up(&workspace, &mut stage).await?;
    let call = async {
        let _stripe = Double::start(&stage).await?;
        run(&workspace, &stage, name, event).await
    };
    let result = call.await;
    cloud.stop(&stage).await?;
    stage.retract();
    result
}

async fn deployed(stage: &LocalStage, name: &str) -> Result<FunctionConfiguration> {
    let lambda = aws_sdk_lambda::Client::new(&stage.aws()?.config());
    let found = lambda
        .get_function()
        .function_name(format!("scratchpad-{STAGE}-{name}"))
        .send()
        .await;
    let found = found.with_context(|| format!("{name} is not deployed; run cargo xtask dev"))?;
    found
        .configuration
        .context("a function has a configuration")
}

fn alone(binary: &Path, stage: &LocalStage, settings: &FunctionConfiguration) -> Function {
    let own = settings
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
    if let Some(memory) = settings
        .memory_size()
        .and_then(|memory| memory.try_into().ok())
    {
        function.memory_mb = memory;
    }
    function
}

async fn run(workspace: &Workspace, stage: &LocalStage, name: &str, event: Vec<u8>) -> Result<()> {
    build::build(workspace).await?;
    let settings = deployed(stage, name).await?;
    let function = alone(&workspace.binaries().join(name), stage, &settings);
    let timeout = u64::try_from(settings.timeout().unwrap_or(3)).unwrap_or(3);
    let memory_mb = function.memory_mb;
    let mut host = Host::start(function).await?;
    let invocation = host.invoke(event, Duration::from_secs(timeout), None).await;
    let (init, memory) = (host.init_duration(), host.max_memory());
    for line in host.stop().await {
        ui::say(line);
    }
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let memory = memory.map_or("unknown".into(), |bytes| {
        format!("{:.1} MB", bytes as f64 / 1_048_576.0)
    });
    let report = format!(
        "REPORT RequestId: {}\tDuration: {:.2} ms\tInit Duration: {:.2} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: {memory}",
        invocation.request_id,
        millis(invocation.duration),
        millis(init),
    );
    match invocation.outcome {
        Outcome::Response(answer) => {
            println!("{}", pretty(&answer));
            ui::say(report);
            Ok(())
        }
        Outcome::Error(error) => {
            ui::say(report);
            bail!("the function failed: {error:?}")
        }
        Outcome::TimedOut => {
            ui::say(report);
            bail!("the function took longer than its {timeout} s")
        }
        Outcome::Exited(status) => {
            ui::say(report);
            bail!("the function ended ({status})")
        }
    }
}

fn pretty(answer: &[u8]) -> String {
    let parsed = serde_json::from_slice::<serde_json::Value>(answer);
    let pretty = parsed.and_then(|answer| serde_json::to_string_pretty(&answer));
    pretty.unwrap_or_else(|_| String::from_utf8_lossy(answer).into_owned())
}
