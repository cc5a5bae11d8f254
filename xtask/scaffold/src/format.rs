//! Formats generated code as the linters require.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Formats the content of a file as the formatter of its language does, given the root folder of the checkout and the path of the
/// file in it. Other files stay unchanged.
///
/// # Errors
/// Fails if the formatter is missing or rejects the content.
pub fn format(root: &Path, path: &str, content: String) -> Result<String> {
    // Biome ignores sample events and golden files: see biome.jsonc.
    let is_data = path.starts_with("events/") || path.starts_with("tests/golden/");
    match path.rsplit('.').next() {
        Some("rs") => {
            let mut rustfmt = Command::new("rustfmt");
            rustfmt
                .args(["--edition", "2024", "--config-path"])
                .arg(root);
            run(rustfmt, path, content)
        }
        Some("ts" | "tsx" | "json") if !is_data => {
            let mut biome = Command::new(root.join("node_modules/.bin/biome"));
            // Also sorts imports and exports.
            biome.args(["check", "--write", "--linter-enabled=false"]);
            biome.arg(format!("--stdin-file-path={path}"));
            run(biome, path, content)
        }
        _ => Ok(content),
    }
}

fn run(mut formatter: Command, path: &str, content: String) -> Result<String> {
    let program = formatter.get_program().to_string_lossy().into_owned();
    let pipes = formatter
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let input = child.stdin.take();
    // A thread, because the formatter may write before it has read everything.
    let written = thread::spawn(move || {
        input.map_or(Ok(()), |mut input| input.write_all(content.as_bytes()))
    });
    let output = child
        .wait_with_output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} rejects {path}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    match written.join() {
        Ok(written) => written.with_context(|| format!("cannot write to {program}"))?,
        Err(_) => bail!("cannot write to {program}"),
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{program} returned no text for {path}"))
}
