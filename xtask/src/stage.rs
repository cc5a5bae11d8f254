//! A stage on this machine: a folder with its data, its ports, and `stage.json`, by which other
//! programs find it.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use uuid::Uuid;

use crate::workspace::Workspace;

/// The name of every stage on a developer's machine.
pub(crate) const STAGE: &str = "local";

/// The account that the local cloud plays.
pub(crate) const ACCOUNT: &str = "111111111111";

/// The region that the local cloud plays, as in the stage table.
pub(crate) const REGION: &str = "us-east-1";

/// A stage on this machine. `dev` and the tests have one each, with its own data and ports.
#[derive(Debug, Clone)]
pub(crate) struct LocalStage {
    account: String,
    folder: PathBuf,
    ports: Ports,
}

/// Where the stage listens, kept from run to run so that its addresses stay.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Ports {
    cloud: u16,
    xray: u16,
    stripe: u16,
    web: u16,
}

/// What other programs need to know of a stage.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    pub(crate) api_url: String,
    pub(crate) cloud_url: String,
    pub(crate) region: String,
    pub(crate) user_pool_id: String,
    pub(crate) user_pool_client_id: String,
    pub(crate) identity_pool_id: String,
    pub(crate) attachments_bucket: String,
    pub(crate) notes_table: String,
    pub(crate) purchases_table: String,
    pub(crate) idempotency_table: String,
    pub(crate) stripe_url: String,
    pub(crate) web_url: String,
}

impl LocalStage {
    /// The stage with its folder at target/`name`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(workspace: &Workspace, name: &str) -> Result<Self> {
        Self::in_account(workspace, name, ACCOUNT)
    }

    /// As [`LocalStage::open`], in a cloud that plays another account.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn in_account(workspace: &Workspace, name: &str, account: &str) -> Result<Self> {
        let folder = workspace.root().join("target").join(name);
        fs::create_dir_all(&folder)?;
        let ports = fs::read(folder.join("ports.json")).ok();
        let ports = match ports.and_then(|ports| serde_json::from_slice(&ports).ok()) {
            Some(ports) => ports,
            None => Ports::free()?,
        };
        let account = account.to_owned();
        let stage = Self {
            account,
            folder,
            ports,
        };
        stage.write("ports.json", &stage.ports)?;
        Ok(stage)
    }

    /// Takes another port for the local cloud if somebody else has its own.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn settle_port(&mut self) -> Result<()> {
        if TcpListener::bind(("127.0.0.1", self.ports.cloud)).is_ok() {
            return Ok(());
        }
        self.ports.cloud = Ports::free()?.cloud;
        self.write("ports.json", &self.ports)
    }

    /// Takes other ports for Stripe's double and the browser app if somebody else has theirs. One
    /// that has just ended may have them for a moment yet.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) async fn settle_outside_ports(&mut self) -> Result<()> {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        for _ in 0..10 {
            if free(self.ports.stripe) && free(self.ports.web) {
                return Ok(());
            }
            sleep(Duration::from_millis(30)).await;
        }
        let Ports { stripe, web, .. } = Ports::free()?;
        for (port, other) in [(&mut self.ports.stripe, stripe), (&mut self.ports.web, web)] {
            if !free(*port) {
                *port = other;
            }
        }
        self.write("ports.json", &self.ports)
    }

    /// Makes a folder of the stage anew.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub(crate) fn empty(&self, name: &str) -> Result<()> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(())
    }

    /// A file or folder of the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The number of the account that its cloud plays.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// The local cloud's port.
    pub(crate) fn port(&self) -> u16 {
        self.ports.cloud
    }

    /// Where the X-Ray daemon listens for datagrams.
    pub(crate) fn xray_port(&self) -> u16 {
        self.ports.xray
    }

    /// Where Stripe's double listens.
    pub(crate) fn stripe_port(&self) -> u16 {
        self.ports.stripe
    }

    /// The address of Stripe's double.
    pub(crate) fn stripe_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.stripe)
    }

    /// Where the browser app is served.
    pub(crate) fn web_port(&self) -> u16 {
        self.ports.web
    }

    /// The address of the browser app.
    pub(crate) fn web_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.web)
    }

    /// The local cloud's address.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.cloud)
    }

    /// What tools and functions need to talk to this cloud, and to no other.
    pub(crate) fn aws_environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", REGION.into()),
            ("AWS_DEFAULT_REGION", REGION.into()),
            // The account's root user, to the local cloud; nobody, to AWS.
            ("AWS_ACCESS_KEY_ID", self.account.clone()),
            ("AWS_SECRET_ACCESS_KEY", "local".into()),
            // The developer's own configuration must not get in between.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    /// AWS clients for this cloud.
    ///
    /// # Errors
    /// Never, but for a mistake in the line above.
    pub(crate) fn aws(&self) -> Result<aws::Stack> {
        let environment = self.aws_environment();
        let var = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        };
        Ok(aws::Stack::from_vars(var)?)
    }

    /// Locks something of the stage for as long as the file lives. None when another process has it.
    ///
    /// # Errors
    /// When the lock's file cannot be made.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.path(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.with_context(|| format!("{} cannot be made", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Says to other programs what this stage is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn describe(&self, description: &Description) -> Result<()> {
        self.write("stage.json", description)
    }

    /// What was said last. None when it never ran.
    pub(crate) fn description(&self) -> Option<Description> {
        serde_json::from_slice(&fs::read(self.path("stage.json")).ok()?).ok()
    }

    /// Says to other programs that this stage does not run.
    pub(crate) fn retract(&self) {
        // It may not be there.
        let _ = fs::remove_file(self.path("stage.json"));
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_whole(&self.path(name), &serde_json::to_vec_pretty(value)?)
    }
}

