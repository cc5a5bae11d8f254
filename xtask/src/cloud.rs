//! The local cloud's process: started, found again, stopped.

use std::{
    env,
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};

use crate::{
    process,
    stage::{LocalStage, REGION},
    workspace::Workspace,
};

const LAUNCHER: &str = "local/cloud/launch.py";

/// How long the cloud may take to start, and to save its data when it stops.
const PATIENCE: Duration = Duration::from_secs(60);

/// The local cloud of a stage, running.
#[derive(Debug)]
pub(crate) struct Cloud {
    process: Pid,
}

impl Cloud {
    /// Starts the cloud, or finds the one that an earlier run left.
    ///
    /// # Errors
    /// With the end of its log when it does not come up.
    pub(crate) async fn ensure(workspace: &Workspace, stage: &mut LocalStage) -> Result<Self> {
        if let Some(cloud) = Self::running(stage) {
            if is_ready(stage).await {
                return Ok(cloud);
            }
            cloud.stop(stage).await?;
        }
        // A cloud that was killed leaves files there that the next one would trip over.
        stage.empty("tmp")?;
        stage.settle_port()?;
        let mut child = command(workspace, stage)?
            .spawn()
            .context("the local cloud cannot be started")?;
        let process = Pid::from_child(&child);
        fs::write(pid_file(stage), process.as_raw_nonzero().to_string())?;
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(stage).await {
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(stage.path("cloud.log")).unwrap_or_default();
                let from = log.len().saturating_sub(3000);
                bail!(
                    "the local cloud did not start:\n{}",
                    log.get(from..).unwrap_or(&log)
                );
            }
            sleep(Duration::from_millis(30)).await;
        }
        Ok(Self { process })
    }

    /// The cloud that runs for this stage, if one does.
    pub(crate) fn running(stage: &LocalStage) -> Option<Self> {
        let pid = fs::read_to_string(pid_file(stage))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        process::running(pid, LAUNCHER).map(|process| Self { process })
    }

    /// Stops the cloud, with the functions that it runs, and waits until its data is saved.
    ///
    /// # Errors
    /// When it does not stop.
    pub(crate) async fn stop(self, stage: &LocalStage) -> Result<()> {
        let gone = || Self::running(stage).is_none();
        kill_process(self.process, Signal::TERM).ok();
        let deadline = Instant::now() + PATIENCE;
        while !gone() {
            if Instant::now() > deadline {
                kill_process(self.process, Signal::KILL).ok();
            }
            sleep(Duration::from_millis(30)).await;
        }
        // The functions are of the cloud's group. Most end with it; none outlives it.
        kill_process_group(self.process, Signal::KILL).ok();
        fs::remove_file(pid_file(stage)).ok();
        Ok(())
    }
}

fn pid_file(stage: &LocalStage) -> PathBuf {
    stage.path("cloud.pid")
}

async fn is_ready(stage: &LocalStage) -> bool {
    let answer = reqwest::get(format!("{}/_ministack/ready", stage.url())).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// The cloud's command. Its environment is made here from nothing, for the functions inherit it.
fn command(workspace: &Workspace, stage: &LocalStage) -> Result<Command> {
    use std::os::unix::process::CommandExt as _;

    let data = stage.path("data");
    fs::create_dir_all(data.join("s3"))?;
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let log = File::create(stage.path("cloud.log"))?;
    let mut command = Command::new(workspace.python());
    command
        .arg(LAUNCHER)
        .current_dir(workspace.root())
        .env_clear()
        .envs(stage.aws_environment())
        .envs([
            ("PATH", env::var("PATH").unwrap_or_default()),
            ("HOME", path(stage.path("tmp"))),
            ("TMPDIR", path(stage.path("tmp"))),
            ("BIND_HOST", "127.0.0.1".into()),
            ("GATEWAY_PORT", stage.port().to_string()),
            ("MINISTACK_HOST", "127.0.0.1".into()),
            ("MINISTACK_REGION", REGION.into()),
            ("MINISTACK_ACCOUNT_ID", stage.account().into()),
            // Signatures and policies are checked, as AWS does.
            ("AUTH", "true".into()),
            ("PERSIST_STATE", "1".into()),
            ("STATE_DIR", path(data.join("state"))),
            ("S3_PERSIST", "1".into()),
            ("S3_DATA_DIR", path(data.join("s3"))),
            (
                "AWS_XRAY_DAEMON_ADDRESS",
                format!("127.0.0.1:{}", stage.xray_port()),
            ),
            // A function that failed on an event gets it again after 5 s and after 10 s more. By then,
            // what it claimed before it died is free.
            ("LAMBDA_ASYNC_RETRY_BASE_SECONDS", "5".into()),
            // It would tidy up the containers of a Docker engine that it finds.
            ("DOCKER_HOST", "unix:///nonexistent".into()),
            // Services that listen on ports of their own, which two clones would fight for.
            ("IOT_MTLS_ENABLED", "0".into()),
            ("SFTP_ENABLED", "0".into()),
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A group of its own: Ctrl-C reaches this tool alone, which then stops the cloud in order.
        .process_group(0);
    Ok(command)
}
