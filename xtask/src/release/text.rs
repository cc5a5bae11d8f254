//! Formats the parts of messages.

/// Returns a number with its noun: "1 stack", "2 stacks".
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
