//! The services that a function under test calls, and the process that runs it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lambda_host::Function;
use local_aws::Cloud;
use serde_json::{Value, json};
use xray_daemon::Daemon;

use crate::measure::{NOT_SAMPLED, SAMPLED, Subject};
use crate::tls;
use crate::variants::{Case, Paths, Transport, Variant};

/// The length of the placeholder for the session token `AWS_SESSION_TOKEN`, in bytes. Every request to AWS contains
/// this token, so its length affects the measurements.
const SESSION_TOKEN: usize = 1000;

/// The memory size of the functions in the stage prod, in MB.
const MEMORY_MB: u32 = 512;

/// The local services that a function under test calls: the local AWS and the X-Ray daemon.
pub(crate) struct Fixture {
    pub(crate) cloud: Cloud,
    http: String,
    tls: String,
    daemon: Daemon,
}

impl Fixture {
    /// Starts a local AWS and an X-Ray daemon. Start one fixture per function, so that the writes of one function do
    /// not affect the other functions.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(crate) async fn start() -> Result<Self> {
        let as_anyhow = |error| anyhow::anyhow!("cannot start the local AWS: {error}");
        let mut cloud = Cloud::start().await.map_err(as_anyhow)?;
        let listening = cloud.listen_tls(tls::CHAIN.as_bytes(), tls::KEY.as_bytes());
        let tls = listening.await.map_err(as_anyhow)?;
        Ok(Self {
            http: cloud.url(),
            tls,
            cloud,
            daemon: Daemon::bind(0)?,
        })
    }

    /// Discards the traces that the X-Ray daemon has received. Otherwise the buffer of the daemon's socket fills up,
    /// and the socket receives no more traces.
    pub(crate) fn discard_traces(&self) -> Result<()> {
        self.daemon.documents()?;
        Ok(())
    }

    /// Returns what the harness needs to measure a case: the process to start with its environment variables, the event
    /// and the trace header of each invocation, and the expected response.
    ///
    /// # Errors
    /// Fails if the program or the file with the expected response is missing.
    pub(crate) fn subject(&self, case: &Case, paths: &Paths) -> Result<Subject> {
        let name = &case.function.name;
        let variant = case.variant;
        let package = variant.package(name, paths).with_context(|| {
            format!(
                "cannot find the program of the variant {} of {name}",
                variant.name()
            )
        })?;
        let hosted = match variant {
            Variant::Node => node(name, &package)?,
            _ => native(case, &package, paths)?,
        };
        let hosted = with_bench_root(hosted, case, paths)?;
        let hosted = hosted.with_env(self.environment(case)?);
        Ok(Subject {
            hosted: with_variant_settings(hosted, case),
            event: case.function.event(),
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

    /// Returns the environment variables that Lambda and the function's stack set. The URLs in them are those of the
    /// local services.
    fn environment(&self, case: &Case) -> Result<Vec<(String, String)>> {
        let aws_url = match case.transport {
            Transport::Http => &self.http,
            Transport::Tls => &self.tls,
        };
        let names = case.function.variables.iter().map(String::as_str);
        let names = names.chain(local_aws::LAMBDA_VARIABLES);
        let variables = names.filter_map(|name| {
            // The doubles of other services than AWS support only plain HTTP.
            let url = match name.ends_with("_URL") && name != "AWS_ENDPOINT_URL" {
                true => &self.http,
                false => aws_url,
            };
            Some((name.to_owned(), local_aws::environment_variable(name, url)?))
        });
        let daemon = self.daemon.address()?.to_string();
        let from_lambda = [
            ("AWS_SESSION_TOKEN", "T".repeat(SESSION_TOKEN)),
            ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".into()),
            ("AWS_XRAY_DAEMON_ADDRESS", daemon),
            ("LANG", "en_US.UTF-8".into()),
            ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin".into()),
        ];
        let from_lambda = from_lambda.map(|(name, value)| (name.to_owned(), value));
        Ok(variables.chain(from_lambda).collect())
    }
}

/// Returns the configuration of the Node process that runs `bundle`, the bundle of the function `name`.
fn node(name: &str, bundle: &Path) -> Result<Function> {
    let mut node = Function::new(program("node")?);
    node.arguments = vec![bundle.with_file_name("bootstrap.mjs").into()];
    let folder = bundle.parent().unwrap_or(Path::new("."));
    Ok(node.with_env([
        ("_HANDLER", format!("{name}.handler")),
        ("LAMBDA_TASK_ROOT", folder.display().to_string()),
    ]))
}

/// Copies the binary of a case, and returns the configuration of a process that runs the copy. If the case measures a
/// deployed binary over TLS, the copy trusts the benchmark's root certificate.
fn native(case: &Case, binary: &Path, paths: &Paths) -> Result<Function> {
    let name = &case.function.name;
    // These variants read the trusted root certificates from a file, or make no TLS connection.
    let is_unpatched = matches!(
        case.variant,
        Variant::Hello | Variant::HelloStatic | Variant::Defaults
    );
    let copy = match case.transport {
        Transport::Tls if !is_unpatched => {
            let copy = paths.scratch.join("tls").join(name);
            if !copy.exists() {
                tls::trusting(binary, &copy)?;
            }
            copy
        }
        _ => {
            let variant = case.variant.name();
            let copy = paths.scratch.join("plain").join(variant).join(name);
            if !copy.exists() {
                unpack(binary, &copy)?;
            }
            copy
        }
    };
    Ok(Function::new(copy))
}

/// Sets the environment variables that make a process trust the benchmark's root certificate, if the process is a Node
/// function or the function with the default settings of the AWS SDK and calls AWS over TLS. Returns all other
/// functions unchanged.
fn with_bench_root(hosted: Function, case: &Case, paths: &Paths) -> Result<Function> {
    match (case.variant, case.transport) {
        (Variant::Node, Transport::Tls) => {
            let root = paths.scratch.join("root.pem");
            tls::write_root(&root, "")?;
            // Not NODE_EXTRA_CA_CERTS: with this variable, Node would load all its built-in root certificates at startup.
            Ok(hosted.with_env([
                ("NODE_OPTIONS", "--use-openssl-ca".to_owned()),
                ("SSL_CERT_FILE", root.display().to_string()),
            ]))
        }
        (Variant::Defaults, Transport::Tls) => {
            // The root certificates of the platform, as on Lambda, and that of the benchmark.
            let bundle = paths.scratch.join("bundle.pem");
            let platform = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt");
            tls::write_root(&bundle, &platform.unwrap_or_default())?;
            Ok(hosted.with_env([("SSL_CERT_FILE", bundle.display().to_string())]))
        }
        _ => Ok(hosted),
    }
}

/// Sets the function's name and memory size. For the variants `Untraced` and `DebugLog`, also changes the environment
/// variable in which the variant differs from the deployed function.
fn with_variant_settings(mut hosted: Function, case: &Case) -> Function {
    hosted.name = case.function.name.clone();
    hosted.memory_mb = MEMORY_MB;
    match case.variant {
        Variant::Untraced => drop(hosted.env.remove("AWS_XRAY_DAEMON_ADDRESS")),
        Variant::DebugLog => drop(hosted.env.insert("LOG_LEVEL".into(), "debug".into())),
        _ => {}
    }
    hosted
}

/// Copies a binary, because Lambda also writes a new file when it unpacks a zip. A file straight from the linker would
/// distort the measurement: the linker writes it page by page, it stays in the page cache as single pages, and
/// `notes-get` then uses a tenth more CPU time.
fn unpack(binary: &Path, copy: &Path) -> Result<()> {
    let copied = || {
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(binary, copy)
    };
    copied().with_context(|| format!("cannot copy the binary {}", binary.display()))?;
    Ok(())
}

/// Returns the expected response of a function to its sample event, from the folder `tests/golden`.
fn golden(function: &str) -> Result<Value> {
    let file = test_support::root().join(format!("tests/golden/{function}.json"));
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut golden: Value = serde_json::from_str(&text)?;
    let response = golden.get_mut("response").map(Value::take);
    response.with_context(|| format!("cannot find the field `response` in {}", file.display()))
}

/// Returns the path of the program `name`, which is searched for in the folders of the environment variable `PATH`.
///
/// # Errors
/// Fails if the program is not installed.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    files.find(|file| file.is_file()).with_context(|| {
        format!("cannot find the program {name}; install it with your system's package manager")
    })
}
