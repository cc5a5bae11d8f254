//! `dev` and `stop`: the whole product on this machine.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use console::style;
use notify_debouncer_full::{
    DebounceEventResult, new_debouncer,
    notify::{EventKind, RecursiveMode},
};
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};

use crate::{
    build,
    cloud::Cloud,
    deploy, mail, process,
    stage::{LocalStage, write_whole},
    stripe::{self, Double},
    tools,
    ui::{self, Step},
    web::{Serving, Web},
    workspace::Workspace,
};

/// ClaimGuard by the process that keeps the stage; its file says which that is.
const LOCK: &str = "dev.lock";
const KEEPER: &str = "dev.json";

/// By what the process is known for one of ours.
const MARK: &str = "xtask";

/// The process that keeps the stage.
#[derive(Serialize, Deserialize)]
struct Keeper {
    pid: i32,
    detached: bool,
}

/// `cargo xtask dev`.
///
/// # Errors
/// Says which step failed, and why.
pub(crate) async fn dev(detach: bool, fresh: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, "local")?;
    let lock = take_over(&mut stage).await?;
    let work = async {
        if fresh {
            if let Some(cloud) = Cloud::running(&stage) {
                cloud.stop(&stage).await?;
            }
            stage.empty("data")?;
        }
        up(&workspace, &mut stage).await
    };
    let started = tokio::select! {
        started = work => started,
        () = told_to_stop() => {
            ui::say("");
            if let Some(cloud) = Cloud::running(&stage) {
                cloud.stop(&stage).await?;
            }
            bail!("stopped before it was ready");
        }
    };
    let cloud = started?;
    if detach {
        drop(lock);
        return leave_running(&workspace, &stage).await;
    }
    let (stripe, _web) = start_outside(&workspace, &stage).await?;
    announce(&stage)?;
    ui::say(format!(
        "{} the sources are watched; {} ends it all",
        style("✓").green(),
        style("Ctrl-C").bold()
    ));
    tokio::select! {
        result = watch(&workspace, &mut stage, &stripe) => result?,
        () = told_to_stop() => {}
    }
    ui::say("");
    ui::step("stop", cloud.stop(&stage)).await?;
    stage.retract();
    Ok(())
}

/// Brings the stage up: tools, functions, cloud, stacks.
///
/// # Errors
/// Says which step failed, and why.
pub(crate) async fn up(workspace: &Workspace, stage: &mut LocalStage) -> Result<Cloud> {
    tools::prepare(workspace).await?;
    build::build(workspace).await?;
    let step = Step::begin("start the local cloud");
    let cloud = Cloud::ensure(workspace, stage).await?;
    step.done("");
    stripe::make_secrets(stage).await?;
    deploy::converge(workspace, stage).await?;
    Ok(cloud)
}

/// `cargo xtask stop`.
///
/// # Errors
/// When something does not stop.
pub(crate) async fn stop() -> Result<()> {
    let workspace = Workspace::read()?;
    let stage = LocalStage::open(&workspace, "local")?;
    let mut found = false;
    if stage.try_lock(LOCK)?.is_none() {
        found = true;
    }
    let _lock = end_keeper(&stage).await?;
    if let Some(cloud) = Cloud::running(&stage) {
        found = true;
        ui::step("stop", cloud.stop(&stage)).await?;
    }
    stage.retract();
    if !found {
        ui::say("Nothing was running.");
    }
    Ok(())
}

/// What `dev --detach` leaves running: the watch, for the terminal is gone.
///
/// # Errors
/// When the sources cannot be watched.
pub(crate) async fn watch_in_background() -> Result<()> {
    let workspace = Workspace::read()?;
    let mut stage = LocalStage::open(&workspace, "local")?;
    let _lock = stage
        .try_lock(LOCK)?
        .context("another process keeps the stage")?;
    keep(&stage, true)?;
    let (stripe, _web) = start_outside(&workspace, &stage).await?;
    tokio::select! {
        result = watch(&workspace, &mut stage, &stripe) => result,
        () = told_to_stop() => Ok(()),
    }
}

/// Takes the lock, and the place of a watch in the background, which ends; one in another terminal
/// stays.
pub(crate) async fn take_over(stage: &mut LocalStage) -> Result<File> {
    if let Some(Keeper {
        pid,
        detached: false,
    }) = keeper(stage)
        && process::running(pid, MARK).is_some()
        && stage.try_lock(LOCK)?.is_none()
    {
        bail!("it runs already (process {pid}): end it in its terminal, or by cargo xtask stop");
    }
    let lock = end_keeper(stage).await?;
    keep(stage, false)?;
    stage.settle_outside_ports().await?;
    Ok(lock)
}

