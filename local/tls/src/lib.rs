//! A certificate authority and an HTTPS server for tests that check which certificates a client
//! accepts.
//!
//! The root certificates that a function trusts are compiled into its binary and cannot be
//! configured. [`patch_trusted_root`] writes a copy of the binary in which another root certificate
//! replaces Amazon Root CA 1. The rest of the copy is identical.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, IsCa, KeyPair, PKCS_ED25519, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, crypto::ring};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The error if a certificate cannot be created or the server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key or the certificate cannot be created.
    #[error("cannot create the certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls rejects the certificate or the key.
    #[error("rustls rejects the certificate or its key")]
    Tls(#[from] rustls::Error),
    /// The server cannot listen on a port.
    #[error("cannot listen on a port of the loopback interface")]
    Port(#[from] io::Error),
}

/// The root certificates that functions trust, as PEM. The first one is Amazon Root CA 1. The
/// certificate chains of AWS endpoints end at this root certificate.
const AMAZON_ROOTS: &str = include_str!("../../../libs/aws/amazon-roots.pem");

/// The error of [`patch_trusted_root`].
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The replacement root certificate and Amazon Root CA 1 do not have the same length.
    #[error(
        "the replacement root certificate must have the same length in bytes as Amazon Root CA 1, which it overwrites in the binary"
    )]
    LengthMismatch,
    /// The binary does not contain Amazon Root CA 1, so there is nothing to replace.
    #[error("the binary {} does not contain Amazon Root CA 1", .0.display())]
    RootNotFound(PathBuf),
    /// The binary cannot be read, or its copy cannot be written.
    #[error("cannot copy the binary {}", .0.display())]
    Copy(PathBuf, #[source] io::Error),
}

/// Writes a copy of the function's binary `binary` to the file `copy`. In the copy, the root
/// certificate `root`, as DER, replaces Amazon Root CA 1.
///
/// # Errors
///
/// Fails if the binary does not contain Amazon Root CA 1, `root` does not have the same length as
/// Amazon Root CA 1, or a file cannot be read or written.
pub fn patch_trusted_root(root: &[u8], binary: &Path, copy: &Path) -> Result<(), PatchError> {
    let amazon = amazon_root()?;
    if root.len() != amazon.len() {
        return Err(PatchError::LengthMismatch);
    }
    let copy_error = |error| PatchError::Copy(binary.to_owned(), error);
    let mut bytes = fs::read(binary).map_err(copy_error)?;
    let found: Vec<usize> = memmem::find_iter(&bytes, &*amazon).collect();
    for offset in &found {
        if let Some(certificate) = bytes.get_mut(*offset..offset + root.len()) {
            certificate.copy_from_slice(root);
        }
    }
    if found.is_empty() {
        return Err(PatchError::RootNotFound(binary.to_owned()));
    }
    let write = || {
        if let Some(directory) = copy.parent() {
            fs::create_dir_all(directory)?;
        }
        // Replace the file instead of writing to it, because an earlier copy may still be running.
        let temporary = copy.with_extension("new");
        fs::write(&temporary, &bytes)?;
        fs::set_permissions(&temporary, fs::metadata(binary)?.permissions())?;
        fs::rename(temporary, copy)
    };
    write().map_err(copy_error)
}

/// Returns Amazon Root CA 1 as DER.
fn amazon_root() -> Result<CertificateDer<'static>, PatchError> {
    CertificateDer::from_pem_slice(AMAZON_ROOTS.as_bytes()).map_err(|_| PatchError::LengthMismatch)
}

/// The object identifier of the certificate extension that lengthens a root certificate. The
/// extension has no meaning. The identifier is below the arc for UUIDs, because identifiers there
/// need no registration (<https://oid-base.com/get/2.25>).
const PADDING_EXTENSION: [u64; 3] = [2, 25, 1];

