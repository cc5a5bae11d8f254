//! An authority that vouches for anybody, and a server with a certificate by it: who clients are
//! tested on that must not talk to everybody.
//!
//! A function trusts Amazon's roots and can be told of no others. [`trusting`] writes another root over
//! one of them in a copy of its binary: the same code, to the byte.

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

/// A certificate cannot be made, or a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate is none.
    #[error("no certificate can be made")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error("TLS does not take it")]
    Tls(#[from] rustls::Error),
    /// No port is to be had.
    #[error("no port is to be had")]
    Port(#[from] io::Error),
}

/// What functions trust. The first is "Amazon Root CA 1", by which AWS's own chains end.
const AMAZON_ROOTS: &str = include_str!("../../../libs/aws/amazon-roots.pem");

/// There is no copy of a function that trusts another root.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// What is to be trusted is longer than what is there, or shorter.
    #[error("that is no root that fits")]
    Unfit,
    /// The binary was built with other roots, or is none.
    #[error("{} has no root of Amazon's in it that could be replaced", .0.display())]
    Rootless(PathBuf),
    /// A file cannot be read or written.
    #[error("{} cannot be copied", .0.display())]
    Uncopied(PathBuf, #[source] io::Error),
}

/// Writes a copy of a function's binary that trusts a root, given as DER, in place of Amazon's first.
///
/// # Errors
/// When the binary does not have the roots of `libs/aws` in it, or a file cannot be read or written.
pub fn trusting(root: &[u8], binary: &Path, copy: &Path) -> Result<(), PatchError> {
    let amazon = amazon_root()?;
    if root.len() != amazon.len() {
        return Err(PatchError::Unfit);
    }
    let failed = |error| PatchError::Uncopied(binary.to_owned(), error);
    let mut bytes = fs::read(binary).map_err(failed)?;
    let found: Vec<usize> = memmem::find_iter(&bytes, &*amazon).collect();
    for place in &found {
        if let Some(place) = bytes.get_mut(*place..place + root.len()) {
            place.copy_from_slice(root);
        }
    }
    if found.is_empty() {
        return Err(PatchError::Rootless(binary.to_owned()));
    }
    let write = || {
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder)?;
        }
        // Another file, not another content: an earlier copy may still be running.
        let unfinished = copy.with_extension("new");
        fs::write(&unfinished, &bytes)?;
        fs::set_permissions(&unfinished, fs::metadata(binary)?.permissions())?;
        fs::rename(unfinished, copy)
    };
    write().map_err(failed)
}

/// The first of Amazon's roots, as DER.
fn amazon_root() -> Result<CertificateDer<'static>, PatchError> {
    CertificateDer::from_pem_slice(AMAZON_ROOTS.as_bytes()).map_err(|_| PatchError::Unfit)
}

/// An extension that means nothing, for numbers that mean nothing.
/// <https://oid-base.com/get/2.25>
const FILLING: [u64; 3] = [2, 25, 1];

/// An authority that nobody knows but who is given its root.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate, and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// A new one of that name. Its root is as long as Amazon's first, for [`trusting`].
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self, Error> {
        // Its signatures are all of one length.
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let length = amazon_root().map_or(0, |root| root.len());
        let mut filling = 0;
        loop {
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &FILLING,
                vec![0; filling],
            )];
            let root = params.self_signed(&key)?;
            match length.checked_sub(root.der().len()) {
                // The next is longer by what its lengths take as well.
                Some(more @ 1..) => filling += more.div_ceil(2),
                _ => return Ok(Self(CertifiedIssuer::self_signed(params, key)?)),
            }
        }
    }

    /// Its root, as DER.
    pub fn root(&self) -> &[u8] {
        self.0.der()
    }

    /// A certificate for a name, until the end of a year.
    ///
    /// # Errors
    /// When the name is none.
    pub fn vouch_for(&self, name: &str, year: i32) -> Result<Identity, Error> {
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

/// A server that answers everything with `healthy`, until it is dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Server {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Errors
    /// When there is none, or TLS does not take the certificate.
    pub async fn start(identity: Identity) -> Result<Self, Error> {
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(listen(listener, acceptor, Arc::clone(&seen)));
        Ok(Self {
            port,
            seen,
            task: task.abort_handle(),
        })
    }

    /// Its address, by the name `localhost`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// How many clients took its certificate.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Seen>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        clients.spawn(async move {
            let Ok(client) = acceptor.accept(client).await else {
                return;
            };
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let answer = service_fn(async |_: Request<Incoming>| {
                seen.requests.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"healthy"))))
            });
            // How the client leaves is its own affair.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(client), answer)
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_from_the_binary_in_the_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, copy) = (folder.path().join("get"), folder.path().join("tls/get"));
        let with = |root: &[u8]| [b"code", root, b"data"].concat();
        fs::write(&binary, with(&amazon_root().unwrap())).unwrap();
        let authority = Authority::new("ours").unwrap();
        trusting(authority.root(), &binary, &copy).unwrap();
        assert_eq!(fs::read(copy).unwrap(), with(authority.root()));
    }

    #[test]
    fn a_binary_without_the_root_and_a_root_of_another_length_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, copy) = (folder.path().join("get"), folder.path().join("copy"));
        fs::write(&binary, "code").unwrap();
        let authority = Authority::new("ours").unwrap();
        let refused = trusting(authority.root(), &binary, &copy).unwrap_err();
        assert!(matches!(refused, PatchError::Rootless(_)), "{refused}");
        let refused = trusting(&authority.root()[1..], &binary, &copy).unwrap_err();
        assert!(matches!(refused, PatchError::Unfit), "{refused}");
        assert!(!copy.exists());
    }
}
