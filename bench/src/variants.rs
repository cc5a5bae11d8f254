//! What is compared: each function as it is deployed, as an expert would write it in Node, and with
//! single settings otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::functions::Function;
use local_aws::Cloud;
use serde_json::{Value, json};
use xray_daemon::Daemon;

use crate::measure::{NOT_SAMPLED, SAMPLED, Subject};
use crate::tls;

/// Where all is that is run.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The binaries that are deployed, each `NAME/bootstrap`, and `hello`, linked as they are.
    pub(crate) binaries: PathBuf,
    /// The bundles for Node, each `NAME.mjs`, and `bootstrap.mjs` that runs them.
    pub(crate) node: Option<PathBuf>,
    /// `get` by the SDK's defaults.
    pub(crate) defaults: Option<PathBuf>,
    /// The bare runtime as cargo-lambda builds it.
    pub(crate) hello: Option<PathBuf>,
    /// What is written in between.
    pub(crate) scratch: PathBuf,
}

/// How functions call what they call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Http,
    Tls,
}

/// One way to have a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As it is deployed, with tracing on and every event sampled.
    Rust,
    /// The bare runtime as cargo-lambda builds it: what a function in Rust is before it does anything.
    Hello,
    /// The bare runtime, linked as what is deployed: what can't be had for less.
    HelloStatic,
    /// By the SDK's defaults.
    Defaults,
    /// In Node.
    Node,
    /// As it is deployed, and X-Ray does not sample the events.
    NotSampled,
    /// As it is deployed, without tracing.
    Untraced,
    /// As it is deployed, with the log of a development stage.
    DebugLog,
}

impl Variant {
    /// What it is called in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Hello => "hello",
            Self::HelloStatic => "hello-static",
            Self::Defaults => "sdk-defaults",
            Self::Node => "node",
            Self::NotSampled => "not-sampled",
            Self::Untraced => "untraced",
            Self::DebugLog => "debug-log",
        }
    }

    /// All that there are of a function.
    pub(crate) fn of(function: &str, places: &Places) -> Vec<Self> {
        let bundled = |node: &PathBuf| node.join(format!("{function}.mjs")).is_file();
        let mut all = vec![Self::Rust];
        if places.node.as_ref().is_some_and(bundled) {
            all.push(Self::Node);
        }
        if function == "notes-get" {
            if places.hello.is_some() {
                all.extend([Self::Hello, Self::HelloStatic]);
            }
            all.extend(places.defaults.as_ref().map(|_| Self::Defaults));
            all.extend([Self::NotSampled, Self::Untraced, Self::DebugLog]);
        }
        all
    }

    /// How it calls what it calls, if it calls anything.
    pub(crate) fn over(self) -> &'static [Over] {
        match self {
            Self::Hello | Self::HelloStatic => &[Over::Http],
            _ => &[Over::Http, Over::Tls],
        }
    }

    /// What its zip has in it.
    pub(crate) fn package(self, function: &str, places: &Places) -> Option<PathBuf> {
        match self {
            Self::Hello => places.hello.clone(),
            Self::HelloStatic => Some(places.binaries.join("hello/bootstrap")),
            Self::Defaults => places.defaults.clone(),
            Self::Node => Some(places.node.as_ref()?.join(format!("{function}.mjs"))),
            _ => Some(places.binaries.join(function).join("bootstrap")),
        }
    }
}

/// What a function calls, and whom it tells of its work.
pub(crate) struct Scene {
    pub(crate) cloud: Cloud,
    http: String,
    tls: String,
    daemon: Daemon,
}

