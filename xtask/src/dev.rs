//! The commands `dev`, `stop` and `watch`: start, redeploy and stop the whole product on this machine.

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
use tokio::{sync::mpsc, time::sleep};

use crate::stripe::{self, StripeServer}; // part: billing
use crate::web::{Serve, WebServer}; // part: web
use crate::{
    build,
    cloud::Cloud,
    local_deploy, mail,
    process::{self, shutdown_signal},
    stage::{LocalStage, write_atomically},
    tools,
    ui::{self, Step},
    workspace::Workspace,
};

/// The name of the file that is locked by the process that runs the stage `local`. [`PROCESS_FILE`] contains the ID of
/// that process.
const LOCK: &str = "dev.lock";

/// The name of the file that the background process creates when all servers run.
const WATCHING: &str = "watching";

/// The name of the file that contains a [`DevProcess`] as JSON.
const PROCESS_FILE: &str = "dev.json";

/// A text in the command line of every xtask process. It distinguishes xtask from other programs.
const MARKER: &str = "xtask";

/// The name of the folder in target/ that contains the files of the stage `local`.
const FOLDER: &str = "local";

/// The process that runs the stage `local`. It locks the file [`LOCK`], and redeploys the stage when sources change.
#[derive(Serialize, Deserialize)]
struct DevProcess {
    pid: i32,
    /// Whether the process was started by `cargo xtask dev --detach`, and so runs in the background.
    detached: bool,
}

impl DevProcess {
    /// Reads [`PROCESS_FILE`], which describes the process that ran the stage last. That process may have exited.
    /// `None` if the file is missing or invalid.
    fn read(stage: &LocalStage) -> Option<Self> {
        serde_json::from_slice(&fs::read(stage.path(PROCESS_FILE)).ok()?).ok()
    }

    /// Writes [`PROCESS_FILE`], so that it describes the current process.
    fn write(stage: &LocalStage, detached: bool) -> Result<()> {
        let pid = std::process::id().try_into()?;
        write_atomically(
            &stage.path(PROCESS_FILE),
            &serde_json::to_vec(&Self { pid, detached })?,
        )
    }
}

/// Runs `cargo xtask dev`: starts the stage `local`, and redeploys it on every change until Ctrl-C. If `fresh` is true,
/// the data of earlier runs is deleted first. If `detach` is true, a background process redeploys the stage, and this
/// function returns when the stage is ready.
///
/// # Errors
/// Fails if the stage runs already in another terminal, or if it cannot be built, started or deployed.
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
    let servers = Servers::start(&stage).await?;
    let _web = WebServer::start(&workspace, &stage, Serve::Sources).await?; // part: web
    print_addresses(&stage)?;
    ui::success(format!(
        "watching the sources; stop everything with {}",
        style("Ctrl-C").bold()
    ));
    tokio::select! {
        result = servers.redeploy_on_changes(&workspace, &mut stage) => result?,
        () = shutdown_signal() => {}
    }
    ui::say("");
    ui::step("stop the local cloud", cloud.stop(&stage)).await?;
    stage.delete_description();
    ui::success(STOPPED);
    Ok(())
}

/// The message that `dev` and `stop` print last, after they have stopped the stage.
const STOPPED: &str = "stopped; the data is kept in target/local/data";

/// Installs the tools, builds the functions, starts the local cloud of `stage`, creates missing secrets, and deploys
/// all stacks to the local cloud.
///
/// # Errors
/// Fails if a tool cannot be installed, a function does not compile, the local cloud does not start, or a stack cannot
/// be deployed.
pub(crate) async fn start_stage(workspace: &Workspace, stage: &mut LocalStage) -> Result<Cloud> {
    tools::prepare(workspace).await?;
    // The templates do not depend on the binaries.
    let work = async {
        tokio::try_join!(
            build::build(workspace),
            local_deploy::synthesize(workspace, stage)
        )
    };
    ui::without_progress(work).await?;
    let cloud = ui::step("start the local cloud", Cloud::ensure(workspace, stage)).await?;
    stripe::create_missing_secrets(stage).await?; // part: billing
    local_deploy::deploy(workspace, stage).await?;
    Ok(cloud)
}

/// Runs `cargo xtask stop`: stops the processes of the stage `local`, and keeps the data of the stage.
///
/// # Errors
/// Fails if the local cloud does not stop.
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

/// Runs `cargo xtask watch`, which `cargo xtask dev --detach` starts as a background process: starts the servers
/// outside the local cloud, and redeploys the stage `local` when sources change.
///
/// # Errors
/// Fails if another process runs the stage, a server cannot start, or the sources cannot be watched.
pub(crate) async fn watch() -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, FOLDER)?;
    let _lock = stage
        .try_lock(LOCK)?
        .context("cannot watch the sources: another process runs the stage local; stop it with cargo xtask stop")?;
    DevProcess::write(&stage, true)?;
    let servers = Servers::start(&stage).await?;
    let _web = WebServer::start(&workspace, &stage, Serve::Sources).await?; // part: web
    fs::write(stage.path(WATCHING), "")?;
    tokio::select! {
        result = servers.redeploy_on_changes(&workspace, &mut stage) => result?,
        () = shutdown_signal() => {}
    }
    ui::success("stopped watching the sources");
    Ok(())
}

