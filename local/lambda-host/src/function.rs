//! The configuration of a function: its program, its environment variables and its init timeout.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time limit of Lambda's init phase
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The configuration of a function: its program, and what the emulated Lambda sets for it.
#[derive(Clone, Debug)]
pub struct Function {
    /// The program to run.
    pub binary: PathBuf,
    /// The program's arguments, such as the script for an interpreter. Default: none.
    pub arguments: Vec<OsString>,
    /// The function's name. Default: the file name of the binary.
    pub name: String,
    /// Environment variables in addition to those that Lambda sets. They override Lambda's
    /// variables of the same name, except for `AWS_LAMBDA_RUNTIME_API`. Default: none.
    pub env: BTreeMap<String, String>,
    /// The memory size in MB, the value of `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`. The function can use
    /// more memory. Default: 128.
    pub memory_mb: u32,
    /// The AWS region, the value of `AWS_REGION`. Default: eu-central-1.
    pub region: String,
    /// The maximum time from the start of the process until the function requests its first event.
    /// Default: 10 s.
    pub init_timeout: Duration,
}

impl Function {
    /// Creates the configuration of the function whose program is `binary`. All other fields have
    /// their default values.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let binary = binary.into();
        let name = binary
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            binary,
            arguments: Vec::new(),
            name,
            env: BTreeMap::new(),
            memory_mb: 128,
            region: "eu-central-1".to_owned(),
            init_timeout: INIT_TIMEOUT,
        }
    }

    /// Adds environment variables to [`Function::env`].
    pub fn with_env<K: Into<String>, V: Into<String>>(
        mut self,
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.env.extend(
            env.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        self
    }

    /// Returns all environment variables of the function's process. `api` is the address of the
    /// Runtime API (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
    pub(crate) fn environment(&self, api: &str) -> BTreeMap<String, String> {
        let root = self.binary.parent().unwrap_or(Path::new("."));
        let mut environment: BTreeMap<_, _> = [
            ("AWS_DEFAULT_REGION", self.region.clone()),
            (
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                self.memory_mb.to_string(),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            (
                "AWS_LAMBDA_LOG_GROUP_NAME",
                format!("/aws/lambda/{}", self.name),
            ),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "local".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("LAMBDA_TASK_ROOT", root.to_string_lossy().into_owned()),
            ("TZ", ":UTC".to_owned()),
            ("_HANDLER", "bootstrap".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        environment.extend(self.env.clone());
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), api.to_owned());
        environment
    }
}