impl Scene {
    /// A scene of its own for each function: what one writes does not concern the others.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) async fn start() -> Result<Self> {
        let plain = |error| anyhow::anyhow!("the cloud does not start: {error}");
        let mut cloud = Cloud::start().await.map_err(plain)?;
        let listening = cloud.listen_tls(tls::CHAIN.as_bytes(), tls::KEY.as_bytes());
        let tls = listening.await.map_err(plain)?;
        Ok(Self {
            http: cloud.url(),
            tls,
            cloud,
            daemon: Daemon::bind(0)?,
        })
    }

    /// Forgets what the functions have told: a full socket takes no more.
    pub(crate) fn drain(&self) -> Result<()> {
        self.daemon.documents()?;
        Ok(())
    }

    /// A variant of a function, started as Lambda would start it.
    ///
    /// # Errors
    /// When something that it needs is not there.
    pub(crate) fn subject(
        &self,
        function: &Function,
        variant: Variant,
        over: Over,
        places: &Places,
    ) -> Result<Subject> {
        let name = &function.name;
        let binary = variant
            .package(name, places)
            .with_context(|| format!("{name} has no variant {variant:?}"))?;
        let root = places.scratch.join("root.pem");
        let hosted = match (variant, over) {
            (Variant::Node, _) => {
                let bootstrap = binary.with_file_name("bootstrap.mjs");
                let mut node = lambda_host::Function::new(program("node")?);
                node.arguments = vec![bootstrap.into()];
                let folder = binary.parent().unwrap_or(Path::new("."));
                node.with_env([
                    ("_HANDLER", format!("{name}.handler")),
                    ("LAMBDA_TASK_ROOT", folder.display().to_string()),
                ])
            }
            // These are built to trust what they are told
            (Variant::Hello | Variant::HelloStatic | Variant::Defaults, _) | (_, Over::Http) => {
                let copy = places.scratch.join("plain").join(variant.name()).join(name);
                if !copy.exists() {
                    unpack(&binary, &copy)?;
                }
                lambda_host::Function::new(copy)
            }
            (_, Over::Tls) => {
                let copy = places.scratch.join("tls").join(name);
                if !copy.exists() {
                    tls::trusting(&binary, &copy)?;
                }
                lambda_host::Function::new(copy)
            }
        };
        let hosted = match (variant, over) {
            (Variant::Node, Over::Tls) => {
                tls::write_root(&root, "")?;
                // NODE_EXTRA_CA_CERTS would have it load all its own roots at start
                hosted.with_env([
                    ("NODE_OPTIONS", "--use-openssl-ca".to_owned()),
                    ("SSL_CERT_FILE", root.display().to_string()),
                ])
            }
            (Variant::Defaults, Over::Tls) => {
                // What the platform has, as on Lambda, and ours
                let bundle = places.scratch.join("bundle.pem");
                let platform = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt");
                tls::write_root(&bundle, &platform.unwrap_or_default())?;
                hosted.with_env([("SSL_CERT_FILE", bundle.display().to_string())])
            }
            _ => hosted,
        };
        let url = match over {
            Over::Http => &self.http,
            Over::Tls => &self.tls,
        };
        let settings = function.variables.iter().map(String::as_str);
        let settings = settings.chain(local_aws::LAMBDA_VARIABLES);
        let settings = settings.filter_map(|setting| {
            // Stripe's double speaks plain HTTP alone
            let url = match setting {
                "STRIPE_URL" => &self.http,
                _ => url,
            };
            Some((setting, local_aws::environment_variable(setting, url)?))
        });
        let mut hosted = hosted.with_env(settings).with_env([
            ("AWS_SESSION_TOKEN", "T".repeat(SESSION_TOKEN)),
            ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".into()),
            (
                "AWS_XRAY_DAEMON_ADDRESS",
                self.daemon.address()?.to_string(),
            ),
            ("LANG", "en_US.UTF-8".into()),
            ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin".into()),
        ]);
        hosted.name = name.clone();
        hosted.memory_mb = MEMORY_MB;
        match variant {
            Variant::Untraced => drop(hosted.env.remove("AWS_XRAY_DAEMON_ADDRESS")),
            Variant::DebugLog => drop(hosted.env.insert("LOG_LEVEL".into(), "debug".into())),
            _ => {}
        }
        Ok(Subject {
            hosted,
            event: function.event(),
            trace: match variant {
                Variant::NotSampled => NOT_SAMPLED,
                _ => SAMPLED,
            },
            expected: match variant {
                Variant::Hello | Variant::HelloStatic => json!({"statusCode": 200, "body": null}),
                _ => golden(name)?,
            },
            restores: true,
        })
    }
}

/// The length of the session tokens that Lambda gives to its functions: every call bears one.
const SESSION_TOKEN: usize = 1000;

/// What functions of the stage prod are told of their memory, in MB.
const MEMORY_MB: u32 = 512;

/// Writes a binary anew, in one piece, as Lambda does when it unpacks a zip. As the linker wrote it, page by page, it is
/// in memory too: to be started from there takes `get` a tenth more time on the CPU.
fn unpack(binary: &Path, copy: &Path) -> Result<()> {
    let written = || {
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(binary, copy)
    };
    written().with_context(|| format!("{} cannot be copied", binary.display()))?;
    Ok(())
}

/// What a function answers to its sample event.
fn golden(function: &str) -> Result<Value> {
    let file = e2e::root().join(format!("tests/golden/{function}.json"));
    let text =
        fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut golden: Value = serde_json::from_str(&text)?;
    let answer = golden.get_mut("answer").map(Value::take);
    answer.with_context(|| format!("{} has no answer", file.display()))
}

/// A program by its name.
///
/// # Errors
/// When it is not on this machine.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).with_context(|| {
        format!("{name} is needed (not found): get it by your system's package manager")
    })
}