/// Locks the file [`LOCK`] for this process until the returned file is dropped. First stops the background process of
/// an earlier `cargo xtask dev --detach`.
///
/// # Errors
/// Fails if `cargo xtask dev` runs in another terminal.
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

/// Stops the process that runs the stage, if there is one. Locks the file [`LOCK`] until the returned file is dropped.
async fn stop_dev_process(stage: &LocalStage) -> Result<File> {
    let mut waiting = None;
    loop {
        if let Some(lock) = stage.try_lock(LOCK)? {
            return Ok(lock);
        }
        if waiting.is_none() {
            waiting = Some(Step::begin(
                "wait for the process that runs the stage to end",
            ));
            let earlier = DevProcess::read(stage);
            let earlier = earlier.and_then(|earlier| process::running(earlier.pid, MARKER));
            earlier.map(|earlier| kill_process(earlier, Signal::TERM));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

/// Starts `cargo xtask watch` as a background process, and waits until the servers of that process listen.
async fn start_watch_process(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
    use std::os::unix::process::CommandExt as _;

    let watching = stage.path(WATCHING);
    if watching.exists() {
        fs::remove_file(&watching)?;
    }
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
    while !watching.exists() {
        if watch.try_wait()?.is_some() {
            bail!(
                "cannot start the background process; its log is:\n{}",
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
        ("app", description.web_url.as_str()), // part: web
        ("API", description.api_url.as_str()),
        ("local cloud", &description.cloud_url),
        ("user pool", &description.user_pool_id),
        ("app client", &description.user_pool_client_id),
        ("identity pool", &description.identity_pool_id),
        ("local Stripe", &description.stripe_url), // part: billing
        ("all of these as JSON", "target/local/stage.json"),
    ] {
        ui::say(format!("  {name:<22}{}", style(address).cyan()));
    }
    ui::say("");
    Ok(())
}

/// Starts the X-Ray daemon of a stage, which writes the traces of functions to traces.jsonl.
///
/// # Errors
/// Fails if the port of the daemon is in use.
pub(crate) fn record_traces(stage: &LocalStage) -> Result<()> {
    let port = stage.xray_port();
    let daemon = xray_daemon::Daemon::bind(port)
        .with_context(|| format!("cannot start the X-Ray daemon on port {port}"))?;
    let traces = stage.path("traces.jsonl");
    tokio::spawn(async move { daemon.record(&traces, 10_000_000).await });
    Ok(())
}

/// The folders that are watched for changes of sources, including their subfolders. The files directly in the root of
/// the checkout are watched too.
const WATCHED_FOLDERS: [&str; 3] = ["infrastructure", "libs", "services"];

/// The servers that are not part of the local cloud.
struct Servers {
    stripe: StripeServer, // part: billing
}

impl Servers {
    /// Starts the servers, and the X-Ray daemon. Also starts to print the confirmation codes and alarms that are sent by
    /// email.
    async fn start(stage: &LocalStage) -> Result<Self> {
        record_traces(stage)?;
        tokio::spawn(mail::show_mails(stage.clone()));
        Ok(Self {
            stripe: StripeServer::start(stage).await?, // part: billing
        })
    }

    /// Redeploys the stage `local` whenever sources change. Returns only if the sources cannot be watched.
    async fn redeploy_on_changes(
        &self,
        workspace: &Workspace,
        stage: &mut LocalStage,
    ) -> Result<()> {
        let (changed, mut changes) = mpsc::unbounded_channel();
        let root = workspace.root().to_owned();
        let mut watcher = new_debouncer(
            Duration::from_millis(200),
            None,
            move |events: DebounceEventResult| {
                if events
                    .is_ok_and(|events| events.iter().any(|event| is_source_change(&root, event)))
                {
                    // The send fails only if this function has ended and dropped the receiver.
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
                self.stripe.register_webhook(stage)?; // part: billing
                anyhow::Ok(())
            };
            match redeploy.await {
                Ok(()) => ui::success("the change is deployed"),
                Err(error) => ui::failure(&error),
            }
        }
        Ok(())
    }
}

fn is_source_change(root: &Path, event: &DebouncedEvent) -> bool {
    !matches!(event.kind, EventKind::Access(_))
        && event.paths.iter().any(|path| is_source(root, path))
}

/// Whether a file of the checkout in the folder `root` is not generated.
fn is_source(root: &Path, path: &Path) -> bool {
    // The names of the folders in which the checkout is do not matter.
    let path = path.strip_prefix(root).unwrap_or(path);
    let is_generated =
        |part: &OsStr| part == "node_modules" || part == ".serverless" || part == "target";
    !path.iter().any(is_generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_not_sources_wherever_the_checkout_is() {
        for root in ["/home/ada/notes", "/home/ada/target/notes"].map(Path::new) {
            assert!(is_source(
                root,
                &root.join("services/notes-api/serverless.yml")
            ));
            for generated in ["target/debug/notes-get", "web/node_modules/x.js"] {
                assert!(!is_source(root, &root.join(generated)), "{generated}");
            }
        }
    }
}