/// Ends the process that keeps the stage, if there is one, and takes the lock from it.
async fn end_keeper(stage: &LocalStage) -> Result<File> {
    let mut waiting = None;
    loop {
        if let Some(lock) = stage.try_lock(LOCK)? {
            return Ok(lock);
        }
        if waiting.is_none() {
            waiting = Some(Step::begin("wait for an earlier run to end"));
            let keeper = keeper(stage).and_then(|keeper| process::running(keeper.pid, MARK));
            keeper.map(|keeper| kill_process(keeper, Signal::TERM));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

fn keeper(stage: &LocalStage) -> Option<Keeper> {
    serde_json::from_slice(&fs::read(stage.path(KEEPER)).ok()?).ok()
}

fn keep(stage: &LocalStage, detached: bool) -> Result<()> {
    let pid = std::process::id().try_into()?;
    write_whole(
        &stage.path(KEEPER),
        &serde_json::to_vec(&Keeper { pid, detached })?,
    )
}

/// Starts the watch in the background, and waits until what stands in for the outside listens.
async fn leave_running(workspace: &Workspace, stage: &LocalStage) -> Result<()> {
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
        .context("the watch cannot be started")?;
    // The app's server is the last to listen.
    while TcpStream::connect(("127.0.0.1", stage.web_port()))
        .await
        .is_err()
    {
        if watch.try_wait()?.is_some() {
            bail!(
                "the watch ended: {}",
                fs::read_to_string(stage.path("dev.log"))?
            );
        }
        sleep(Duration::from_millis(10)).await;
    }
    announce(stage)?;
    ui::say(format!(
        "{} it goes on in the background; {} ends it",
        style("✓").green(),
        style("cargo xtask stop").bold()
    ));
    Ok(())
}

fn announce(stage: &LocalStage) -> Result<()> {
    let description = stage
        .description()
        .context("the stage was just described")?;
    ui::say(format!("\n  {}", style("Scratchpad is ready").bold()));
    for (what, at) in [
        ("app", description.web_url.as_str()),
        ("API", &description.api_url),
        ("local cloud", &description.cloud_url),
        ("user pool", &description.user_pool_id),
        ("app client", &description.user_pool_client_id),
        ("identity pool", &description.identity_pool_id),
        ("Stripe's double", &description.stripe_url),
        ("all of it, as JSON", "target/local/stage.json"),
    ] {
        ui::say(format!("  {what:<20}{}", style(at).cyan()));
    }
    ui::say("");
    Ok(())
}

/// Waits for Ctrl-C, or for `stop`.
pub(crate) async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// What the stage is made from.
const SOURCES: [&str; 3] = ["infrastructure", "libs", "services"];

/// Starts what is outside of the cloud: the X-Ray daemon, which records traces, the mailbox, Stripe,
/// and the server of the browser app.
async fn start_outside(workspace: &Workspace, stage: &LocalStage) -> Result<(Double, Web)> {
    let traces =
        xray_daemon::Daemon::bind(stage.xray_port()).context("the X-Ray daemon cannot listen")?;
    let recorded = stage.path("traces.jsonl");
    tokio::spawn(async move { traces.record(&recorded, 10_000_000).await });
    tokio::spawn(mail::show_codes(stage.clone()));
    let stripe = Double::start(stage).await?;
    let web = Web::start(workspace, stage, Serving::Sources).await?;
    Ok((stripe, web))
}

/// Brings the stage up to the sources whenever these change.
async fn watch(workspace: &Workspace, stage: &mut LocalStage, stripe: &Double) -> Result<()> {
    let (changed, mut changes) = mpsc::unbounded_channel();
    let mut watcher = new_debouncer(
        Duration::from_millis(200),
        None,
        move |events: DebounceEventResult| {
            let is_source = |path: &Path| {
                let ignored = |part: &std::ffi::OsStr| {
                    part == "node_modules" || part == ".serverless" || part == "target"
                };
                !path.iter().any(ignored)
            };
            let real = events.is_ok_and(|events| {
                events.iter().any(|event| {
                    !matches!(event.kind, EventKind::Access(_))
                        && event.paths.iter().any(|path| is_source(path))
                })
            });
            if real {
                // The other end goes when the watch ends.
                let _ = changed.send(());
            }
        },
    )?;
    for folder in SOURCES {
        watcher.watch(workspace.root().join(folder), RecursiveMode::Recursive)?;
    }
    watcher.watch(workspace.root(), RecursiveMode::NonRecursive)?;
    while changes.recv().await.is_some() {
        while changes.try_recv().is_ok() {}
        // New functions are found, and the old ones serve on until the new ones are in place.
        let update = async {
            up(&Workspace::read()?, stage).await?;
            stripe.register(stage)
        };
        match update.await {
            Ok(()) => ui::say(format!("{} live", style("✓").green())),
            Err(error) => ui::failure(&error),
        }
    }
    Ok(())
}
