//! Builds the functions for this machine, and packs them as Lambda takes them.

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::{stage::write_whole, ui, workspace::Workspace};

/// Builds all functions. Cargo shows its own progress, and rebuilds what has changed alone.
///
/// # Errors
/// When it does not compile; Cargo has said why.
pub(crate) async fn build(workspace: &Workspace) -> Result<()> {
    ui::say("… build the functions");
    let mut cargo = workspace.cargo();
    cargo.arg("build");
    for function in workspace.functions() {
        // Not --package: see .cargo/config.toml.
        cargo.args(["--bin", &function.name]);
    }
    if !cargo
        .status()
        .await
        .context("cargo cannot be started")?
        .success()
    {
        bail!("the functions do not compile");
    }
    Ok(())
}

/// How well a zip is compressed, in the levels of zlib.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub(crate) enum Level {
    /// For what is packed at every save.
    Quick = 1,
    /// For what is shipped: Lambda loads it at a cold start.
    Small = 9,
}

/// A binary packed as Lambda takes it. The same binary gives the same zip, to the byte.
///
/// # Errors
/// When the binary cannot be read.
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

/// Packs a function's binary, unless that was done. Returns the hash of the zip, which is also its name.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn pack(
    workspace: &Workspace,
    function: &str,
    binary: &Path,
    level: Level,
) -> Result<String> {
    let metadata =
        fs::metadata(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    let written = metadata.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
    let packed = workspace.root().join("target/lambda/packed");
    // What was packed last from a file of that place, length and time.
    let note = packed.join(format!("{function}-{level:?}"));
    let of = format!("{} {} {written}", binary.display(), metadata.len());
    if let Ok(noted) = fs::read_to_string(&note)
        && let Some((noted, artefact)) = noted.rsplit_once('\n')
        && noted == of
        && workspace.zip_of(artefact).exists()
    {
        return Ok(artefact.into());
    }
    let zip =
        zip(binary, level).with_context(|| format!("{} cannot be packed", binary.display()))?;
    let artefact: String = Sha256::digest(&zip)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::create_dir_all(&packed)?;
    write_whole(&workspace.zip_of(&artefact), &zip)?;
    write_whole(&note, format!("{of}\n{artefact}").as_bytes())?;
    Ok(artefact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_binary_gives_the_same_zip_wherever_it_stands() {
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
