//! A certificate chain of the same form as the chains of AWS: a server certificate, an intermediate certificate, and a
//! root certificate that is cross-signed by an older root. The server certificate and the intermediate certificate have
//! 2048-bit RSA keys. Clients trust the root certificate. The files in `bench/tls/` were made once with openssl. The
//! private keys of the certificate authorities were deleted.
//!
//! The harness measures copies of the deployed binaries in which [`local_tls::patch_trusted_root`] has replaced one
//! trusted root certificate by this one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// The server's certificate chain, as PEM.
pub(crate) const CHAIN: &str = include_str!("../tls/chain.pem");

/// The private key of the server's certificate, as PEM.
pub(crate) const KEY: &str = include_str!("../tls/key.pem");

/// The benchmark's root certificate, as PEM.
const ROOT: &str = include_str!("../tls/root.pem");

/// Writes a copy of a function's binary in which the benchmark's root certificate replaces Amazon Root CA 1.
///
/// # Errors
/// Fails if the binary does not contain Amazon Root CA 1, or a file cannot be read or written.
pub(crate) fn trusting(binary: &Path, copy: &Path) -> Result<()> {
    Ok(local_tls::patch_trusted_root(
        &CertificateDer::from_pem_slice(ROOT.as_bytes())?,
        binary,
        copy,
    )?)
}

/// Writes a PEM file with the certificates in the PEM text `others`, followed by the benchmark's root certificate.
///
/// # Errors
/// Fails if the file cannot be written.
pub(crate) fn write_root(file: &Path, others: &str) -> Result<()> {
    fs::write(file, format!("{others}\n{ROOT}"))
        .with_context(|| format!("cannot write {}", file.display()))
}
