//! The process of a local cloud: start it, find a running one, stop it.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
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
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many bytes of the log an error shows.
const SHOWN_LOG: usize = 3000;

/// The running local cloud of a stage. It outlives this value.
#[derive(Debug)]
pub(crate) struct Cloud {
    process: Pid,
}

impl Cloud {
    /// Starts the stage's cloud, unless it runs already.
    ///
    /// # Errors
    /// Fails if the cloud does not start within [`TIMEOUT`]. The message has the end of its log.
    pub(crate) async fn ensure(workspace: &Workspace, stage: &mut LocalStage) -> Result<Self> {
        if let Some(cloud) = Self::running(stage) {
            if is_ready(stage).await {
                return Ok(cloud);
            }
            cloud.stop(stage).await?;
        }
        // A killed cloud leaves files there that make the next one fail.
        stage.clear_folder("tmp")?;
        stage.ensure_cloud_port_is_free()?;
        let mut child = command(workspace, stage)?
            .spawn()
            .context("cannot start the local cloud")?;
        let process = Pid::from_child(&child);
        fs::write(pid_file(stage), process.as_raw_nonzero().to_string())?;
        let deadline = Instant::now() + TIMEOUT;
        while !is_ready(stage).await {
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(stage.path("cloud.log")).unwrap_or_default();
                let from = log.len().saturating_sub(SHOWN_LOG);
                bail!(
                    "the local cloud did not start:\n{}",
                    log.get(from..).unwrap_or(&log)
                );
            }
            sleep(Duration::from_millis(30)).await;
        }
        Ok(Self { process })
    }

    /// Returns the stage's cloud, if it runs.
    pub(crate) fn running(stage: &LocalStage) -> Option<Self> {
        let pid = fs::read_to_string(pid_file(stage))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        process::running(pid, LAUNCHER).map(|process| Self { process })
    }

    /// Stops the cloud and the functions that it runs, and waits until its data is saved. Kills it after [`TIMEOUT`].
    ///
    /// # Errors
    /// Fails if the process exists even after it was killed.
    pub(crate) async fn stop(self, stage: &LocalStage) -> Result<()> {
        kill_process(self.process, Signal::TERM).ok();
        let started = Instant::now();
        while Self::running(stage).is_some() {
            if started.elapsed() > TIMEOUT * 2 {
                let pid = self.process.as_raw_nonzero();
                bail!("the local cloud (process {pid}) was killed, but it does not end");
            }
            if started.elapsed() > TIMEOUT {
                kill_process(self.process, Signal::KILL).ok();
            }
            sleep(Duration::from_millis(30)).await;
        }
        // The functions are in the cloud's process group. Most end with the cloud; this ends the rest.
        kill_process_group(self.process, Signal::KILL).ok();
        fs::remove_file(pid_file(stage)).ok();
        Ok(())
    }
}

fn pid_file(stage: &LocalStage) -> PathBuf {
    stage.path("cloud.pid")
}

async fn is_ready(stage: &LocalStage) -> bool {
    let response = reqwest::get(format!("{}/_ministack/ready", stage.url())).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// A command with the cloud's environment and nothing of this process's environment. The functions inherit it from the
/// cloud, so they cannot find credentials or endpoints of AWS.
fn isolated(program: impl AsRef<OsStr>, stage: &LocalStage) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment(stage));
    command
}

/// Returns the command that starts the cloud, with an environment that has nothing from this process but `PATH`.
fn command(workspace: &Workspace, stage: &LocalStage) -> Result<Command> {
    use std::os::unix::process::CommandExt as _;

    fs::create_dir_all(stage.path("data").join("s3"))?;
    let log = File::create(stage.path("cloud.log"))?;
    let mut command = isolated(workspace.python(), stage);
    command
        .arg(LAUNCHER)
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C must reach only this tool, which then stops the cloud and waits for it to save its data.
        .process_group(0);
    Ok(command)
}

fn environment(stage: &LocalStage) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (data, temporary) = (stage.path("data"), text(&stage.path("tmp")));
    let mut environment = stage.aws_environment();
    environment.extend([
        ("PATH", env::var("PATH").unwrap_or_default()),
        ("HOME", temporary.clone()),
        ("TMPDIR", temporary),
        ("BIND_HOST", "127.0.0.1".into()),
        ("GATEWAY_PORT", stage.port().to_string()),
        ("MINISTACK_HOST", "127.0.0.1".into()),
        ("MINISTACK_REGION", REGION.into()),
        ("MINISTACK_ACCOUNT_ID", stage.account().into()),
        // Check signatures and policies, as AWS does.
        ("AUTH", "true".into()),
        ("PERSIST_STATE", "1".into()),
        ("STATE_DIR", text(&data.join("state"))),
        ("S3_PERSIST", "1".into()),
        ("S3_DATA_DIR", text(&data.join("s3"))),
        (
            "AWS_XRAY_DAEMON_ADDRESS",
            format!("127.0.0.1:{}", stage.xray_port()),
        ),
        // An asynchronous invocation that fails is retried after 5 s and after 10 s more. The idempotency lease of
        // a function that crashed has expired by then.
        ("LAMBDA_ASYNC_RETRY_BASE_SECONDS", "5".into()),
        // Otherwise ministack removes containers from any Docker engine that it finds.
        ("DOCKER_HOST", "unix:///nonexistent".into()),
        // These services listen on fixed ports, which a second clone of the project would need too.
        ("IOT_MTLS_ENABLED", "0".into()),
        ("SFTP_ENABLED", "0".into()),
    ]);
    environment
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::stage::tests::stage;

    #[test]
    fn the_local_cloud_inherits_only_path_and_has_its_own_endpoint() {
        let (_folder, stage) = stage();
        let output = isolated("env", &stage).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let seen: BTreeMap<_, _> = output
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        assert_eq!(seen["AWS_ENDPOINT_URL"], stage.url());
        let declared = environment(&stage);
        let declared: BTreeMap<_, _> = declared
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(seen, declared);
        assert_eq!(seen["PATH"], env::var("PATH").unwrap());
    }
}
