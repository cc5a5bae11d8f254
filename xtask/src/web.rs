//! The browser app on this machine: built, told which stage it is for, and served.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use crate::{
    stage::{Description, LocalStage, STAGE, write_whole},
    ui::{self, Step, run},
    workspace::Workspace,
};

/// What the app reads when it starts: the one file by which a stage's app differs from another's.
const CONFIG: &str = "config.json";

/// How the app is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serving {
    /// From its sources: what is saved is in the browser at once.
    Sources,
    /// As it is deployed: built, and with the headers that CloudFront sends.
    Build,
}

/// The app's server. It ends when this is dropped.
pub(crate) struct Web {
    _server: Child,
}

impl Web {
    /// Serves the app of a stage that is up.
    ///
    /// # Errors
    /// With what Vite says when the app cannot be built or served.
    pub(crate) async fn start(
        workspace: &Workspace,
        stage: &LocalStage,
        serving: Serving,
    ) -> Result<Self> {
        let description = stage
            .description()
            .context("the stage was just described")?;
        configure(stage, &description)?;
        let mut vite = vite(workspace, stage);
        if serving == Serving::Build {
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
        let mut server = vite
            .args(["--host", "127.0.0.1", "--strictPort", "--port", &port])
            // It ends with its standard input, also when this process is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the browser app cannot be served")?;
        while TcpStream::connect(("127.0.0.1", stage.web_port()))
            .await
            .is_err()
        {
            if let Some(status) = server.try_wait()? {
                bail!("the browser app cannot be served on port {port} ({status})");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { _server: server })
    }
}

/// Vite, which also serves the stage's configuration.
fn vite(workspace: &Workspace, stage: &LocalStage) -> Command {
    let mut vite = ui::command(workspace.node_bin("vite"));
    vite.current_dir(workspace.root().join("web"))
        .env("SCRATCHPAD_CONFIG", stage.path(CONFIG));
    vite
}

/// Writes down what the app of this stage has to know.
fn configure(stage: &LocalStage, description: &Description) -> Result<()> {
    let config = json!({
        "stage": STAGE,
        "apiUrl": description.api_url,
        "region": description.region,
        "userPoolId": description.user_pool_id,
        "userPoolClientId": description.user_pool_client_id,
        "identityPoolId": description.identity_pool_id,
        // In the cloud, where AWS has them and Stripe has its script.
        "cognitoEndpoint": description.cloud_url,
        "filesUrl": description.cloud_url,
        "stripeScript": format!("{}/v3/", description.stripe_url),
        "stripePublishableKey": local_stripe::Settings::default().publishable_key,
    });
    write_whole(&stage.path(CONFIG), &serde_json::to_vec_pretty(&config)?)
}
