//! Builds the functions for this machine, and packs them as Lambda takes them.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result, bail};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{ui, workspace::Workspace};

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

/// Packs every function that was built for this machine.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn pack(workspace: &Workspace, stage: &str) -> Result<()> {
    for function in workspace.functions() {
        let binary = workspace.binaries().join(&function.name);
        let zip = workspace.zip(function, stage);
        pack_one(&binary, &zip, Level::Quick)
            .with_context(|| format!("{} cannot be packed", function.name))?;
    }
    Ok(())
}

/// Packs a binary, if it is not what its zip holds.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn pack_one(binary: &Path, zip: &Path, level: Level) -> Result<()> {
    let binary = fs::read(binary)?;
    // A link gives a binary a new date, and often the old content.
    if held(zip) == Some((binary.len() as u64, crc32fast::hash(&binary))) {
        return Ok(());
    }
    write(&binary, zip, level)
}

/// The length and the checksum of the binary in a zip.
fn held(zip: &Path) -> Option<(u64, u32)> {
    let mut archive = ZipArchive::new(File::open(zip).ok()?).ok()?;
    let binary = archive.by_index(0).ok()?;
    Some((binary.size(), binary.crc32()))
}

/// The same binary gives the same zip, to the byte: its hash says whether a function has changed.
fn write(binary: &[u8], zip: &Path, level: Level) -> Result<()> {
    fs::create_dir_all(zip.parent().context("a zip stands in a folder")?)?;
    // Written beside and moved: nobody ever sees half a zip.
    let unfinished = zip.with_extension(std::process::id().to_string());
    let mut writer = ZipWriter::new(File::create(&unfinished)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level as i64))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    writer.start_file("bootstrap", options)?;
    writer.write_all(binary)?;
    writer.finish()?;
    fs::rename(&unfinished, zip)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_binary_gives_the_same_zip_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let zipped = |name: &str, content: &[u8]| {
            let (binary, zip) = (
                folder.path().join(name),
                folder.path().join("zips").join(name),
            );
            fs::write(&binary, content).unwrap();
            pack_one(&binary, &zip, Level::Small).unwrap();
            fs::read(zip).unwrap()
        };
        assert_eq!(zipped("one", b"binary"), zipped("other", b"binary"));
        assert_ne!(zipped("one", b"binary"), zipped("other", b"another"));
    }

    #[test]
    fn a_binary_that_has_changed_is_packed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, zip) = (folder.path().join("binary"), folder.path().join("zip"));
        for content in [b"before", b"after.", b"after."] {
            fs::write(&binary, content).unwrap();
            pack_one(&binary, &zip, Level::Quick).unwrap();
            let held = held(&zip).unwrap();
            assert_eq!(held, (content.len() as u64, crc32fast::hash(content)));
        }
    }
}