/// A certificate authority. Only clients that are configured with its root certificate trust it.
pub struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate and private key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl CertificateAuthority {
    /// Creates a certificate authority with the common name `name`. Its root certificate has the
    /// same length as Amazon Root CA 1, because [`patch_trusted_root`] requires the same length.
    ///
    /// # Errors
    ///
    /// Fails if the key or the certificate cannot be created.
    pub fn new(name: &str) -> Result<Self, Error> {
        // All Ed25519 signatures have the same length, so the certificate's length is stable.
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let length = amazon_root().map_or(0, |root| root.len());
        let mut padding = 0;
        loop {
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &PADDING_EXTENSION,
                vec![0; padding],
            )];
            let root = params.self_signed(&key)?;
            match length.checked_sub(root.der().len()) {
                // Padding can also lengthen the length fields in the certificate. Therefore add
                // only half of the missing bytes at a time, so that the result is never too long.
                Some(missing @ 1..) => padding += missing.div_ceil(2),
                _ => return Ok(Self(CertifiedIssuer::self_signed(params, key)?)),
            }
        }
    }

    /// The root certificate of the certificate authority, as DER.
    pub fn root(&self) -> &[u8] {
        self.0.der()
    }

    /// Issues a certificate for the DNS name `name`, valid from 2000 until the end of `year`.
    ///
    /// # Errors
    ///
    /// Fails if `name` is not a valid DNS name.
    pub fn issue(&self, name: &str, year: i32) -> Result<Identity, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        Ok(Identity {
            certificate: params.signed_by(&key, &self.0)?.der().clone(),
            key: key.into(),
        })
    }
}

/// An HTTPS server that responds to every request with `healthy`. It stops when this value is
/// dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    counters: Arc<Counters>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Server {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// Fails if no port is free, or rustls rejects the certificate.
    pub async fn start(identity: Identity) -> Result<Self, Error> {
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let counters = Arc::new(Counters::default());
        let task = tokio::spawn(listen(listener, acceptor, Arc::clone(&counters)));
        Ok(Self {
            port,
            counters,
            task: task.abort_handle(),
        })
    }

    /// The URL of the server, with the host name `localhost`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The number of TLS handshakes that the server has completed so far.
    pub fn connections(&self) -> usize {
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// The number of requests that the server has received so far.
    pub fn requests(&self) -> usize {
        self.counters.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, counters: Arc<Counters>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, counters) = (acceptor.clone(), Arc::clone(&counters));
        clients.spawn(async move {
            let Ok(client) = acceptor.accept(client).await else {
                return;
            };
            counters.connections.fetch_add(1, Ordering::SeqCst);
            let service = service_fn(async |_: Request<Incoming>| {
                counters.requests.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"healthy"))))
            });
            // The client may close the connection at any time.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(client), service)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_copy_of_a_binary_differs_only_in_the_root_certificate() {
        let directory = tempfile::tempdir().unwrap();
        let (binary, copy) = (
            directory.path().join("get"),
            directory.path().join("tls/get"),
        );
        let with = |root: &[u8]| [b"code", root, b"data"].concat();
        fs::write(&binary, with(&amazon_root().unwrap())).unwrap();
        let authority = CertificateAuthority::new("test CA").unwrap();
        patch_trusted_root(authority.root(), &binary, &copy).unwrap();
        assert_eq!(fs::read(copy).unwrap(), with(authority.root()));
    }

    #[test]
    fn patching_fails_without_amazon_root_ca_1_or_with_a_root_of_another_length() {
        let directory = tempfile::tempdir().unwrap();
        let (binary, copy) = (directory.path().join("get"), directory.path().join("copy"));
        fs::write(&binary, "code").unwrap();
        let authority = CertificateAuthority::new("test CA").unwrap();
        let error = patch_trusted_root(authority.root(), &binary, &copy).unwrap_err();
        assert!(matches!(error, PatchError::RootNotFound(_)), "{error}");
        let error = patch_trusted_root(&authority.root()[1..], &binary, &copy).unwrap_err();
        assert!(matches!(error, PatchError::LengthMismatch), "{error}");
        assert!(!copy.exists());
    }
}
