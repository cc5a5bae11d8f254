//! Starts, finds and stops a local cloud: the process that emulates AWS on this machine.

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
    stage::{LocalStage, STAGE},
    workspace::Workspace,
};

const LAUNCHER: &str = "local/cloud/launch.py";

/// The timeout for the start of a local cloud, and for its shutdown, during which it saves its data.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of bytes that an error message shows from the end of the local cloud's log.
const SHOWN_LOG: usize = 3000;

/// The running local cloud of a stage. Dropping this value does not stop the cloud.
#[derive(Debug)]
pub(crate) struct Cloud {
    process: Pid,
}

impl Cloud {
    /// Starts the local cloud of `stage`, unless it runs already and responds. Restarts a local cloud that does not
    /// respond.
    ///
    /// # Errors
    /// Fails if the local cloud exits or is not ready within [`TIMEOUT`]. The message contains the end of the cloud's
    /// log.
    pub(crate) async fn ensure(workspace: &Workspace, stage: &mut LocalStage) -> Result<Self> {
        if let Some(cloud) = Self::running(stage) {
            if is_ready(stage).await {
                return Ok(cloud);
            }
            cloud.stop(stage).await?;
        }
        // A cloud that was killed leaves temporary files that make its next start fail.
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

    /// Returns the local cloud of `stage`. `None` if it does not run.
    pub(crate) fn running(stage: &LocalStage) -> Option<Self> {
        let pid = fs::read_to_string(pid_file(stage))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        process::running(pid, LAUNCHER).map(|process| Self { process })
    }

    /// Stops the local cloud and the functions that run in it, and waits until the cloud has saved its data. Kills the
    /// cloud if it still runs after [`TIMEOUT`].
    ///
    /// # Errors
    /// Fails if the process of the local cloud still runs after another [`TIMEOUT`].
    pub(crate) async fn stop(self, stage: &LocalStage) -> Result<()> {
        kill_process(self.process, Signal::TERM).ok();
        let started = Instant::now();
        while Self::running(stage).is_some() {
            if started.elapsed() > TIMEOUT * 2 {
                let pid = self.process.as_raw_nonzero();
                bail!("cannot stop the local cloud: process {pid} still runs after SIGKILL");
            }
            if started.elapsed() > TIMEOUT {
                kill_process(self.process, Signal::KILL).ok();
            }
            sleep(Duration::from_millis(30)).await;
        }
        // The functions are in the cloud's process group. Kill the functions that did not exit with the cloud.
        kill_process_group(self.process, Signal::KILL).ok();
        fs::remove_file(pid_file(stage)).ok();
        Ok(())
    }
}

/// Opens the stage that commands with `--stage local` use: the one that `cargo xtask dev` runs, or the one whose `stage.json`
/// is in the environment variable `SCRATCHPAD_STAGE`, as in the tests of a stage.
///
/// # Errors
/// Fails if the stage does not run.
pub(crate) fn running_stage(workspace: &Workspace) -> Result<LocalStage> {
    let file = env::var_os("SCRATCHPAD_STAGE").map(PathBuf::from);
    let folder = file
        .as_ref()
        .and_then(|file| file.parent()?.file_name()?.to_str());
    let stage = LocalStage::open(workspace, folder.unwrap_or(STAGE))?;
    if Cloud::running(&stage).is_none() {
        bail!("the stage {STAGE} does not run; start it with cargo xtask dev");
    }
    Ok(stage)
}

fn pid_file(stage: &LocalStage) -> PathBuf {
    stage.path("cloud.pid")
}

async fn is_ready(stage: &LocalStage) -> bool {
    let response = reqwest::get(format!("{}/_ministack/ready", stage.url())).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// Returns a command that has only the environment variables of [`environment`]. The functions inherit these variables
/// from the local cloud, so they cannot find the developer's AWS credentials or endpoints.
fn isolated(program: impl AsRef<OsStr>, stage: &LocalStage) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment(stage));
    command
}

/// Returns the command that starts the local cloud of `stage`. The output of the local cloud goes to the file
/// `cloud.log`.
fn command(workspace: &Workspace, stage: &LocalStage) -> Result<Command> {
    use std::os::unix::process::CommandExt as _;

    fs::create_dir_all(stage.path("data").join("s3"))?;
    let log = File::create(stage.path("cloud.log"))?;
    if let Some(calls) = stage.recorded_calls() {
        File::create(calls)?;
    }
    let mut command = isolated(workspace.python(), stage);
    command
        .arg(LAUNCHER)
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C must signal only xtask, which then stops the cloud and waits until the cloud has saved its data.
        .process_group(0);
    Ok(command)
}

/// Returns the environment variables of the local cloud of `stage`. Only `PATH` is copied from the environment of
/// xtask.
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
        ("MINISTACK_REGION", stage.region().into()),
        ("MINISTACK_ACCOUNT_ID", stage.account().into()),
        // Check signatures and IAM policies, as AWS does.
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
        (
            "SCRATCHPAD_MINUTE_MS",
            stage.minute().as_millis().to_string(),
        ),
        // Without this URL, ministack would find the machine's Docker engine and remove containers from it.
        ("DOCKER_HOST", "unix:///nonexistent".into()),
        // These services listen on fixed ports, so two checkouts could not run at the same time.
        ("IOT_MTLS_ENABLED", "0".into()),
        ("SFTP_ENABLED", "0".into()),
    ]);
    if let Some(calls) = stage.recorded_calls() {
        environment.push(("RECORDED_CALLS", text(&calls)));
    }
    environment
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::stage::tests::stage;

    #[test]
    fn the_local_cloud_inherits_only_the_variable_path_and_has_its_own_endpoint() {
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