impl Ports {
    fn free() -> Result<Self> {
        Ok(Self {
            cloud: free_port(|port| TcpListener::bind(("127.0.0.1", port)))?,
            xray: free_port(|port| UdpSocket::bind(("127.0.0.1", port)))?,
            stripe: free_port(|port| TcpListener::bind(("127.0.0.1", port)))?,
            web: free_port(|port| TcpListener::bind(("127.0.0.1", port)))?,
        })
    }
}

/// A port that `bind` can have. It is below those that systems give to whoever asks for any: nobody
/// takes it by chance while the stage does not listen there.
fn free_port<T>(bind: impl Fn(u16) -> io::Result<T>) -> Result<u16> {
    let any = || 10_000 + (Uuid::now_v7().as_u128() % 22_000) as u16;
    let mut tries = std::iter::repeat_with(any).take(1000);
    let free = tries.find(|port| bind(*port).is_ok());
    free.context("there is no free port from 10000 to 32000")
}

/// Writes a file that nobody ever sees half of.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&unfinished, content).and_then(|()| fs::rename(&unfinished, path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> (tempfile::TempDir, LocalStage) {
        let folder = tempfile::tempdir().unwrap();
        let stage = LocalStage {
            account: ACCOUNT.into(),
            folder: folder.path().into(),
            ports: Ports::free().unwrap(),
        };
        (folder, stage)
    }

    fn kept(stage: &LocalStage) -> Ports {
        serde_json::from_slice(&fs::read(stage.path("ports.json")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn stripe_stays_where_it_is_unless_somebody_else_is_there() {
        let (_folder, mut stage) = stage();
        let before = stage.ports;
        stage.settle_outside_ports().await.unwrap();
        assert_eq!(stage.stripe_port(), before.stripe);
        let _taken = TcpListener::bind(("127.0.0.1", before.stripe)).unwrap();
        stage.settle_outside_ports().await.unwrap();
        assert_ne!(stage.stripe_port(), before.stripe);
        assert_eq!(stage.ports.cloud, before.cloud);
        assert_eq!(stage.web_port(), before.web);
        assert_eq!(kept(&stage).stripe, stage.stripe_port());
    }

    #[test]
    fn a_cloud_that_has_to_move_moves_alone() {
        let (_folder, mut stage) = stage();
        let before = stage.ports;
        let _taken = TcpListener::bind(("127.0.0.1", before.cloud)).unwrap();
        stage.settle_port().unwrap();
        assert_ne!(stage.port(), before.cloud);
        assert_eq!(
            (stage.xray_port(), stage.stripe_port()),
            (before.xray, before.stripe)
        );
        assert_eq!(kept(&stage).cloud, stage.port());
    }
}
