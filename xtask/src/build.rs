//! Builds the functions for this machine, and packs binaries into zips for Lambda.

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::{
    stage::write_atomically,
    ui,
    workspace::{Function, Workspace},
};

/// Builds all functions that are deployed, in the dev profile. Cargo shows its own progress.
///
/// # Errors
/// Fails if a function does not compile. Cargo has printed the reason.
pub(crate) async fn build(workspace: &Workspace) -> Result<()> {
    build_only(workspace, workspace.functions()).await
}

/// Builds `functions` in the dev profile. Cargo shows its own progress.
///
/// # Errors
/// Fails if a function does not compile. Cargo has printed the reason.
pub(crate) async fn build_only(
    workspace: &Workspace,
    functions: impl Iterator<Item = &Function>,
) -> Result<()> {
    ui::say("… build the functions");
    let mut cargo = workspace.cargo();
    cargo.arg("build");
    for function in functions {
        // Not --package: see .cargo/config.toml.
        cargo.args(["--bin", &function.name]);
    }
    if !cargo
        .status()
        .await
        .context("cannot start cargo")?
        .success()
    {
        bail!("cannot compile the functions");
    }
    Ok(())
}

/// A compression level of zlib.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub(crate) enum Level {
    /// The fastest level: for the zips that `cargo xtask dev` creates after every change of the sources.
    Quick = 1,
    /// The level with the smallest zips: for releases, because Lambda loads the zip at a cold start.
    Small = 9,
}

/// Returns a zip for Lambda that contains the executable `binary` as the file `bootstrap`. Two executables with equal
/// bytes give zips with equal bytes.
///
/// # Errors
/// Fails if `binary` cannot be read.
pub(crate) fn zip(binary: &Path, level: Level) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level as i64))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    writer.start_file("bootstrap", options)?;
    writer.write_all(&fs::read(binary)?)?;
    Ok(writer.finish()?.into_inner())
}

/// Packs the executable of a function into a zip in target/lambda/packed, unless that zip exists already. Returns the
/// SHA-256 hash of the zip in hexadecimal. The zip's file name is this hash with the extension `zip`.
///
/// # Errors
/// Fails if the executable cannot be read, or the zip cannot be written.
pub(crate) fn pack(
    workspace: &Workspace,
    function: &str,
    binary: &Path,
    level: Level,
) -> Result<String> {
    let metadata =
        fs::metadata(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let packed = workspace.root().join("target/lambda/packed");
    // The cache file contains the path, length and modification time of the executable that was packed last, and the
    // hash of the zip that was created from it.
    let cache = packed.join(format!("{function}-{level:?}"));
    let key = format!("{} {} {modified}", binary.display(), metadata.len());
    if let Ok(cached) = fs::read_to_string(&cache)
        && let Some((cached_key, artifact)) = cached.rsplit_once('\n')
        && cached_key == key
        && workspace.zip_of(artifact).exists()
    {
        return Ok(artifact.into());
    }
    let zip = zip(binary, level).with_context(|| format!("cannot zip {}", binary.display()))?;
    let artifact: String = Sha256::digest(&zip)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::create_dir_all(&packed)?;
    write_atomically(&workspace.zip_of(&artifact), &zip)?;
    write_atomically(&cache, format!("{key}\n{artifact}").as_bytes())?;
    Ok(artifact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zip_depends_only_on_the_content_of_the_binary() {
        let folder = tempfile::tempdir().unwrap();
        let zipped = |name: &str, content: &[u8]| {
            let binary = folder.path().join(name);
            fs::write(&binary, content).unwrap();
            zip(&binary, Level::Small).unwrap()
        };
        assert_eq!(zipped("one", b"binary"), zipped("other", b"binary"));
        assert_ne!(zipped("one", b"binary"), zipped("other", b"another"));
    }
}
