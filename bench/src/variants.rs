//! What is compared: each function as it is deployed, its equivalent in Node, and variants of
//! `notes-get` that differ in one setting or in the SDK.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use test_support::functions::Function;

use crate::report::Row;

/// Where the programs under test are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The deployed binaries, each `NAME/bootstrap`, and `hello`, linked like them.
    pub(crate) binaries: PathBuf,
    /// The bundles for Node, each `NAME.mjs`, and `bootstrap.mjs`, which runs them.
    pub(crate) node: Option<PathBuf>,
    /// The binary of `notes-get` with the AWS SDK's defaults.
    pub(crate) defaults: Option<PathBuf>,
    /// The bare runtime as cargo-lambda builds it.
    pub(crate) hello: Option<PathBuf>,
    /// A folder for temporary files.
    pub(crate) scratch: PathBuf,
}

/// How a function calls AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
        })
    }
}

/// An implementation or configuration of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As deployed, with tracing on and every event sampled.
    Rust,
    /// The bare runtime as cargo-lambda builds it: a function in Rust that does nothing.
    Hello,
    /// The bare runtime, linked like the deployed functions: the lower limit.
    HelloStatic,
    /// With the AWS SDK's defaults.
    Defaults,
    /// In Node.
    Node,
    /// As deployed, with events that X-Ray does not sample.
    NotSampled,
    /// As deployed, without tracing.
    Untraced,
    /// As deployed, with the log level of a development stage.
    DebugLog,
}

impl Variant {
    /// The name in report.json.
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

    /// The variants of a function that can be run from these paths.
    fn of(function: &str, paths: &Paths) -> Vec<Self> {
        let is_bundled = |node: &PathBuf| node.join(format!("{function}.mjs")).is_file();
        let mut all = vec![Self::Rust];
        if paths.node.as_ref().is_some_and(is_bundled) {
            all.push(Self::Node);
        }
        if function == "notes-get" {
            if paths.hello.is_some() {
                all.extend([Self::Hello, Self::HelloStatic]);
            }
            all.extend(paths.defaults.as_ref().map(|_| Self::Defaults));
            all.extend([Self::NotSampled, Self::Untraced, Self::DebugLog]);
        }
        all
    }

    /// The transports that it is measured over. The bare runtime calls nothing.
    fn transports(self) -> &'static [Transport] {
        match self {
            Self::Hello | Self::HelloStatic => &[Transport::Http],
            _ => &[Transport::Http, Transport::Tls],
        }
    }

    /// The file that its deployment package holds. None if it was not built.
    pub(crate) fn package(self, function: &str, paths: &Paths) -> Option<PathBuf> {
        match self {
            Self::Hello => paths.hello.clone(),
            Self::HelloStatic => Some(paths.binaries.join("hello/bootstrap")),
            Self::Defaults => paths.defaults.clone(),
            Self::Node => Some(paths.node.as_ref()?.join(format!("{function}.mjs"))),
            _ => Some(paths.binaries.join(function).join("bootstrap")),
        }
    }
}

/// One variant of one function over one transport.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) function: Function,
    pub(crate) variant: Variant,
    pub(crate) transport: Transport,
}

impl Case {
    /// All cases of a function that can be run from these paths.
    pub(crate) fn all(function: &Function, paths: &Paths) -> Vec<Self> {
        let variants = Variant::of(&function.name, paths).into_iter();
        let cases = variants.flat_map(|variant| {
            variant.transports().iter().map(move |&transport| Self {
                function: function.clone(),
                variant,
                transport,
            })
        });
        cases.collect()
    }

    /// The case in words, for progress and failures.
    pub(crate) fn label(&self) -> String {
        let variant = self.variant.name();
        format!("{}, {variant}, {}", self.function.name, self.transport)
    }

    /// Whether the row holds this function and variant.
    pub(crate) fn is_of(&self, row: &Row) -> bool {
        row.function == self.function.name && row.variant == self.variant.name()
    }

    /// A row with the size of the deployment package and no measurements.
    ///
    /// # Errors
    /// Fails if the package's file cannot be read.
    pub(crate) fn row(&self, paths: &Paths) -> Result<Row> {
        let name = &self.function.name;
        let package = self.variant.package(name, paths);
        Ok(Row {
            function: name.clone(),
            variant: self.variant.name().into(),
            zip: package
                .map(|file| zip_size(&file))
                .transpose()?
                .unwrap_or(0),
            ..Row::default()
        })
    }
}

/// The size of a zip with this file, compressed as xtask compresses deployment packages. In bytes.
fn zip_size(file: &Path) -> Result<u64> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(9));
    zip.start_file("bootstrap", options)?;
    std::io::copy(&mut fs::File::open(file)?, &mut zip)?;
    Ok(zip.finish()?.get_ref().len() as u64)
}
