//! Configures and serves the browser app on this machine.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use crate::{
    stage::{Description, LocalStage, STAGE, write_atomically},
    ui::{self, Step, run},
    workspace::Workspace,
};

/// The name of the configuration file that the browser app loads when it starts. This is the only file of the app that
/// differs between stages.
const CONFIG: &str = "config.json";

/// The version of the browser app that the server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serve {
    /// The source files. The browser shows a change as soon as the changed file is saved.
    Sources,
    /// The production build, with the HTTP headers that CloudFront sends.
    Build,
}

/// A running server of the browser app. Dropping this value stops the server.
pub(crate) struct WebServer {
    _vite: Child,
}

impl WebServer {
    /// Starts the server of the browser app for a running stage, and waits until the server listens.
    ///
    /// # Errors
    /// Fails if the stage does not run, or if Vite cannot build or serve the app. If the build fails, the message
    /// contains Vite's output.
    pub(crate) async fn start(
        workspace: &Workspace,
        stage: &LocalStage,
        serve: Serve,
    ) -> Result<Self> {
        let description = stage
            .description()
            .context("cannot read stage.json: the stage does not run")?;
        write_config(stage, &description)?;
        let mut vite = vite(workspace, stage);
        if serve == Serve::Build {
            let step = Step::begin("build the browser app");
            let mut build = self::vite(workspace, stage);
            let built = stage.path("web");
            run(
                &step,
                build
                    .args(["build", "--emptyOutDir", "--outDir"])
                    .arg(&built),
            )
            .await?;
            step.done("");
            vite.args(["preview", "--outDir"]).arg(&built);
        }
        let port = stage.web_port().to_string();
        let mut vite = vite
            .args(["--host", "127.0.0.1", "--strictPort", "--port", &port])
            // Vite exits when its standard input closes, which also happens if this process is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start Vite, the browser app's server")?;
        while TcpStream::connect(("127.0.0.1", stage.web_port()))
            .await
            .is_err()
        {
            if let Some(status) = vite.try_wait()? {
                bail!("cannot serve the browser app on port {port}: Vite exited ({status})");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { _vite: vite })
    }
}

/// Returns a command that runs Vite for the browser app. Vite also serves the stage's [`CONFIG`].
fn vite(workspace: &Workspace, stage: &LocalStage) -> Command {
    let mut vite = ui::command(workspace.node_bin("vite"));
    vite.current_dir(workspace.root().join("web"))
        .env("SCRATCHPAD_CONFIG", stage.path(CONFIG));
    vite
}

fn write_config(stage: &LocalStage, description: &Description) -> Result<()> {
    let config = json!({
        "stage": STAGE,
        "apiUrl": description.api_url,
        "region": description.region,
        "userPoolId": description.user_pool_id,
        "userPoolClientId": description.user_pool_client_id,
        "identityPoolId": description.identity_pool_id,
        // Use the local cloud instead of AWS.
        "cognitoEndpoint": description.cloud_url,
        "filesUrl": description.cloud_url,
    });
    let more = [
        crate::stripe::web_config(description), // part: billing
    ];
    let config = merge(config, more);
    write_atomically(&stage.path(CONFIG), &serde_json::to_vec_pretty(&config)?)
}

/// Adds the members of `more` to the object `config`.
pub(crate) fn merge<const N: usize>(mut config: Value, more: [Map<String, Value>; N]) -> Value {
    if let Value::Object(config) = &mut config {
        config.extend(more.into_iter().flatten());
    }
    config
}
