//! `invoke`: one function alone.

use std::path::Path;

use anyhow::Result;

/// `cargo xtask invoke`.
pub(crate) async fn invoke(_function: &str, _event: &Path) -> Result<()> {
    Ok(())
}
