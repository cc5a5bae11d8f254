//! A stage on this machine, which is one deployment of the product. Its folder contains its data, its ports, and
//! `stage.json`, which describes the stage to other programs.

use std::{
    collections::BTreeMap,
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

use crate::{release::Tables, workspace::Workspace};

/// The name of every stage on this machine. The stages differ in their folders and ports.
pub(crate) const STAGE: &str = "local";

/// The ID of the AWS account that a local cloud emulates by default.
pub(crate) const ACCOUNT: &str = "555555555555";

/// A stage on this machine. `cargo xtask dev` and each test tier that deploys have separate stages, with separate data
/// and ports.
#[derive(Debug, Clone)]
pub(crate) struct LocalStage {
    account: String,
    region: String,
    folder: PathBuf,
    ports: Ports,
    /// Whether the local cloud records the calls that roles make.
    records_calls: bool,
    /// The duration of a minute of CloudWatch in the local cloud.
    minute: Duration,
}

/// The duration of a minute of CloudWatch in AWS.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// The ports on which the servers of a stage listen. They are stored in `ports.json`, so that the URLs stay the same in
/// every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ports {
    cloud: u16,
    xray: u16,
    /// The ports of [`SERVERS`].
    #[serde(flatten)]
    servers: BTreeMap<String, u16>,
}

// part: web {
/// The server of the browser app.
const WEB: &str = "web";
// part: web }

/// The servers outside the local cloud.
const SERVERS: &[&str] = &[
    crate::stripe::SERVER, // part: billing
    WEB,                   // part: web
];

/// The name of the file that contains a [`Description`].
pub(crate) const DESCRIPTION: &str = "stage.json";

/// The content of `stage.json`: the URLs, IDs and names that other programs need to use the stage.
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
    pub(crate) purchases_table: String, // part: billing
    pub(crate) idempotency_table: String,
    pub(crate) stripe_url: String, // part: billing
    pub(crate) web_url: String,    // part: web
}

impl LocalStage {
    /// Opens the stage whose folder is target/`name`, and creates the folder if necessary.
    ///
    /// # Errors
    /// Fails if the folder or the file `ports.json` cannot be written, or if no port is free.
    pub(crate) fn open(workspace: &Workspace, name: &str) -> Result<Self> {
        Self::in_account(workspace, name, ACCOUNT)
    }

    /// Opens the stage whose folder is target/`name`, and creates the folder if necessary. The local cloud of the stage
    /// emulates the AWS account with the ID `account`.
    ///
    /// # Errors
    /// Fails if serverless.yml is malformed, if the folder or the file `ports.json` cannot be written, or if no port is free.
    pub(crate) fn in_account(workspace: &Workspace, name: &str, account: &str) -> Result<Self> {
        let folder = workspace.root().join("target").join(name);
        fs::create_dir_all(&folder)?;
        let ports = fs::read(folder.join("ports.json")).ok();
        let ports = ports.and_then(|ports| serde_json::from_slice(&ports).ok());
        let ports = match ports.filter(Ports::has_all) {
            Some(ports) => ports,
            None => Ports::choose()?,
        };
        let stage = Self {
            account: account.to_owned(),
            region: Tables::read(workspace.root(), |_| None)?.region,
            folder,
            ports,
            records_calls: false,
            minute: MINUTE,
        };
        stage.write("ports.json", &stage.ports)?;
        Ok(stage)
    }

    /// Makes the local cloud record the calls that roles make.
    pub(crate) fn recording_calls(self) -> Self {
        Self {
            records_calls: true,
            ..self
        }
    }

    /// The path of the file in which the local cloud records the calls that roles make. `None` if it does not.
    pub(crate) fn recorded_calls(&self) -> Option<PathBuf> {
        self.records_calls.then(|| self.path("calls.jsonl"))
    }

    /// Makes a minute of CloudWatch in the local cloud last `minute`, so that tests see hours in seconds.
    pub(crate) fn with_minutes_of(self, minute: Duration) -> Self {
        Self { minute, ..self }
    }

    /// The duration of a minute of CloudWatch in the local cloud.
    pub(crate) fn minute(&self) -> Duration {
        self.minute
    }

