//! TLS as at AWS: a server with a certificate of 2048 bits of RSA, vouched for by an intermediate of
//! the same kind, which is vouched for by the root that clients trust; the chain ends with that root,
//! vouched for by an older one. `tls/` has it, made once by openssl; the authorities' keys are gone.
//!
//! Functions are measured by copies of the shipped binaries that trust our root ([`local_tls::patch_trusted_root`]).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The server's certificate and those that vouch for it.
pub(crate) const CHAIN: &str = include_str!("../tls/chain.pem");

/// The key of the server's certificate.
pub(crate) const KEY: &str = include_str!("../tls/key.pem");

/// The root.
const ROOT: &str = include_str!("../tls/root.pem");

/// Writes a copy of a function's binary that trusts our root in place of one of Amazon's.
///
/// # Errors
/// When the binary does not have the root in it as it is in `libs/aws`.
pub(crate) fn trusting(binary: &Path, copy: &Path) -> Result<()> {
    Ok(local_tls::patch_trusted_root(
        &CertificateDer::from_pem_slice(ROOT.as_bytes())?,
        binary,
        copy,
    )?)
}

/// Writes the root to a file, for those that take one: alone, or after `others`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_root(file: &Path, others: &str) -> Result<()> {
    fs::write(file, format!("{others}\n{ROOT}"))
        .with_context(|| format!("{} cannot be written", file.display()))
}
