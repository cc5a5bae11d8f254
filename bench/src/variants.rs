//! The variants that are compared: each function as deployed and its equivalent in Node. For `notes-get`, also variants
//! with one changed setting, the variant with the default settings of the AWS SDK, and the bare runtime.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use test_support::functions::Function;

use crate::report::Row;

/// The paths of the programs under test.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The folder with the binaries of the deployed functions and of `hello`, all linked in the same way. The binary of
    /// the function NAME is at `NAME/bootstrap`.
    pub(crate) binaries: PathBuf,
    /// The folder with the Node bundles, each at `NAME.mjs`, and with `bootstrap.mjs`, which runs them.
    pub(crate) node: Option<PathBuf>,
    /// The binary of `notes-get` with the default settings of the AWS SDK.
    pub(crate) defaults: Option<PathBuf>,
    /// The binary of `hello` with cargo-lambda's default linking.
    pub(crate) hello: Option<PathBuf>,
    /// A folder for temporary files.
    pub(crate) scratch: PathBuf,
}

/// The transport of a function's calls to AWS: plain HTTP or TLS.
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
    /// The deployed binary, with tracing on and every event sampled.
    Rust,
    /// A Rust function that does nothing (the bare runtime), with cargo-lambda's default linking.
    Hello,
    /// A Rust function that does nothing (the bare runtime), linked like the deployed functions. Its times are the
    /// lower limits for all other functions.
    HelloStatic,
    /// `notes-get` with the default settings of the AWS SDK.
    Defaults,
    /// The equivalent function in Node.
    Node,
    /// The deployed binary, with events that X-Ray does not sample.
    NotSampled,
    /// The deployed binary, with tracing off.
    Untraced,
    /// The deployed binary, with the log level `debug`.
    DebugLog,
}

impl Variant {
    /// The name of the variant in report.json.
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

    /// The variants of a function that can be measured with the programs in `paths`.
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

    /// The transports with which the variant is measured. The bare runtime makes no calls to AWS, so it is measured
    /// with only one transport.
    fn transports(self) -> &'static [Transport] {
        match self {
            Self::Hello | Self::HelloStatic => &[Transport::Http],
            _ => &[Transport::Http, Transport::Tls],
        }
    }

    /// The path of the file that the variant's deployment package contains. `None` if the variant was not built.
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
    /// All cases of a function that can be measured with the programs in `paths`: each variant over each of its
    /// transports.
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

    /// The name of the function, variant and transport, for progress bars and for messages about failures.
    pub(crate) fn label(&self) -> String {
        let variant = self.variant.name();
        format!("{}, {variant}, {}", self.function.name, self.transport)
    }

    /// Whether `row` belongs to the function and the variant of this case.
    pub(crate) fn is_of(&self, row: &Row) -> bool {
        row.function == self.function.name && row.variant == self.variant.name()
    }

    /// Creates the row for the function and the variant of this case, with the size of the deployment package and
    /// without measurements.
    ///
    /// # Errors
    /// Fails if the file in the deployment package cannot be read.
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

/// The size in bytes of a zip with this file, compressed like the deployment packages.
fn zip_size(file: &Path) -> Result<u64> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(9));
    zip.start_file("bootstrap", options)?;
    std::io::copy(&mut fs::File::open(file)?, &mut zip)?;
    Ok(zip.finish()?.get_ref().len() as u64)
}
