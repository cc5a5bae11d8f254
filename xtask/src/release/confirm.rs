//! The prompt that asks the user for confirmation before a command changes a stage.

use std::io::{BufRead as _, IsTerminal as _, stdin};

use anyhow::{Result, bail};
use console::style;

use super::table::StageName;
use crate::ui;

/// Asks the user to type the stage's name as a confirmation.
///
/// # Errors
/// Fails if standard input is not a terminal, or if the user types anything but the stage's name.
pub(crate) fn confirm(stage: &StageName) -> Result<()> {
    if !stdin().is_terminal() {
        bail!(
            "cannot ask for confirmation: standard input is not a terminal; pass --yes or --show"
        );
    }
    ui::say(format!("Type {} to continue:", style(stage).bold()));
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    if line.trim() != stage.as_ref() {
        bail!("the input is not the name of the stage; nothing was changed");
    }
    Ok(())
}
