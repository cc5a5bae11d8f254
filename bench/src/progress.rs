//! The progress bars of the harness.

use indicatif::{ProgressBar, ProgressStyle};

/// Creates a progress bar with the text `label` and with `steps` steps.
pub(crate) fn bar(label: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {pos}/{len} {msg:.dim} {elapsed:.dim}")
    {
        bar.set_style(style);
    }
    bar.with_prefix(label.to_owned())
}
