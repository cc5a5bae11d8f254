//! Builds the functions for this machine, and packs them as Lambda takes them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::{
    ui,
    workspace::{Function, Workspace},
};

/// Builds all functions. Cargo shows its own progress, and rebuilds what has changed alone.
///
/// # Errors
/// When it does not compile; Cargo has said why.
pub(crate) async fn build(workspace: &Workspace) -> Result<()> {
    ui::say("… build the functions");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .arg("build")
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .kill_on_drop(true);
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

/// Packs every function whose binary is newer than its zip.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn pack(workspace: &Workspace, stage: &str) -> Result<()> {
    for function in workspace.functions() {
        let (binary, zip) = (
            workspace.binaries().join(&function.name),
            workspace.zip(function, stage),
        );
        if !is_newer(&zip, &binary) {
            pack_one(&binary, &zip, function)
                .with_context(|| format!("{} cannot be packed", function.name))?;
        }
    }
    Ok(())
}

fn is_newer(file: &Path, than: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    modified(file)
        .zip(modified(than))
        .is_some_and(|(file, than)| file > than)
}

/// The same binary gives the same zip, to the byte: its hash says whether a function has changed.
fn pack_one(binary: &Path, zip: &Path, function: &Function) -> Result<()> {
    let folder = zip.parent().context("a zip stands in a folder")?;
    fs::create_dir_all(folder)?;
    // Written beside and moved: nobody ever sees half a zip.
    let unfinished = folder.join(format!("{}.{}", function.name, std::process::id()));
    let mut writer = ZipWriter::new(File::create(&unfinished)?);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    writer.start_file("bootstrap", options)?;
    io::copy(&mut File::open(binary)?, &mut writer)?;
    writer.finish()?.flush()?;
    fs::rename(&unfinished, zip)?;
    Ok(())
}
