//! The command `cargo xtask soak`: starts a stage for load and faults, and keeps its local cloud running.

use std::{env, fs, pin::pin, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::stripe::StripeServer; // part: billing
use crate::{
    cloud::Cloud,
    dev::start_stage,
    process::shutdown_signal,
    stage::{DESCRIPTION, LocalStage},
    ui,
    workspace::Workspace,
};

/// The name of the folder in target/ that contains the files of the stage.
const FOLDER: &str = "soak";

/// The name of the program that makes the load, and of its crate.
const PROGRAM: &str = "soak";

/// How long a minute lasts in the CloudWatch of the stage, so that the alarms of a fault are raised within seconds.
const MINUTE: Duration = Duration::from_secs(10);

/// The pause between two checks whether the local cloud runs.
const CHECK: Duration = Duration::from_millis(100);

/// The options of `cargo xtask soak`.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the load lasts. The check afterwards takes one to four minutes more
    #[arg(long, value_name = "MINUTES")]
    minutes: f64,
    /// Inject faults: kill the local cloud and functions, throttle tables, make services slow or fail, lose deliveries
    #[arg(long)]
    faults: bool,
    /// The number of concurrent users
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
    let mut stage = LocalStage::open(&workspace, FOLDER)?.with_minutes_of(MINUTE);
    let _lock = stage
        .try_lock("soak.lock")?
        .context("cannot start the soak test: it runs already in another terminal")?;
    let soak = async {
        start(&workspace, &mut stage).await?;
        let _stripe = StripeServer::start(&stage).await?; // part: billing
        run(&workspace, &mut stage, &options).await
    };
    let result = soak.await;
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

/// Builds the load, and starts the stage without data of earlier runs.
async fn start(workspace: &Workspace, stage: &mut LocalStage) -> Result<()> {
    let start = async {
        if let Some(cloud) = Cloud::running(stage) {
            cloud.stop(stage).await?;
        }
        stage.clear_folder("data")?;
        stage.ensure_server_ports_are_free().await?;
        let mut build = workspace.cargo();
        build.args(["build", "--bin", PROGRAM]);
        if !build.status().await?.success() {
            bail!("cannot compile the load");
        }
        start_stage(workspace, stage).await?;
        Ok(())
    };
    tokio::select! {
        started = start => started,
        () = shutdown_signal() => bail!("a signal stopped xtask before the load"),
    }
}

/// Runs the load. Starts the local cloud again whenever it was killed.
async fn run(workspace: &Workspace, stage: &mut LocalStage, options: &Options) -> Result<()> {
    let report = workspace.root().join("target/soak.json");
    let mut load = Command::new(workspace.binaries().join(PROGRAM));
    load.args(["--minutes", &options.minutes.to_string()])
        .args(["--users", &options.users.to_string()])
        .arg("--report")
        .arg(&report)
        .env("SCRATCHPAD_STAGE", stage.path(DESCRIPTION))
        .env("SCRATCHPAD_XTASK", env::current_exe()?)
        .env("SCRATCHPAD_MINUTE_MS", MINUTE.as_millis().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        // Only xtask gets Ctrl-C. It passes the signal on.
        .process_group(0);
    if options.faults {
        load.arg("--faults");
    }
    if let Some(seed) = options.seed {
        load.args(["--seed", &seed.to_string()]);
    }
    let mut load = load.spawn().context("cannot start the load")?;
    let mut signal = pin!(shutdown_signal());
    let mut kills = 0;
    let status = loop {
        tokio::select! {
            status = load.wait() => break status?,
            () = &mut signal => {
                interrupt(&load)?;
                signal.set(shutdown_signal());
            }
            () = sleep(CHECK) => {
                if Cloud::running(stage).is_none() {
                    kills += 1;
                    // The next start replaces the log.
                    fs::rename(stage.path("cloud.log"), stage.path(&format!("cloud-{kills}.log")))?;
                    Cloud::ensure(workspace, stage).await?;
                }
            }
        }
    };
    if !status.success() {
        bail!("the soak test failed; the report above says why");
    }
    Ok(())
}

/// Makes the load end, and report what it has found so far.
fn interrupt(load: &Child) -> Result<()> {
    if let Some(id) = load.id()
        && let Some(process) = Pid::from_raw(id.try_into()?)
    {
        kill_process(process, Signal::INT)?;
    }
    Ok(())
}
