//! The metrics of the functions.

include!(concat!(env!("OUT_DIR"), "/metric.rs"));

/// The scope of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A metric of each invocation, by function, version and route group.
    Invocation,
    /// A metric of the stage.
    Stage,
}