    /// Chooses another port for the local cloud if a process listens on its current port.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(crate) fn ensure_cloud_port_is_free(&mut self) -> Result<()> {
        if TcpListener::bind(("127.0.0.1", self.ports.cloud)).is_ok() {
            return Ok(());
        }
        self.ports.cloud = Ports::choose()?.cloud;
        self.write("ports.json", &self.ports)
    }

    /// Chooses other ports for the servers outside the local cloud if processes listen on their current ports. Waits up to
    /// 0.3 s first, because a process that is ending may still listen.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(crate) async fn ensure_server_ports_are_free(&mut self) -> Result<()> {
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        for _ in 0..10 {
            if self.ports.servers.values().all(|port| is_free(*port)) {
                return Ok(());
            }
            sleep(Duration::from_millis(30)).await;
        }
        for port in self.ports.servers.values_mut() {
            if !is_free(*port) {
                *port = free_port(|port| TcpListener::bind(("127.0.0.1", port)))?;
            }
        }
        self.write("ports.json", &self.ports)
    }

    /// Deletes everything in the folder `name` of the stage. Creates this folder if it does not exist.
    ///
    /// # Errors
    /// Fails if a file cannot be deleted.
    pub(crate) fn clear_folder(&self, name: &str) -> Result<()> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(())
    }

    /// The path of the file or folder named `name` in the stage's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The AWS region that the stage's local cloud emulates: the one in serverless.yml.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// The ID of the AWS account that the stage's local cloud emulates.
    pub(crate) fn account(&self) -> &str {
        &self.account
    }

    /// The TCP port of the stage's local cloud.
    pub(crate) fn port(&self) -> u16 {
        self.ports.cloud
    }

    /// The UDP port of the X-Ray daemon.
    pub(crate) fn xray_port(&self) -> u16 {
        self.ports.xray
    }

    /// The port of a server outside the local cloud.
    pub(crate) fn server_port(&self, server: &str) -> u16 {
        self.ports.servers.get(server).copied().unwrap_or_default()
    }

    /// The URL of a server outside the local cloud.
    pub(crate) fn server_url(&self, server: &str) -> String {
        format!("http://127.0.0.1:{}", self.server_port(server))
    }

    // part: web {
    /// The port of the browser app's server.
    pub(crate) fn web_port(&self) -> u16 {
        self.server_port(WEB)
    }

    /// The URL of the browser app.
    pub(crate) fn web_url(&self) -> String {
        self.server_url(WEB)
    }
    // part: web }

    /// The URL of the local cloud.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.cloud)
    }

    /// The environment variables that make tools and functions call the stage's local cloud instead of AWS.
    pub(crate) fn aws_environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            // The local cloud accepts its account's ID as the root user's access key. AWS has no such key.
            ("AWS_ACCESS_KEY_ID", self.account.clone()),
            ("AWS_SECRET_ACCESS_KEY", "local".into()),
            // Ignore the developer's AWS configuration.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    /// The configuration of AWS clients that call the stage's local cloud.
    ///
    /// # Errors
    /// Fails if a required variable is missing from [`LocalStage::aws_environment`].
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

    /// Locks the file `name` in the stage's folder until the returned file is dropped. `None` if another process holds
    /// the lock.
    ///
    /// # Errors
    /// Fails if the file cannot be created or locked.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.path(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Writes `description` to the stage's `stage.json`.
    ///
    /// # Errors
    /// Fails if `stage.json` cannot be written.
    pub(crate) fn write_description(&self, description: &Description) -> Result<()> {
        self.write(DESCRIPTION, description)
    }

    /// Reads the stage's `stage.json`. `None` if the stage does not run.
    pub(crate) fn description(&self) -> Option<Description> {
        serde_json::from_slice(&fs::read(self.path(DESCRIPTION)).ok()?).ok()
    }

    /// Deletes `stage.json`, so that other programs see that the stage does not run.
    pub(crate) fn delete_description(&self) {
        // A missing file is not an error.
        let _ = fs::remove_file(self.path(DESCRIPTION));
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write_atomically(&self.path(name), &serde_json::to_vec_pretty(value)?)
    }
}

impl Ports {
    fn choose() -> Result<Self> {
        let tcp = || free_port(|port| TcpListener::bind(("127.0.0.1", port)));
        let server = |name: &&str| Ok(((*name).to_owned(), tcp()?));
        Ok(Self {
            cloud: tcp()?,
            xray: free_port(|port| UdpSocket::bind(("127.0.0.1", port)))?,
            servers: SERVERS.iter().map(server).collect::<Result<_>>()?,
        })
    }

    /// Whether each server has a port.
    fn has_all(&self) -> bool {
        SERVERS.iter().all(|name| self.servers.contains_key(*name))
    }
}

/// Returns a random port from 10000 to 31999 for which `bind` succeeds. The range is below the ephemeral ports, so the
/// system does not give the port to another process while the stage does not listen on it.
fn free_port<T>(bind: impl Fn(u16) -> io::Result<T>) -> Result<u16> {
    let random = || 10_000 + (Uuid::now_v7().as_u128() % 22_000) as u16;
    let mut tries = std::iter::repeat_with(random).take(1000);
    let free = tries.find(|port| bind(*port).is_ok());
    free.context("cannot find a free port from 10000 to 31999")
}

/// Writes `content` to a temporary file and renames this file to `path`, so that no reader sees a partial file.
///
/// # Errors
/// Fails if the temporary file cannot be written or renamed.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path))?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn stage() -> (tempfile::TempDir, LocalStage) {
        let folder = tempfile::tempdir().unwrap();
        let stage = LocalStage {
            account: ACCOUNT.into(),
            region: "us-east-1".into(),
            folder: folder.path().into(),
            ports: Ports::choose().unwrap(),
            records_calls: false,
            minute: MINUTE,
        };
        (folder, stage)
    }

    fn saved_ports(stage: &LocalStage) -> Ports {
        serde_json::from_slice(&fs::read(stage.path("ports.json")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_port_of_a_server_changes_only_if_it_is_in_use() {
        let (_folder, mut stage) = stage();
        let port = Ports::choose().unwrap().cloud;
        stage.ports.servers.insert("other".into(), port);
        let before = stage.ports.clone();
        stage.ensure_server_ports_are_free().await.unwrap();
        assert_eq!(stage.ports, before);
        let _taken = TcpListener::bind(("127.0.0.1", before.servers["other"])).unwrap();
        stage.ensure_server_ports_are_free().await.unwrap();
        assert_ne!(stage.server_port("other"), before.servers["other"]);
        assert_eq!(stage.ports.cloud, before.cloud);
        for server in SERVERS {
            assert_eq!(stage.server_port(server), before.servers[*server]);
        }
        assert_eq!(saved_ports(&stage), stage.ports);
    }

    #[test]
    fn a_cloud_port_in_use_is_replaced_and_other_ports_stay() {
        let (_folder, mut stage) = stage();
        let before = stage.ports.clone();
        let _taken = TcpListener::bind(("127.0.0.1", before.cloud)).unwrap();
        stage.ensure_cloud_port_is_free().unwrap();
        assert_ne!(stage.port(), before.cloud);
        assert_eq!(
            (stage.xray_port(), &stage.ports.servers),
            (before.xray, &before.servers)
        );
        assert_eq!(saved_ports(&stage).cloud, stage.port());
    }
}
