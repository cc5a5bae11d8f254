//! A certificate chain of the same form as AWS's: a server certificate with a 2048-bit RSA key, an
//! intermediate of the same kind, and the root that clients trust, cross-signed by an older root. It is
//! in `bench/tls/`, was made once with openssl, and the keys of the authorities were deleted.
//!
//! Functions are measured with copies of the deployed binaries that trust this root
//! ([`local_tls::patch_trusted_root`]).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The server's certificate chain, as PEM.
pub(crate) const CHAIN: &str = include_str!("../tls/chain.pem");

/// The private key of the server's certificate, as PEM.
pub(crate) const KEY: &str = include_str!("../tls/key.pem");

/// The root certificate, as PEM.
const ROOT: &str = include_str!("../tls/root.pem");

/// Writes a copy of a function's binary that trusts the benchmark's root instead of one of Amazon's.
///
/// # Errors
/// Fails if the binary does not contain the Amazon root of `libs/aws`, or a file cannot be accessed.
pub(crate) fn trusting(binary: &Path, copy: &Path) -> Result<()> {
    Ok(local_tls::patch_trusted_root(
        &CertificateDer::from_pem_slice(ROOT.as_bytes())?,
        binary,
        copy,
    )?)
}

/// Writes a PEM file with `others` followed by the root.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write_root(file: &Path, others: &str) -> Result<()> {
    fs::write(file, format!("{others}\n{ROOT}"))
        .with_context(|| format!("{} cannot be written", file.display()))
}
