//! The command `cargo xtask soak`: starts a stage for load and faults, and keeps its local cloud running.

use std::{env, fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    cloud::Cloud,
    dev::start_stage,
    process::shutdown_signal,
    stage::{LOCAL_STAGE_VARIABLE, LocalStage},
    stripe::StripeServer,
    ui,
    workspace::Workspace,
};

/// The name of the folder in target/ that contains the files of the stage.
const FOLDER: &str = "soak";

/// The name of the program that makes the load, and of its crate.
const PROGRAM: &str = "soak";

/// How long a minute lasts in the CloudWatch of the stage, in milliseconds. The alarms of a fault are raised within
/// seconds, before the next fault.
const MINUTE: &str = "10000";

/// The environment variable that sets how long a minute lasts in the CloudWatch of a local cloud.
const MINUTE_VARIABLE: &str = "SCRATCHPAD_MINUTE_MS";

/// The pause between two checks whether the local cloud runs.
const CHECK: Duration = Duration::from_millis(100);

/// The options of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the load lasts. The check afterwards takes one to four minutes more
    #[arg(long, value_name = "MINUTES")]
    minutes: f64,
    /// Inject faults: kill the local cloud and functions, throttle tables, make Stripe slow or fail, lose deliveries
    #[arg(long)]
    faults: bool,
    /// The number of users who use the stage at the same time
    #[arg(long, default_value_t = 8)]
    users: usize,
    /// The seed of all random choices [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the data of the stage in target/soak even if nothing is lost
    #[arg(long)]
    keep: bool,
}

/// Runs `cargo xtask soak`: starts a stage of its own, runs the load on it, and compares what the stage acknowledged with
/// what it has stored. Writes the report to target/soak.json. Ctrl-C ends the load early.
///
/// # Errors
/// Fails if something is lost or duplicated, if a function uses more and more memory or file descriptors, if a fault did
/// not raise its alarm, or if the stage cannot be started. The data of the stage is kept then.
pub(crate) async fn soak(options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, FOLDER)?;
    let _lock = stage
        .try_lock("soak.lock")?
        .context("cannot start the soak test: it runs already in another terminal")?;
    // `set_var` is not safe in a program with several threads, so the stage passes the variable on.
    stage.set_minute(MINUTE);
    let result = tokio::select! {
        started = start(&workspace, &mut stage) => match started {
            Ok(stripe) => run(&workspace, &mut stage, &options, &stripe).await,
            Err(error) => Err(error),
        },
        () = shutdown_signal(), if false => Ok(()),
    };
    if let Some(cloud) = Cloud::running(&stage) {
        ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    }
    stage.delete_description();
    match &result {
        Ok(()) if !options.keep => fs::remove_dir_all(stage.path(""))?,
        _ => ui::say("the ledger, the logs and the data of the stage are in target/soak"),
    }
    result
}
