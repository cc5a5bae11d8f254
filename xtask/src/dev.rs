//! `dev`, `stop` and `watch`: run the whole product on this machine.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use console::style;
use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, new_debouncer,
    notify::{EventKind, RecursiveMode},
};
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, sync::mpsc, time::sleep};

use crate::{
    build,
    cloud::Cloud,
    local_deploy, mail,
    process::{self, shutdown_signal},
    stage::{LocalStage, write_atomically},
    stripe::{self, StripeServer},
    tools,
    ui::{self, Step},
    web::{Serve, WebServer},
    workspace::Workspace,
};

/// The lock file that the process that runs the stage holds. [`PROCESS_FILE`] has the ID of this process.
const LOCK: &str = "dev.lock";

/// The file that contains the [`DevProcess`] as JSON.
const PROCESS_FILE: &str = "dev.json";

/// A text that is in the command line of every xtask process.
const MARKER: &str = "xtask";

/// The folder of the stage, below target.
const FOLDER: &str = "local";

/// The process that runs the stage: it holds [`LOCK`], and redeploys when sources change.
#[derive(Serialize, Deserialize)]
struct DevProcess {
    pid: i32,
    /// Whether the process was started by `dev --detach`.
    detached: bool,
}

impl DevProcess {
    /// Reads the process that ran the stage last. It may have exited. `None` if there is no valid record.
    fn read(stage: &LocalStage) -> Option<Self> {
        serde_json::from_slice(&fs::read(stage.path(PROCESS_FILE)).ok()?).ok()
    }

    /// Records this process as the one that runs the stage.
    fn write(stage: &LocalStage, detached: bool) -> Result<()> {
        let pid = std::process::id().try_into()?;
        write_atomically(
            &stage.path(PROCESS_FILE),
            &serde_json::to_vec(&Self { pid, detached })?,
        )
    }
}

/// `cargo xtask dev`.
///
/// # Errors
/// Fails if a step fails.
pub(crate) async fn dev(detach: bool, fresh: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, FOLDER)?;
    let lock = take_lock(&mut stage).await?;
    let start = async {
        if fresh {
            if let Some(cloud) = Cloud::running(&stage) {
                cloud.stop(&stage).await?;
            }
            stage.clear_folder("data")?;
        }
        start_stage(&workspace, &mut stage).await
    };
    let started = tokio::select! {
        started = start => started,
        () = shutdown_signal() => {
            ui::say("");
            if let Some(cloud) = Cloud::running(&stage) {
                cloud.stop(&stage).await?;
            }
            bail!("a signal stopped xtask before the stage was ready");
        }
    };
    let cloud = started?;
    if detach {
        drop(lock);
        return start_watch_process(&workspace, &stage).await;
    }
    let (stripe, _web) = start_servers(&workspace, &stage).await?;
    print_addresses(&stage)?;
    ui::success(format!(
        "watching the sources; stop everything with {}",
        style("Ctrl-C").bold()
    ));
    tokio::select! {
        result = redeploy_on_changes(&workspace, &mut stage, &stripe) => result?,
        () = shutdown_signal() => {}
    }
    ui::say("");
    ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    stage.delete_description();
    ui::success(STOPPED);
    Ok(())
}

/// The last line that a command prints after it has stopped the stage.
const STOPPED: &str = "stopped; the data is kept in target/local/data";

/// Prepares the tools, builds the functions, starts the local cloud, and deploys to it.
///
/// # Errors
/// Fails if a step fails.
pub(crate) async fn start_stage(workspace: &Workspace, stage: &mut LocalStage) -> Result<Cloud> {
    tools::prepare(workspace).await?;
    build::build(workspace).await?;
    let cloud = ui::step("start the local cloud", Cloud::ensure(workspace, stage)).await?;
    stripe::create_missing_secrets(stage).await?;
    local_deploy::deploy(workspace, stage).await?;
    Ok(cloud)
}

/// `cargo xtask stop`.
///
/// # Errors
/// Fails if a process does not stop.
pub(crate) async fn stop() -> Result<()> {
    let workspace = Workspace::read()?;
    let stage = LocalStage::open(&workspace, FOLDER)?;
    let is_locked = stage.try_lock(LOCK)?.is_none();
    let _lock = stop_dev_process(&stage).await?;
    let cloud = Cloud::running(&stage);
    let was_running = is_locked || cloud.is_some();
    if let Some(cloud) = cloud {
        ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    }
    stage.delete_description();
    ui::success(if was_running {
        STOPPED
    } else {
        "nothing was running"
    });
    Ok(())
}

/// `cargo xtask watch`: the process that `dev --detach` starts. It redeploys when sources change.
///
/// # Errors
/// Fails if another process runs the stage, or the sources cannot be watched.
pub(crate) async fn watch() -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, FOLDER)?;
    let _lock = stage
        .try_lock(LOCK)?
        .context("cannot watch the sources: another process runs the stage local; stop it with cargo xtask stop")?;
    DevProcess::write(&stage, true)?;
    let (stripe, _web) = start_servers(&workspace, &stage).await?;
    tokio::select! {
        result = redeploy_on_changes(&workspace, &mut stage, &stripe) => result?,
        () = shutdown_signal() => {}
    }
    ui::success("stopped watching the sources");
    Ok(())
}

