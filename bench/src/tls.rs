//! TLS as at AWS: a server with a certificate of 2048 bits of RSA, vouched for by an intermediate of
//! the same kind, which is vouched for by the root that clients trust; the chain ends with that root,
//! vouched for by an older one. `tls/` has it, made once by openssl; the authorities' keys are gone.
//!
//! A function trusts Amazon's roots and no others, and can be told of none. So what is measured is a
//! copy of the shipped binary in which the text of one of Amazon's roots is written over by that of
//! ours, which is as long: the same code, to the byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The server's certificate and those that vouch for it.
pub(crate) const CHAIN: &str = include_str!("../tls/chain.pem");

/// The key of the server's certificate.
pub(crate) const KEY: &str = include_str!("../tls/key.pem");

/// The root.
const ROOT: &str = include_str!("../tls/root.pem");

/// What functions trust. The first is "Amazon Root CA 1", by which AWS's own chains end.
const AMAZON_ROOTS: &str = include_str!("../../libs/aws/amazon-roots.pem");

/// Writes a copy of a function's binary that trusts our root in place of one of Amazon's.
///
/// # Errors
/// When the binary does not have the root in it as it is in `libs/aws`.
pub(crate) fn trusting(binary: &Path, copy: &Path) -> Result<()> {
    let mut bytes =
        fs::read(binary).with_context(|| format!("{} is not there", binary.display()))?;
    if !replace(&mut bytes, first(AMAZON_ROOTS)?, first(ROOT)?) {
        bail!(
            "{} has no root of Amazon's in it that could be replaced",
            binary.display()
        );
    }
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    // Another file, not another content: an earlier copy may still be running.
    let unfinished = copy.with_extension("new");
    fs::write(&unfinished, bytes)?;
    fs::set_permissions(&unfinished, fs::metadata(binary)?.permissions())?;
    fs::rename(unfinished, copy)?;
    Ok(())
}

/// Writes the root to a file, for those that take one: alone, or after `others`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_root(file: &Path, others: &str) -> Result<()> {
    fs::write(file, format!("{others}\n{ROOT}"))
        .with_context(|| format!("{} cannot be written", file.display()))
}

/// The first certificate of a file.
fn first(pem: &str) -> Result<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let from = pem.find("-----BEGIN CERTIFICATE-----");
    let to = pem.find(END).map(|at| at + END.len());
    let certificate = from.zip(to).and_then(|(from, to)| pem.get(from..to));
    certificate.context("there is no certificate")
}

/// Writes `new` over every `old`. Returns whether there was one; none counts when the lengths differ.
fn replace(bytes: &mut [u8], old: &str, new: &str) -> bool {
    if old.len() != new.len() || old.is_empty() {
        return false;
    }
    let mut found = false;
    let mut rest = bytes;
    while let Some(at) = rest
        .windows(old.len())
        .position(|window| window == old.as_bytes())
    {
        let (_, from) = rest.split_at_mut(at);
        let (place, after) = from.split_at_mut(old.len());
        place.copy_from_slice(new.as_bytes());
        (found, rest) = (true, after);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_from_the_binary_in_the_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, copy) = (folder.path().join("get"), folder.path().join("tls/get"));
        fs::write(&binary, format!("code{AMAZON_ROOTS}data")).unwrap();
        trusting(&binary, &copy).unwrap();
        let copied = fs::read_to_string(copy).unwrap();
        let (amazon, ours) = (first(AMAZON_ROOTS).unwrap(), first(ROOT).unwrap());
        assert_eq!(
            copied.replace(ours, amazon),
            fs::read_to_string(binary).unwrap()
        );
        assert!(copied.contains(ours));
    }

    #[test]
    fn a_binary_without_the_root_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("get");
        fs::write(&binary, "code").unwrap();
        assert!(trusting(&binary, &folder.path().join("copy")).is_err());
    }
}