/// Takes the stage's lock for this process. Stops the background process of an earlier `dev --detach`.
///
/// # Errors
/// Fails if `dev` runs in another terminal.
pub(crate) async fn take_lock(stage: &mut LocalStage) -> Result<File> {
    if let Some(DevProcess {
        pid,
        detached: false,
    }) = DevProcess::read(stage)
        && process::running(pid, MARKER).is_some()
        && stage.try_lock(LOCK)?.is_none()
    {
        bail!(
            "cannot start the stage local: process {pid} runs it already; press Ctrl-C in its terminal, or run cargo xtask stop"
        );
    }
    let lock = stop_dev_process(stage).await?;
    DevProcess::write(stage, false)?;
    stage.ensure_server_ports_are_free().await?;
    Ok(lock)
}

/// Stops the process that runs the stage, if there is one, and takes the lock.
async fn stop_dev_process(stage: &LocalStage) -> Result<File> {
    let mut waiting = None;
    loop {
        if let Some(lock) = stage.try_lock(LOCK)? {
            return Ok(lock);
        }
        if waiting.is_none() {
            waiting = Some(Step::begin("wait for an earlier run to end"));
            let earlier = DevProcess::read(stage);
            let earlier = earlier.and_then(|earlier| process::running(earlier.pid, MARKER));
            earlier.map(|earlier| kill_process(earlier, Signal::TERM));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// Starts `cargo xtask watch` in the background, and waits until its servers listen.
async fn start_watch_process(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
    use std::os::unix::process::CommandExt as _;

    let log = File::create(stage.path("dev.log"))?;
    let mut watch = Command::new(std::env::current_exe()?)
        .arg("watch")
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the background process")?;
    // The app's server is the last one that starts.
    while TcpStream::connect(("127.0.0.1", stage.web_port()))
        .await
        .is_err()
    {
        if watch.try_wait()?.is_some() {
            bail!(
                "cannot start the background process:\n{}",
                fs::read_to_string(stage.path("dev.log"))?
            );
        }
        sleep(Duration::from_millis(10)).await;
    }
    print_addresses(stage)?;
    ui::success(format!(
        "running in the background; stop it with {}",
        style("cargo xtask stop").bold()
    ));
    Ok(())
}

fn print_addresses(stage: &LocalStage) -> Result<()> {
    let description = stage
        .description()
        .context("cannot read stage.json: the stage does not run")?;
    ui::say(format!("\n  {}", style("Scratchpad is ready").bold()));
    for (name, address) in [
        ("app", description.web_url.as_str()),
        ("API", &description.api_url),
        ("local cloud", &description.cloud_url),
        ("user pool", &description.user_pool_id),
        ("app client", &description.user_pool_client_id),
        ("identity pool", &description.identity_pool_id),
        ("local Stripe", &description.stripe_url),
        ("all of these as JSON", "target/local/stage.json"),
    ] {
        ui::say(format!("  {name:<22}{}", style(address).cyan()));
    }
    ui::say("");
    Ok(())
}

/// Starts the servers that are not part of the local cloud: the X-Ray daemon, which records traces to traces.jsonl, the
/// display of emailed codes, the local Stripe, and the browser app.
async fn start_servers(
    workspace: &Workspace,
    stage: &LocalStage,
) -> Result<(StripeServer, WebServer)> {
    let port = stage.xray_port();
    let daemon = xray_daemon::Daemon::bind(port)
        .with_context(|| format!("cannot start the X-Ray daemon on port {port}"))?;
    let traces = stage.path("traces.jsonl");
    tokio::spawn(async move { daemon.record(&traces, 10_000_000).await });
    tokio::spawn(mail::show_codes(stage.clone()));
    let stripe = StripeServer::start(stage).await?;
    let web = WebServer::start(workspace, stage, Serve::Sources).await?;
    Ok((stripe, web))
}

/// The folders whose files are deployed. The files in the checkout's root folder are watched as well.
const WATCHED_FOLDERS: [&str; 3] = ["infrastructure", "libs", "services"];

/// Redeploys the stage whenever sources change. Returns only if the sources cannot be watched.
async fn redeploy_on_changes(
    workspace: &Workspace,
    stage: &mut LocalStage,
    stripe: &StripeServer,
) -> Result<()> {
    let (changed, mut changes) = mpsc::unbounded_channel();
    let mut watcher = new_debouncer(
        Duration::from_millis(200),
        None,
        move |events: DebounceEventResult| {
            if events.is_ok_and(|events| events.iter().any(is_source_change)) {
                // Fails if the receiver was dropped, because this function has ended.
                let _ = changed.send(());
            }
        },
    )?;
    for folder in WATCHED_FOLDERS {
        watcher.watch(workspace.root().join(folder), RecursiveMode::Recursive)?;
    }
    watcher.watch(workspace.root(), RecursiveMode::NonRecursive)?;
    while changes.recv().await.is_some() {
        while changes.try_recv().is_ok() {}
        let redeploy = async {
            // Read the workspace again: it may have new functions.
            start_stage(&Workspace::read()?, stage).await?;
            stripe.register_webhook(stage)
        };
        match redeploy.await {
            Ok(()) => ui::success("the change is deployed"),
            Err(error) => ui::failure(&error),
        }
    }
    Ok(())
}

fn is_source_change(event: &DebouncedEvent) -> bool {
    let is_generated =
        |part: &OsStr| part == "node_modules" || part == ".serverless" || part == "target";
    let is_source = |path: &Path| !path.iter().any(is_generated);
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| is_source(path))
}
